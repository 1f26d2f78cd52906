//! The status of a ReplicaSet, from the Pods it controls.
//!
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/replica-set-v1/#ReplicaSetStatus

use std::{sync::Arc, time::Duration};

use coracle_client::selector::Selector;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::pods;

/// Why pods could not be made or removed: the condition `ReplicaFailure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`
    pub reason: &'static str,
    pub message: String,
}

/// `active` and `terminating` as they were when the pass began.
pub fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.as_ref();
    let template =
        spec.and_then(|spec| spec.template.as_ref()).and_then(|template| template.metadata.as_ref());
    let labels =
        template.and_then(|metadata| metadata.labels.as_ref()).map(Selector::from_map).unwrap_or_default();
    let min_ready_seconds = min_ready_seconds(set);
    let count = |wanted: &dyn Fn(&Pod) -> bool| positive(active.iter().filter(|pod| wanted(pod)).count());
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: count(&|pod| labels.matches(&pod.metadata.labels)),
        ready_replicas: count(&pods::is_ready),
        available_replicas: count(&|pod| pods::is_available(pod, min_ready_seconds, now)),
        observed_generation: set.metadata.generation,
        terminating_replicas: Some(terminating as i32),
        conditions: conditions(set, failure, now),
    }
}

/// When the next ready pod becomes available.
pub fn next_available(set: &ReplicaSet, active: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let left = |pod: &Arc<Pod>| pods::seconds_until_available(pod, min_ready_seconds(set), now);
    active.iter().filter_map(left).filter(|left| *left > 0).min().map(|left| Duration::from_secs(left as u64))
}

fn min_ready_seconds(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// Counts of zero are left out of the JSON.
fn positive(count: usize) -> Option<i32> {
    (count > 0).then_some(count as i32)
}

fn conditions(
    set: &ReplicaSet,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let before = set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let (mut kept, replaced): (Vec<_>, Vec<_>) =
        before.into_iter().partition(|each| each.type_ != "ReplicaFailure");
    if let Some(failure) = failure {
        // The first failure stands until all is well: its message says what to repair.
        let fresh = || ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        };
        kept.push(replaced.into_iter().next().unwrap_or_else(fresh));
    }
    (!kept.is_empty()).then_some(kept)
}
