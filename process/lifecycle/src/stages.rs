//! Groups of roles that stop together. Stages are drained in reverse order of their making,
//! so whoever depends on another role is made after it and stops before it.

use std::{future::Future, time::Duration};

use futures::FutureExt;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, error_span, info, warn};

/// How long a role that panicked rests before it starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// All stages of the process, in start order.
#[derive(Default)]
pub struct Stages(Vec<Stage>);

/// Roles that start and stop together.
pub struct Stage {
    name: &'static str,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stages {
    /// Adds the next stage; it is drained before all stages that exist.
    pub fn stage(&mut self, name: &'static str) -> &mut Stage {
        self.0.push(Stage { name, stop: CancellationToken::new(), tasks: JoinSet::new() });
        self.0.last_mut().expect("just pushed")
    }

    /// Stops stage after stage, last first. What has not ended by `within` is dropped.
    pub async fn drain(mut self, within: Duration) {
        let deadline = Instant::now() + within;
        while let Some(mut stage) = self.0.pop() {
            stage.stop.cancel();
            let ended = async { while stage.tasks.join_next().await.is_some() {} };
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                warn!(stage = stage.name, "stage did not stop in time");
            }
        }
    }
}

impl Stage {
    /// Cancelled when this stage is drained.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `role` until it returns. A role that cannot be started again; a panic is reported.
    pub fn run_once<F>(&mut self, name: &'static str, role: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guarded = async move {
            if std::panic::AssertUnwindSafe(role).catch_unwind().await.is_err() {
                error!(role = name, "role panicked");
            }
        };
        self.tasks.spawn(guarded.instrument(error_span!("role", name)));
    }

    /// Runs `role` until the stage stops; starts it again when it panics or returns early.
    pub fn supervise<M, F>(&mut self, name: &'static str, mut role: M)
    where
        M: FnMut(CancellationToken) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let supervised = async move {
            while !stop.is_cancelled() {
                let outcome = std::panic::AssertUnwindSafe(role(stop.clone())).catch_unwind().await;
                if stop.is_cancelled() {
                    break;
                }
                match outcome {
                    Ok(()) => info!(role = name, "role ended early, starting it again"),
                    Err(_) => error!(role = name, "role panicked, starting it again"),
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(RESTART_PAUSE) => {}
                }
            }
        };
        self.tasks.spawn(supervised.instrument(error_span!("role", name)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn stages_stop_last_first() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut stages = Stages::default();
        for name in ["store", "api", "controllers"] {
            let order = order.clone();
            stages.stage(name).supervise(name, move |stop| {
                let order = order.clone();
                async move {
                    stop.cancelled().await;
                    order.lock().unwrap().push(name);
                }
            });
        }
        tokio::task::yield_now().await;
        stages.drain(Duration::from_secs(5)).await;
        assert_eq!(*order.lock().unwrap(), ["controllers", "api", "store"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_panics_starts_again() {
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        let mut stages = Stages::default();
        stages.stage("only").supervise("fragile", move |_stop| {
            started.send(()).unwrap();
            async { panic!("on purpose") }
        });
        starts.recv().await.unwrap();
        starts.recv().await.unwrap();
        stages.drain(Duration::from_secs(1)).await;
    }
}
