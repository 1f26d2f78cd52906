//! One timer for deadlines that come one after the other, as those of the exchanges on a connection do.
//!
//! Almost every deadline is taken back long before it passes. To set up a timer for each and to remove it again took a
//! tenth of a request's time, so the timer stays where it is, and moves only when it fires or is too late.
//!
//! Invariant: once polled and found pending, the task is woken at the deadline polled for, or before.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Default)]
pub struct Alarm(Option<Pin<Box<tokio::time::Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed.
    pub fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() == deadline {
                return Poll::Ready(());
            }
            // It was still set for an earlier one.
            sleep.as_mut().reset(deadline);
        }
    }
}

/// For a connection that hyper serves: one alarm for all of its deadlines, of which it has one at a time.
#[derive(Default)]
pub struct ConnectionTimer(Arc<Mutex<Alarm>>);

struct Until {
    deadline: Instant,
    alarm: Arc<Mutex<Alarm>>,
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: std::time::Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(std::time::Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline: deadline.into(), alarm: self.0.clone() })
    }
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.alarm.lock().poll(self.deadline, context)
    }
}

impl Sleep for Until {}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker, time::Duration};

    use super::*;

    /// The deadlines in milliseconds; those but the last are left before they pass.
    async fn last_of(deadlines: &[u64]) -> Duration {
        let mut alarm = Alarm::default();
        let begun = Instant::now();
        let (last, left) = deadlines.split_last().unwrap();
        for deadline in left {
            let deadline = begun + Duration::from_millis(*deadline);
            assert!(alarm.poll(deadline, &mut Context::from_waker(Waker::noop())).is_pending());
        }
        poll_fn(|context| alarm.poll(begun + Duration::from_millis(*last), context)).await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn the_deadline_asked_for_last_counts() {
        assert!(last_of(&[60_000, 20]).await < Duration::from_secs(60));
        assert!(last_of(&[10, 60_000, 40]).await >= Duration::from_millis(40));
        assert!(last_of(&[10]).await >= Duration::from_millis(10));
    }
}
