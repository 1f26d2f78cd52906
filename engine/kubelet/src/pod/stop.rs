//! Ends one container: preStop hook, its turn, stop signal, SIGKILL at the end of the grace period.
//!
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::{ContainerId, images::ImageStore};
use k8s_openapi::api::core::v1::{Container, Pod};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::hooks;
use crate::shared::Shared;

/// After a preStop hook or its turn used up the grace period, a container still gets this long.
pub const MIN_AFTER_HOOK: Duration = Duration::from_secs(2);
/// How long SIGKILL may take before it is sent again.
const KILL_AGAIN: Duration = Duration::from_secs(5);

pub struct Request {
    pub pod: Arc<Pod>,
    pub container: Container,
    pub id: ContainerId,
    pub pod_ip: String,
    /// When SIGKILL is due; a later request can bring it forward.
    pub deadline: watch::Receiver<Instant>,
    /// Of a sidecar: set when those that it outlives have ended.
    pub turn: Option<CancellationToken>,
    /// What the event `Killing` says.
    pub message: String,
    /// The image that the container runs.
    pub image_id: String,
    /// Set when the container has ended.
    pub ended: CancellationToken,
}

/// What asks a container to end: the signal of its spec, else of its image, else SIGTERM.
pub async fn stop_signal(images: &ImageStore, container: Option<&Container>, image_id: &str) -> i32 {
    let own = container.and_then(|it| it.lifecycle.as_ref()?.stop_signal.clone());
    let text = match own {
        Some(own) => Some(own),
        None => images.resolve(image_id).await.ok().flatten().and_then(|image| image.stop_signal),
    };
    text.and_then(|text| signal_number(&text)).unwrap_or(libc::SIGTERM)
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
fn signal_number(text: &str) -> Option<i32> {
    const SIGRTMIN: i32 = 34;
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
        return Some(SIGRTMIN + offset).filter(|n| *n <= 64);
    }
    Signal::from_str(&name).ok().map(|s| s as i32)
}

/// Waits for the deadline, also when it is brought forward.
async fn deadline(receiver: &mut watch::Receiver<Instant>) {
    loop {
        let at = *receiver.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(at) => return,
            changed = receiver.changed() => if changed.is_err() {
                return tokio::time::sleep_until(at).await;
            },
        }
    }
}

pub async fn stop(shared: Arc<Shared>, mut request: Request) {
    let name = request.container.name.clone();
    shared.normal(&request.pod, Some(&name), "Killing", request.message.clone());
    let hook = request.container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    let mut hook_ran = false;
    if let Some(handler) = hook
        && *request.deadline.borrow() > Instant::now()
    {
        hook_ran = true;
        let limit = Duration::from_secs(24 * 3600);
        let run =
            hooks::handle(&shared.runtime, &request.id, &request.pod_ip, &request.container, handler, limit);
        tokio::select! {
            () = request.ended.cancelled() => return,
            () = deadline(&mut request.deadline) => {}
            outcome = run => if outcome.is_err() {
                shared.warning(&request.pod, Some(&name), "FailedPreStopHook", "PreStopHook failed".to_owned());
            }
        }
    }
    if let Some(turn) = &request.turn {
        tokio::select! {
            () = request.ended.cancelled() => return,
            () = deadline(&mut request.deadline) => {}
            () = turn.cancelled() => {}
        }
    }
    let had_to_wait = hook_ran || request.turn.is_some();
    let now = Instant::now();
    let due = *request.deadline.borrow();
    let grace_left = due > now || had_to_wait;
    if grace_left {
        let signal = stop_signal(&shared.images, Some(&request.container), &request.image_id).await;
        send(&shared, &request.id, signal).await;
        let least = if had_to_wait { now + MIN_AFTER_HOOK } else { now };
        tokio::select! {
            () = request.ended.cancelled() => return,
            () = async {
                deadline(&mut request.deadline).await;
                tokio::time::sleep_until(least).await;
            } => {}
        }
    }
    while !request.ended.is_cancelled() {
        send(&shared, &request.id, libc::SIGKILL).await;
        let _ = tokio::time::timeout(KILL_AGAIN, request.ended.cancelled()).await;
    }
}

async fn send(shared: &Shared, id: &ContainerId, signal: i32) {
    if let Err(error) = shared.runtime.signal_container(id, signal).await {
        tracing::debug!(container = %id.0, signal, error = crate::chain(&error), "container was not signalled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        let table = [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGX", None),
            ("0", None),
        ];
        for (text, expected) in table {
            assert_eq!(signal_number(text), expected, "{text}");
        }
    }
}
