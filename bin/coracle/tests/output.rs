//! What the command line does where its output goes nowhere.

use std::{fs::File, process::Command};

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for argument in ["--help", "--version"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_coracle")).arg(argument).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let expected = "error: write what was asked for: No space left on device (os error 28)\n";
        assert_eq!((ended.status.code(), said.as_str()), (Some(1), expected), "{argument}");
    }
}
