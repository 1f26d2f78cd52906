//! The status of a budget, from its pods and the number of pods that there should be. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};

use super::DELETION_TIMEOUT;
use crate::pods;

const ALLOWED: &str = "DisruptionAllowed";

fn rules(budget: &PodDisruptionBudget) -> (Option<&IntOrString>, Option<&IntOrString>) {
    let spec = budget.spec.as_ref();
    (spec.and_then(|spec| spec.min_available.as_ref()), spec.and_then(|spec| spec.max_unavailable.as_ref()))
}

/// Whether the pods' controllers must be asked how many there should be.
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let (min, max) = rules(budget);
    max.is_some() || matches!(min, Some(IntOrString::String(_)))
}

/// A percentage of `total`, rounded up.
fn scaled(value: &IntOrString, total: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            ((percent * i64::from(total)) as u64).div_ceil(100) as i32
        }
    }
}

fn desired(budget: &PodDisruptionBudget, expected: i32) -> i32 {
    match rules(budget) {
        (_, Some(max)) => (expected - scaled(max, expected)).max(0),
        (Some(min), None) => scaled(min, expected),
        (None, None) => 0,
    }
}

fn expiry(evicted_at: &Time) -> Timestamp {
    let timeout = SignedDuration::try_from(DELETION_TIMEOUT).unwrap_or_default();
    evicted_at.0.checked_add(timeout).unwrap_or(Timestamp::MAX)
}

/// Evicted, and not deleted yet; whoever promised the deletion has some time for it.
fn going(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], now: Timestamp) -> BTreeMap<String, Time> {
    let noted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let still = |name: &String, at: &Time| {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        pod.is_some_and(|pod| !pods::is_terminating(pod)) && expiry(at) > now
    };
    noted
        .into_iter()
        .flatten()
        .filter(|(name, at)| still(name, at))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

pub fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    expected: i32,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let going = going(budget, pods, now);
    let stays = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !pods::is_terminating(pod) && pods::is_ready(pod) && !going.contains_key(name)
    };
    let healthy = pods.iter().filter(stays).count() as i32;
    let desired = desired(budget, expected);
    // A budget over nothing allows nothing: the pods may be about to come.
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let (value, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    PodDisruptionBudgetStatus {
        conditions: Some(conditions(budget, value, reason, "", now)),
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disrupted_pods: (!going.is_empty()).then_some(going),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        observed_generation: budget.metadata.generation,
    }
}

/// Nothing may go while it is not known how many there should be.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let before = budget.status.clone().unwrap_or_default();
    PodDisruptionBudgetStatus {
        conditions: Some(conditions(budget, "False", "SyncFailed", why, now)),
        current_healthy: before.current_healthy.or(Some(0)),
        desired_healthy: before.desired_healthy.or(Some(0)),
        disrupted_pods: before.disrupted_pods,
        disruptions_allowed: Some(0),
        expected_pods: before.expected_pods.or(Some(0)),
        observed_generation: budget.metadata.generation,
    }
}

/// The others stay; the time is that of the last change of value.
fn conditions(
    budget: &PodDisruptionBudget,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let before = budget.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let same = before.iter().find(|one| one.type_ == ALLOWED && one.status == value);
    let since =
        same.map_or(Timestamp::from_second(now.as_second()).unwrap_or(now), |one| one.last_transition_time.0);
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(since),
        observed_generation: budget.metadata.generation,
    };
    before.into_iter().filter(|one| one.type_ != ALLOWED).chain([condition]).collect()
}

/// When the first of the evicted pods is given up.
pub fn next_expiry(status: &PodDisruptionBudgetStatus, now: Timestamp) -> Option<Duration> {
    let all = status.disrupted_pods.as_ref()?.values().map(expiry);
    let left = all.min()?.duration_since(now);
    Some(Duration::try_from(left).unwrap_or_default())
}
