//! What is told of the request that is being answered: admission's annotations for the audit log, and what time others took.
//!
//! Kept true: notes belong to one request; what is said outside of any (bootstrap, at start) is dropped.
//! Source:    https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

tokio::task_local! {
    static NOTES: Notes;
}

/// Shared by all tasks of a request.
#[derive(Clone, Default)]
pub struct Notes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    annotations: Mutex<Vec<(String, String)>>,
    waited_nanos: AtomicU64,
}

impl Notes {
    /// Those of the request that this task answers.
    pub fn current() -> Notes {
        NOTES.try_with(Notes::clone).unwrap_or_default()
    }

    /// Work in which [`note`] adds to these.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        NOTES.scope(self, work)
    }

    pub fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.annotations.lock())
    }

    /// For webhooks and for a seat.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.0.waited_nanos.load(Relaxed))
    }
}

pub fn note(key: impl Into<String>, value: impl Into<String>) {
    let _ = NOTES.try_with(|notes| notes.0.annotations.lock().push((key.into(), value.into())));
}

/// The request waited for others so long.
pub fn waited(time: Duration) {
    let _ = NOTES.try_with(|notes| notes.0.waited_nanos.fetch_add(time.as_nanos() as u64, Relaxed));
}
