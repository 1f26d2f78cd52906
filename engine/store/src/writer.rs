//! The ways to the committer: a thread that takes whatever commits wait as one group, and, while commits come one at a
//! time and the disk is fast, the caller itself: two wake-ups of threads cost as much as the sync.
//!
//! Invariant: one commits at a time, and nothing is committed after the end.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::committer::{Commit, Committer, MAX_GROUP_LEN};

/// Commits of one group at most; more wait for the next.
const MAX_GROUP: usize = 512;

// Nearly all are commits: a box would be one more allocation for each.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Request {
    Commit(Commit),
    /// Answered when what came before is done.
    Probe(oneshot::Sender<()>),
    /// Answered by being dropped, when all is done.
    Close(oneshot::Sender<()>),
}

pub(crate) struct WriterThread {
    pub requests: mpsc::Receiver<Request>,
    pub committer: Arc<Mutex<Committer>>,
    /// The lock on the directory, given back last.
    pub lock: Option<Box<dyn std::any::Any + Send>>,
}

/// Watchers learn of the end even if the thread panics.
impl Drop for WriterThread {
    fn drop(&mut self) {
        self.committer.lock().published.history.close();
    }
}

impl WriterThread {
    pub fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let Some(request) = self.requests.blocking_recv() else { break };
            let mut committer = self.committer.lock();
            if committer.ended {
                return;
            }
            let (mut group, mut probes) = (Vec::new(), Vec::new());
            let mut len = 0;
            let mut next = Some(request);
            while let Some(request) = next.take() {
                match request {
                    Request::Commit(commit) => {
                        len += commit.write.len();
                        group.push(commit);
                    }
                    Request::Probe(done) => probes.push(done),
                    Request::Close(done) => closing = Some(done),
                }
                if closing.is_none() && group.len() < MAX_GROUP && len < MAX_GROUP_LEN {
                    next = self.requests.try_recv().ok();
                }
            }
            if !group.is_empty() {
                committer.commit(group);
            }
            drop(committer);
            probes.into_iter().for_each(|done: oneshot::Sender<()>| _ = done.send(()));
        }
        self.requests.close();
        let mut committer = self.committer.lock();
        committer.finish();
        committer.published.history.close();
        drop(committer);
        drop(self.lock.take());
        drop(closing);
    }
}

/// Commits at once if nobody else does or waits to, and if that takes no longer than to have it done; gives the commit
/// back otherwise.
pub(crate) fn commit_here(
    committer: &Mutex<Committer>,
    requests: &mpsc::Sender<Request>,
    commit: Commit,
) -> Option<Commit> {
    if requests.capacity() < requests.max_capacity() {
        return Some(commit);
    }
    match committer.try_lock() {
        Some(mut committer) if committer.is_worth_waiting_for(commit.write.len()) => {
            committer.commit(vec![commit]);
            None
        }
        _ => Some(commit),
    }
}
