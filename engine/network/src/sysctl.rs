//! Kernel settings under /proc/sys, of the network namespace of the calling thread.

use std::{fs, path::Path};

use crate::NetworkError;

/// Writes `value` only when it differs; says whether it did.
pub fn set(name: &str, value: &str) -> Result<bool, NetworkError> {
    let path = Path::new("/proc/sys").join(name);
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(false);
    }
    fs::write(&path, value).map(|()| true).map_err(|source| NetworkError::Failed {
        action: "set sysctl",
        subject: path.display().to_string(),
        source,
    })
}
