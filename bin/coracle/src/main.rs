//! The one binary. Re-executed roles (`coracle shim`, `coracle create`) leave before anything else is set up,
//! so that a pod's shim costs next to nothing.

mod cli;
mod commands;
mod metrics;
mod node_address;
mod settings;
mod up;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = coracle_runtime::dispatch(&arguments) {
        return ExitCode::from(code.clamp(0, 255) as u8);
    }
    end_quietly_when_nobody_reads();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            print_chain(&error);
            ExitCode::FAILURE
        }
    }
}

/// `coracle status | head -1` is no error: Rust ignores SIGPIPE, and printing panics instead.
fn end_quietly_when_nobody_reads() {
    const BY_SIGPIPE: i32 = 128 + 13;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        if text.starts_with("failed printing to stdout: Broken pipe") {
            std::process::exit(BY_SIGPIPE);
        }
        report(panic);
    }));
}

fn print_chain(error: &anyhow::Error) {
    let (message, hint) = message_and_hint(error.chain().map(ToString::to_string));
    eprintln!("error: {message}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

/// The whole chain of causes on one line, and the first hint among them, which may hold colons itself.
fn message_and_hint(chain: impl Iterator<Item = String>) -> (String, Option<String>) {
    let mut hint = None;
    let messages: Vec<String> = chain
        .map(|text| match text.split_once("\nhint: ") {
            Some((message, own)) => {
                hint.get_or_insert_with(|| own.to_owned());
                message.to_owned()
            }
            None => text,
        })
        .collect();
    (messages.join(": "), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_stand_apart_from_the_causes() {
        for (chain, message, hint) in [
            (&["start", "no room"][..], "start: no room", None),
            (&["start\nhint: make room", "no room"], "start: no room", Some("make room")),
            (
                &["start", "no room\nhint: free some (rm: files)"],
                "start: no room",
                Some("free some (rm: files)"),
            ),
        ] {
            let (said, told) = message_and_hint(chain.iter().map(ToString::to_string));
            assert_eq!((said.as_str(), told.as_deref()), (message, hint));
        }
    }
}
