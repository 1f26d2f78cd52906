//! What can go wrong: committing, watching, opening.

use std::{io, path::PathBuf, sync::Arc};

use crate::Object;

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("object changed since it was read")]
    Conflict { current: Option<Arc<Object>> },
    /// The disk refused a write. When it was full, the next commit tries again; after any other failure the
    /// store stays so until it is opened anew, since what lies on the disk is not known.
    #[error("store is read-only: {reason}")]
    ReadOnly { reason: String },
    #[error("store is closed")]
    Closed,
}

#[derive(Debug, thiserror::Error)]
#[error("revision {asked} is compacted, the oldest kept is {oldest}")]
pub struct Compacted {
    pub asked: u64,
    pub oldest: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The watcher was too slow and the history it needs is gone: list again.
    #[error("watch fell behind")]
    Compacted(#[from] Compacted),
    #[error("store is closed")]
    Closed,
}

/// Nothing on disk was changed when one of these is returned, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process has the store in `{dir}` open")]
    Locked { dir: PathBuf },
    #[error("{action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{path}` was written by another version of the store: found `{found}`, expected `{expected}`")]
    Format { path: PathBuf, found: String, expected: String },
    #[error("`{path}` is damaged at byte {offset}: {what}; {remedy}")]
    Damaged { path: PathBuf, offset: u64, what: String, remedy: String },
    #[error(
        "`{path}` is missing: the store needs its checkpoint and every log file from there to the newest; restore it from a backup"
    )]
    Missing { path: PathBuf },
    #[error(
        "`{checkpoint}` is missing, or the log files from `{log}` on that come before it: the store needs its checkpoint and every log file from there to the newest; restore it from a backup"
    )]
    MissingStart { checkpoint: PathBuf, log: PathBuf },
    #[error("encryption key file `{path}`: {what}; restore it from a backup, the encrypted objects need it")]
    Key { path: PathBuf, what: String },
    #[error("start the store's writer thread")]
    Thread { source: io::Error },
}
