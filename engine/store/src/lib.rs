//! All objects of the cluster, in memory and on disk: revisions, watch, compaction, durability.
//! CONTRACT: public names and signatures below are what the other crates compile against.

use std::{any::Any, path::PathBuf, sync::Arc, sync::OnceLock};

use bytes::Bytes;

/// A position in the one order of all commits; the `resourceVersion` of an object. Starts at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// A group resource as clients name it: `pods`, `deployments.apps`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(pub Arc<str>);

/// Where an object lives. `namespace` is empty for cluster-scoped resources. Ordered as lists are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub resource: Resource,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Which objects a list or a watch covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub resource: Resource,
    pub namespace: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
}

/// The fields of `metadata` that every reader needs, taken out of the JSON once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub uid: Arc<str>,
    /// Sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    pub owner_references: Box<[OwnerReference]>,
    pub finalizers: Box<[Box<str>]>,
    /// RFC 3339, as in the JSON.
    pub deletion_timestamp: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerReference {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Arc<str>,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

/// Canonical JSON of an object without the digits of its `resourceVersion`:
/// the store inserts them at byte `revision_at` (just after `"resourceVersion":"`) when it orders the commit.
#[derive(Clone, Debug)]
pub struct Body {
    pub json: Vec<u8>,
    pub revision_at: usize,
}

/// One stored version of one object. Immutable and shared.
#[derive(Debug)]
pub struct Object {
    pub key: Key,
    pub revision: Revision,
    pub meta: Meta,
    /// The JSON, `resourceVersion` included.
    pub json: Bytes,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Object {
    /// The typed form, decoded at most once per revision and shared by all readers
    /// (a second type asked of the same object is decoded anew each time).
    pub fn decode<K: serde::de::DeserializeOwned + Send + Sync + 'static>(
        &self,
    ) -> Result<Arc<K>, serde_json::Error> {
        let _ = &self.typed;
        unimplemented!()
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Revision(Revision),
}

#[derive(Debug)]
pub enum Change {
    Put { meta: Meta, body: Body },
    /// `body` is the object's last state; watchers get it with the revision of the deletion.
    Delete { body: Body },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged when it is on disk.
    Durable,
    /// Never costs a sync: Leases, and repeat counts of Events. May be lost in a crash (then the last durable state, or absence, returns).
    Volatile,
}

#[derive(Debug)]
pub struct Write {
    pub key: Key,
    pub expect: Expect,
    pub change: Change,
    pub durability: Durability,
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("object changed since it was read")]
    Conflict { current: Option<Arc<Object>> },
    #[error("store is read-only: {reason}")]
    ReadOnly { reason: String },
    #[error("store is closed")]
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One commit as watchers see it.
#[derive(Debug)]
pub struct Event {
    pub kind: EventKind,
    /// The new state; of a deletion the last one, with the deletion's revision.
    pub object: Arc<Object>,
    /// The state before, absent for `Added`: a watch with a selector needs it to see objects come and go.
    pub previous: Option<Arc<Object>>,
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

#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Created when absent, mode 0700.
    pub dir: PathBuf,
    /// Resources whose bytes are encrypted on disk, e.g. `secrets`. The key lies in `dir`, mode 0600.
    pub encrypted: Vec<Resource>,
    /// How many events the watch history keeps.
    pub history_events: usize,
}

/// Opens with [`Store::open`]; hands out any number of readers and writers.
pub struct Store {}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Placeholder(String),
}

impl Store {
    pub async fn open(_config: StoreConfig) -> Result<Store, OpenError> {
        unimplemented!()
    }
    pub fn reader(&self) -> Reader {
        unimplemented!()
    }
    pub fn writer(&self) -> Writer {
        unimplemented!()
    }
    /// Waits until everything acknowledged is on disk, then refuses further writes.
    pub async fn close(self) {
        unimplemented!()
    }
}

/// The only way to change the store. Held by the API server alone.
#[derive(Clone)]
pub struct Writer {}

impl Writer {
    /// Returns the committed object (for a deletion: its last state at the deletion's revision).
    pub async fn commit(&self, _write: Write) -> Result<Arc<Object>, CommitError> {
        unimplemented!()
    }
}

/// Reads never wait for a writer or for the disk.
#[derive(Clone)]
pub struct Reader {}

impl Reader {
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
    pub fn get(&self, _key: &Key) -> Option<Arc<Object>> {
        unimplemented!()
    }
    /// Events after `after`, in order, none lost or repeated. `Err` when the history does not reach back that far.
    pub fn watch(&self, _scope: Scope, _after: Revision) -> Result<Watch, Compacted> {
        unimplemented!()
    }
    /// A snapshot and the watch that continues it.
    pub fn list_watch(&self, _scope: Scope) -> (Snapshot, Watch) {
        unimplemented!()
    }
}

/// The whole store at one revision. O(1) to take.
#[derive(Clone)]
pub struct Snapshot {}

impl Snapshot {
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
    pub fn get(&self, _key: &Key) -> Option<&Arc<Object>> {
        unimplemented!()
    }
    /// In key order.
    pub fn list<'a>(&'a self, _scope: &Scope) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
        unimplemented!()
    }
    /// Like [`Snapshot::list`], from the first key greater than `after`.
    pub fn list_after<'a>(
        &'a self,
        _scope: &Scope,
        _after: &Key,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
        unimplemented!()
    }
    /// The resources that have objects, each with its count.
    pub fn resources(&self) -> Vec<(Resource, usize)> {
        unimplemented!()
    }
}

pub struct Watch {}

impl Watch {
    /// The next event of the scope. Cancel safe.
    pub async fn next(&mut self) -> Result<Arc<Event>, WatchError> {
        unimplemented!()
    }
    /// Everything up to this revision was returned by `next` or lies outside the scope (for bookmarks).
    pub fn progress(&self) -> Revision {
        unimplemented!()
    }
}
