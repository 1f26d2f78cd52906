//! All objects of the cluster, in memory and on disk: revisions, watch, compaction, durability.
//!
//! Memory is a persistent map that readers share with the one writer (`state`), a bounded history for watches
//! (`history`), and one thread that orders commits and writes them to a checksummed log as groups (`writer`).
//! On disk (`disk`): log segments (`log`, `frame`, `record`), snapshots beside them (`checkpoint`), and the
//! key for encrypted resources (`keyring`). `recover` turns what it finds back into memory, or says what is damaged;
//! `rebuild` makes a new directory from objects that are there already.

mod checkpoint;
mod committer;
mod disk;
mod error;
mod frame;
mod history;
mod key;
mod keyring;
mod log;
mod meta;
mod object;
mod rebuild;
mod record;
mod recover;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use disk::{Disk, DiskFile, OsDisk};
pub use error::{CommitError, Compacted, OpenError, WatchError};
pub use history::Watch;
pub use key::{Key, Resource, Revision, Scope};
pub use meta::{Meta, OwnerReference};
pub use object::{Body, Change, Durability, Event, EventKind, Expect, Object, Write};
pub use rebuild::{Rebuild, RebuildError};
pub use recover::last_revision;
pub use state::Snapshot;
pub use store::{Reader, Store, StoreConfig, Writer};
