//! Owner of every task of the ingress that outlives the call which made it.
//!
//! Invariant: none of them lives on after [`Tasks::end`], or after the ingress was dropped.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

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
            until(&cut, work).await;
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

/// What `work` comes to; `None` when the token is cancelled first.
///
/// Only for what a task polls with its own waker, which is always the same: the token is told that once, at the first
/// poll. `CancellationToken::run_until_cancelled` tells it again at each of the many polls of a connection.
pub async fn until<F: Future>(token: &CancellationToken, work: F) -> Option<F::Output> {
    let (mut work, mut cancelled) = (pin!(work), pin!(token.cancelled()));
    let mut told = false;
    poll_fn(|context| {
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        let is_news = !std::mem::replace(&mut told, true) || token.is_cancelled();
        if is_news && cancelled.as_mut().poll(context).is_ready() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
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
