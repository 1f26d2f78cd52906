//! Owner of every task of the ingress that outlives the call which made it.
//!
//! Invariant: none of them lives on after [`Tasks::end`], or after the ingress was dropped.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    /// No new work; what is under way may end.
    pub stopping: CancellationToken,
    /// Everything ends where it stands.
    pub cut: CancellationToken,
}

impl Tasks {
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            cut.run_until_cancelled_owned(work).await;
        });
    }

    /// Gives tasks this long to end, and cuts what is left.
    pub async fn end(&self, within: Duration) {
        self.tracker.close();
        if tokio::time::timeout(within, self.tracker.wait()).await.is_err() {
            self.cut.cancel();
            self.tracker.wait().await;
        }
    }
}

/// HTTP/2 connections spawn their streams through this.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, work: F) {
        self.spawn(async move {
            work.await;
        });
    }
}
