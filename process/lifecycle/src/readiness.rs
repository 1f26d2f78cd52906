//! One role tells others that it serves. Silence, and a handle that is dropped, are *not ready*.

use tokio::sync::watch;

/// Held by the role. Consumed by [`ReadyHandle::ready`].
pub struct ReadyHandle(watch::Sender<bool>);

/// Held by whoever waits for the role.
#[derive(Clone)]
pub struct Readiness(watch::Receiver<bool>);

/// The role ended, or panicked, before it was ready.
#[derive(Debug, thiserror::Error)]
#[error("role ended before it was ready")]
pub struct NotReady;

impl ReadyHandle {
    pub fn new() -> (ReadyHandle, Readiness) {
        let (sender, receiver) = watch::channel(false);
        (ReadyHandle(sender), Readiness(receiver))
    }

    pub fn ready(self) {
        // Nobody waiting is no error.
        let _ = self.0.send(true);
    }
}

impl Readiness {
    pub async fn wait(mut self) -> Result<(), NotReady> {
        self.0.wait_for(|ready| *ready).await.map(|_| ()).map_err(|_| NotReady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropped_handle_is_a_failure() {
        let (handle, readiness) = ReadyHandle::new();
        drop(handle);
        assert!(readiness.wait().await.is_err());
    }

    #[tokio::test]
    async fn ready_stays_ready_after_the_handle_is_gone() {
        let (handle, readiness) = ReadyHandle::new();
        handle.ready();
        assert!(readiness.clone().wait().await.is_ok());
        assert!(readiness.wait().await.is_ok());
    }
}
