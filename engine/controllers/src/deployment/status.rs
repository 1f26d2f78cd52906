//! The status of a Deployment: counts over its ReplicaSets, and the conditions that `kubectl rollout status` reads.
//! Pure: the caller passes the time.
//!
//! Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{rolling::Limits, sets::Set};

pub const PROGRESSING: &str = "Progressing";
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
pub const PAUSED: &str = "DeploymentPaused";

/// A condition without its times.
pub struct Verdict<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: String,
}

pub fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Sets a condition unless status and reason are already so.
pub fn set(conditions: &mut Vec<DeploymentCondition>, verdict: Verdict<'_>, now: Timestamp) {
    let before = find(conditions, verdict.kind);
    if before.is_some_and(|it| it.status == verdict.status && it.reason.as_deref() == Some(verdict.reason)) {
        return;
    }
    replace(conditions, verdict, now);
}

/// Sets a condition, `lastUpdateTime` in any case; `lastTransitionTime` stays when the status does.
fn replace(conditions: &mut Vec<DeploymentCondition>, verdict: Verdict<'_>, now: Timestamp) {
    let before = find(conditions, verdict.kind).filter(|it| it.status == verdict.status);
    let since = before.and_then(|it| it.last_transition_time.clone());
    let condition = DeploymentCondition {
        type_: verdict.kind.to_owned(),
        status: verdict.status.to_owned(),
        reason: Some(verdict.reason.to_owned()),
        message: Some(verdict.message),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    };
    remove(conditions, verdict.kind);
    conditions.push(condition);
}

fn remove(conditions: &mut Vec<DeploymentCondition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// The counts, and the condition `Available`. `conditions` are the Deployment's so far.
pub fn counted(
    deployment: &Deployment,
    new: Option<&Set>,
    old: &[Set],
    mut conditions: Vec<DeploymentCondition>,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |count: &dyn Fn(&Set) -> i32| old.iter().chain(new).map(count).sum::<i32>();
    let positive = |count: i32| (count > 0).then_some(count);
    let available = sum(&|set| set.available);
    let limits = Limits::of(deployment);
    let verdict = if available >= limits.min_available() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let (status, reason, message) = verdict;
    set(&mut conditions, Verdict { kind: "Available", status, reason, message: message.to_owned() }, now);
    let terminating =
        |set: &Set| set.object.status.as_ref().and_then(|it| it.terminating_replicas).unwrap_or(0);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: positive(sum(&|set| set.existing)),
        updated_replicas: positive(new.map_or(0, |set| set.existing)),
        ready_replicas: positive(sum(&|set| set.ready)),
        available_replicas: positive(available),
        unavailable_replicas: positive(sum(&|set| set.replicas) - available),
        terminating_replicas: Some(sum(&terminating)),
        collision_count: deployment.status.as_ref().and_then(|status| status.collision_count),
        conditions: Some(conditions),
    }
}

/// All pods are of the new template, and available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let desired = Limits::of(deployment).replicas;
    [status.updated_replicas, status.replicas, status.available_replicas]
        .iter()
        .all(|count| count.unwrap_or(0) == desired)
        && status.observed_generation >= deployment.metadata.generation
}

/// Something moved since the status before.
fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(after.updated_replicas) > count(before.updated_replicas)
        || old(after) < old(before)
        || count(after.ready_replicas) > count(before.ready_replicas)
        || count(after.available_replicas) > count(before.available_replicas)
}

/// `None`: no deadline.
pub fn deadline(deployment: &Deployment) -> Option<i64> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then_some(seconds.into())
}

/// Brings `Progressing` and `ReplicaFailure` up to date. `name`: of the new set, also when it is only about to be made.
pub fn judge_progress(
    deployment: &Deployment,
    (new, name): (Option<&Set>, Option<&str>),
    old: &[Set],
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    let before = deployment.status.clone().unwrap_or_default();
    let complete = is_complete(deployment, status);
    let progressed = has_progressed(&before, status);
    let all_updated = status.replicas == status.updated_replicas;
    let conditions = status.conditions.get_or_insert_default();
    let current = find(conditions, PROGRESSING);
    let was_complete =
        all_updated && current.is_some_and(|it| it.reason.as_deref() == Some(NEW_SET_AVAILABLE));
    match deadline(deployment) {
        None => remove(conditions, PROGRESSING),
        Some(_) if was_complete => {}
        Some(seconds) => {
            let subject = match name {
                Some(name) => format!("ReplicaSet \"{name}\""),
                None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
            };
            let verdict =
                |status, reason, message: String| Verdict { kind: PROGRESSING, status, reason, message };
            if complete {
                let message = format!("{subject} has successfully progressed.");
                set(conditions, verdict("True", NEW_SET_AVAILABLE, message), now);
            } else if progressed {
                let message = format!("{subject} is progressing.");
                replace(conditions, verdict("True", "ReplicaSetUpdated", message), now);
            } else if is_timed_out(conditions, seconds, now) {
                let message = format!("{subject} has timed out progressing.");
                set(conditions, verdict("False", TIMED_OUT, message), now);
            }
        }
    }
    copy_replica_failure(conditions, new, old);
}

fn is_timed_out(conditions: &[DeploymentCondition], seconds: i64, now: Timestamp) -> bool {
    let Some(condition) = find(conditions, PROGRESSING) else { return false };
    match condition.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => {
            condition.last_update_time.as_ref().is_some_and(|at| at.0.as_second() + seconds < now.as_second())
        }
    }
}

/// When the deadline would strike.
pub fn until_deadline(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let seconds = deadline(deployment)?;
    let condition = find(status.conditions.as_deref()?, PROGRESSING)?;
    let settled = condition.reason.as_deref() == Some(TIMED_OUT) || is_complete(deployment, status);
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    if settled || paused {
        return None;
    }
    let at = condition.last_update_time.as_ref()?.0.as_second() + seconds;
    Some(Duration::from_secs((at - now.as_second()).max(0) as u64 + 1))
}

/// A set that cannot make its pods says why on the Deployment; the new set's reason comes first.
fn copy_replica_failure(conditions: &mut Vec<DeploymentCondition>, new: Option<&Set>, old: &[Set]) {
    let failure = new.into_iter().chain(old).find_map(|set| {
        let conditions = set.object.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == "ReplicaFailure")
    });
    let Some(failure) = failure else { return remove(conditions, "ReplicaFailure") };
    let same = |it: &DeploymentCondition| it.status == failure.status && it.reason == failure.reason;
    if find(conditions, "ReplicaFailure").is_some_and(same) {
        return;
    }
    remove(conditions, "ReplicaFailure");
    conditions.push(DeploymentCondition {
        type_: "ReplicaFailure".to_owned(),
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        last_update_time: failure.last_transition_time.clone(),
        last_transition_time: failure.last_transition_time.clone(),
    });
}
