//! Whether loops still turn: each answers questions between two pieces of work. Nobody asks, nothing happens.
//!
//! Invariant: a loop that ended, panicked or hangs does not answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

type Question = oneshot::Sender<()>;

/// The loops of a role. Held by whoever asks; each loop takes its [`Beat`] from it.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Mutex<BTreeMap<&'static str, mpsc::Sender<Question>>>>);

/// One loop's side.
pub struct Beat(mpsc::Receiver<Question>);

/// The role is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPulse {
    #[error("not running")]
    NotRunning,
    #[error("`{0}` does not answer")]
    Silent(&'static str),
}

impl Pulse {
    /// A loop begins. It takes the place of an earlier one of this name.
    pub fn begin(&self, name: &'static str) -> Beat {
        // One waits while another is answered; more askers wait outside.
        let (ask, asked) = mpsc::channel(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, ask);
        Beat(asked)
    }

    /// Asks every loop, and waits for the slowest.
    pub async fn check(&self, within: Duration) -> Result<(), NoPulse> {
        let loops = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if loops.is_empty() {
            return Err(NoPulse::NotRunning);
        }
        let answers = loops.into_iter().map(|(name, ask)| async move {
            let asking = async {
                let (question, answer) = oneshot::channel();
                ask.send(question).await.ok()?;
                answer.await.ok()
            };
            timeout(within, asking).await.ok().flatten().ok_or(NoPulse::Silent(name))
        });
        join_all(answers).await.into_iter().collect()
    }
}

impl Beat {
    /// Waits for a question and answers it. Nothing is lost when the future is dropped.
    pub async fn answer(&mut self) {
        match self.0.recv().await {
            Some(question) => drop(question.send(())),
            // Replaced: nobody will ask again.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn a_loop_answers_until_it_hangs_or_ends() {
        let pulse = Pulse::default();
        assert_eq!(pulse.check(WITHIN).await, Err(NoPulse::NotRunning));
        let turning = |mut beat: Beat| {
            tokio::spawn(async move {
                loop {
                    beat.answer().await;
                }
            })
        };
        let first = turning(pulse.begin("first"));
        assert_eq!(pulse.check(WITHIN).await, Ok(()));
        assert_eq!(pulse.check(WITHIN).await, Ok(()));
        let hanging = pulse.begin("second");
        assert_eq!(pulse.check(WITHIN).await, Err(NoPulse::Silent("second")));
        let second = turning(pulse.begin("second"));
        drop(hanging);
        assert_eq!(pulse.check(WITHIN).await, Ok(()));
        first.abort();
        let _ = first.await;
        assert_eq!(pulse.check(WITHIN).await, Err(NoPulse::Silent("first")));
        second.abort();
    }
}
