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

/// The whole chain of causes on one line; hints stand on lines of their own.
fn print_chain(error: &anyhow::Error) {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let text = chain.join(": ");
    let (message, hint) = match text.split_once("\nhint: ") {
        Some((message, rest)) => match rest.split_once(": ") {
            Some((hint, cause)) => (format!("{message}: {cause}"), Some(hint.to_string())),
            None => (message.to_string(), Some(rest.to_string())),
        },
        None => (text, None),
    };
    eprintln!("error: {message}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}
