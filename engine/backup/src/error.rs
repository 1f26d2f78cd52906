//! What can go wrong when a backup is read, and when it is restored.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("read line {line}")]
    Io { line: u64, source: io::Error },
    #[error("this is no backup of coracle: its first line is not a backup's header")]
    NotABackup,
    #[error("the backup has format version {found}, this coracle reads version {expected}")]
    Version { found: u64, expected: u64 },
    #[error("the backup is damaged: line {line} makes no sense")]
    Malformed { line: u64, source: serde_json::Error },
    #[error("the backup is damaged: line {line} is not where it belongs")]
    Misplaced { line: u64 },
    #[error("the backup is cut off after line {lines}: its last line is missing")]
    CutOff { lines: u64 },
    #[error("the backup is damaged: its SHA-256 is {found}, its last line says {expected}")]
    Checksum { found: String, expected: String },
    #[error("the backup is damaged: it has {found} {what}, its last line says {expected}")]
    Count { what: &'static str, found: u64, expected: u64 },
    #[error("the backup goes on after its last line")]
    Trailing,
}

/// The data directory is as it was when one of these is returned, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("read the backup")]
    Read(#[from] ReadError),
    #[error("`{}` holds a cluster already", .dir.display())]
    Occupied { dir: PathBuf },
    #[error("the backup has a file `{path}` that does not belong into a backup")]
    ForeignFile { path: String },
    #[error("the backup has no `{path}`: without the cluster's keys, no kubeconfig and no token would work")]
    MissingKey { path: &'static str },
    #[error("the backup's object on line {line} is not sound")]
    Object { line: u64, source: coracle_store::RebuildError },
    #[error("write the store")]
    Store(#[from] coracle_store::OpenError),
    #[error("{action} `{}`", .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("put the restored state in place; the next `coracle up` goes on with it: {action} `{}`", .path.display())]
    Unfinished { action: &'static str, path: PathBuf, source: io::Error },
}
