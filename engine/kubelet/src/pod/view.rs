//! What exec, attach and logs may know of a pod.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio_util::sync::CancellationToken;

use super::observed::{Observed, State};
use crate::shared::{ContainerView, PodView};

pub fn build(
    pod: &Pod,
    observed: &Observed,
    status: &PodStatus,
    ended: &HashMap<String, CancellationToken>,
) -> PodView {
    let statuses =
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let waiting: HashMap<&str, Option<String>> = statuses
        .map(|s| {
            let reason = s.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.clone());
            (s.name.as_str(), reason)
        })
        .collect();
    let containers = observed.containers.iter().map(|(name, seen)| {
        let attempt = u32::try_from(seen.restart_count).unwrap_or_default();
        let reason = waiting.get(name.as_str()).cloned().flatten();
        // While a container waits, its last attempt is both the current log and the previous one.
        let waits = reason.is_some() || matches!(seen.state, State::Waiting { .. });
        let previous = if waits { Some(attempt) } else { attempt.checked_sub(1) };
        let over = || {
            let token = CancellationToken::new();
            token.cancel();
            token
        };
        let view = ContainerView {
            running: seen.running_id().map(str::to_owned),
            current_attempt: seen.created.then_some(attempt),
            previous_attempt: previous.filter(|_| seen.created),
            waiting_reason: reason,
            ended: seen.running_id().and_then(|id| ended.get(id)).cloned().unwrap_or_else(over),
        };
        (name.clone(), view)
    });
    PodView {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        containers: containers.collect(),
    }
}
