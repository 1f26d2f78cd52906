//! The one binary. Re-executed roles (`coracle shim`, `coracle create`) leave before anything else is set up,
//! so that a pod's shim costs next to nothing.

mod cli;
mod commands;
mod metrics;
mod node_address;
mod settings;
mod up;

use std::{ffi::OsString, io::Write, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = coracle_runtime::dispatch(&arguments) {
        return ExitCode::from(code.clamp(0, 255) as u8);
    }
    end_where_printing_fails();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            print_chain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Rust ignores SIGPIPE, and panics where printing fails.
fn end_where_printing_fails() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        match unprinted(text) {
            Some((code, why)) => {
                // Standard error may be what fails.
                let _ = std::io::stderr().write_all(why.as_bytes());
                std::process::exit(code);
            }
            None => report(panic),
        }
    }));
}

/// The exit code, and what to say, where a panic is of printing. `coracle status | head -1` is no error.
fn unprinted(panic: &str) -> Option<(i32, String)> {
    const BY_SIGPIPE: i32 = 128 + 13;
    let (stream, why) = panic.strip_prefix("failed printing to ")?.split_once(": ")?;
    let stream = match stream {
        "stdout" if why.starts_with("Broken pipe") => return Some((BY_SIGPIPE, String::new())),
        "stdout" => "output",
        _ => "error",
    };
    Some((1, format!("error: write to standard {stream}: {why}\n")))
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
    fn what_cannot_be_printed_is_an_error_unless_nobody_reads() {
        // As the standard library says it.
        let full = "failed printing to stdout: No space left on device (os error 28)";
        let said = "error: write to standard output: No space left on device (os error 28)\n";
        assert_eq!(unprinted(full), Some((1, said.to_owned())));
        let gone = "failed printing to stdout: Broken pipe (os error 32)";
        assert_eq!(unprinted(gone), Some((141, String::new())));
        assert_eq!(unprinted("index out of bounds: the len is 1"), None);
    }

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
