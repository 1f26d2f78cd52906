//! Snapshots that lists in chunks go on reading: a bounded set, the least recently used goes first.
//!
//! Invariant: at most [`MAX`] snapshots, none older than [`MAX_AGE`]; a snapshot costs only what changed since.

use std::time::{Duration, Instant};

use coracle_store::{Revision, Snapshot};
use parking_lot::Mutex;

const MAX: usize = 16;
/// As long as etcd keeps old revisions on a stock cluster.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

#[derive(Default)]
pub struct Pinned {
    /// The most recently used is last.
    entries: Mutex<Vec<(Instant, Snapshot)>>,
}

impl Pinned {
    pub fn pin(&self, snapshot: &Snapshot) {
        let mut entries = self.entries.lock();
        purge(&mut entries);
        if entries.iter().any(|(_, own)| own.revision() == snapshot.revision()) {
            return;
        }
        if entries.len() == MAX {
            entries.remove(0);
        }
        entries.push((Instant::now(), snapshot.clone()));
    }

    pub fn get(&self, revision: Revision) -> Option<Snapshot> {
        let mut entries = self.entries.lock();
        purge(&mut entries);
        let at = entries.iter().position(|(_, own)| own.revision() == revision)?;
        let entry = entries.remove(at);
        let snapshot = entry.1.clone();
        entries.push(entry);
        Some(snapshot)
    }

    /// Lets everything go that is too old.
    pub fn purge(&self) {
        purge(&mut self.entries.lock());
    }
}

fn purge(entries: &mut Vec<(Instant, Snapshot)>) {
    entries.retain(|(since, _)| since.elapsed() < MAX_AGE);
}
