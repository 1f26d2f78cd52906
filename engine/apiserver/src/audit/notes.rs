//! What admission tells the audit log of the request that is being answered.
//!
//! Kept true: notes belong to one request; what is said outside of any (bootstrap, at start) is dropped.
//! Source:    https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/

use std::sync::Arc;

use parking_lot::Mutex;

tokio::task_local! {
    static NOTES: Notes;
}

/// Annotations of an entry of the audit log, shared by all tasks of a request.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<(String, String)>>>);

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
        std::mem::take(&mut self.0.lock())
    }
}

pub fn note(key: impl Into<String>, value: impl Into<String>) {
    let _ = NOTES.try_with(|notes| notes.0.lock().push((key.into(), value.into())));
}
