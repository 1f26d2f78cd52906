//! Waiting for conditions with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a condition may take by default: generous, as machines are shared. Nothing asserts a speed by it.
const DEADLINE: Duration = Duration::from_secs(180);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until `condition` gives a value; fails with its last error after three minutes.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Result<T>) -> Result<T> {
    within(DEADLINE, what, condition)
}

/// Like [`eventually`] with a deadline of the caller's.
pub fn within<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > deadline => {
                return Err(error).with_context(|| format!("waited {deadline:?} for: {what}"));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Turns a truth into what the waiting functions take.
pub fn check(truth: bool, message: impl Into<String>) -> Result<()> {
    if !truth {
        bail!(message.into());
    }
    Ok(())
}
