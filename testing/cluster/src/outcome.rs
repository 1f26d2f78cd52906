//! What a finished program said.

use std::process::Output;

use anyhow::{Result, bail};

#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn new(command: String, output: Output) -> Outcome {
        Outcome {
            command,
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a program that succeeded; otherwise an error with all it said.
    pub fn ok(self) -> Result<String> {
        if !self.success {
            bail!("`{}` failed\nstdout: {}\nstderr: {}", self.command, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }

    /// Standard error of a program that failed; an error when it succeeded.
    pub fn err(self) -> Result<String> {
        if self.success {
            bail!("`{}` succeeded, a failure was expected\nstdout: {}", self.command, self.stdout);
        }
        Ok(self.stderr)
    }
}
