//! What clients did and saw. Moments are numbers that only grow, given before a request and after its answer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub revision: u64,
    pub value: u64,
}

/// `from` is the value that was read with the resource version that the request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Create(u64),
    Update {
        from: u64,
        to: u64,
    },
    Delete {
        from: u64,
    },
    /// Of a collection: whatever is there goes.
    Remove,
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With its revision; a deletion's answer has none.
    Done(Option<u64>),
    /// Refused: the object is there, or is another one.
    Conflict,
    /// Refused: there is no such object.
    Absent,
    Found(Option<Found>),
    /// No answer: done now, later, or never.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Op {
    /// `configmaps/a`
    pub key: String,
    pub kind: Kind,
    pub invoked: u64,
    pub returned: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub struct List {
    /// `configmaps/`
    pub resource: String,
    pub invoked: u64,
    pub revision: u64,
    pub items: Vec<(String, Found)>,
}

#[derive(Clone, Debug)]
pub struct Event {
    /// As on the wire.
    pub kind: String,
    pub key: String,
    pub found: Found,
}

/// One watch, from its request to its end.
#[derive(Clone, Debug)]
pub struct Segment {
    pub resource: String,
    pub after: u64,
    pub events: Vec<Event>,
}

#[derive(Clone, Default)]
pub struct History {
    pub ops: Vec<Op>,
    pub lists: Vec<List>,
    pub watches: Vec<Segment>,
}

/// Shared by all clients.
#[derive(Clone, Default)]
pub struct Recorder {
    pub history: Arc<Mutex<History>>,
    clock: Arc<AtomicU64>,
}

impl Recorder {
    /// A moment; also a value that no other write has.
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }
}
