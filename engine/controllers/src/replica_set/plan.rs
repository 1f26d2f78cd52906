//! What one pass over a ReplicaSet does to its Pods. Pure: the caller passes the time.
//!
//! Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset (delete order)

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pods;

/// Pods created or deleted in one pass, as in the stock controller.
pub const BURST_REPLICAS: usize = 500;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

#[derive(Debug, PartialEq)]
pub enum Plan {
    Nothing,
    Create { count: usize },
    Delete { pods: Vec<Arc<Pod>> },
}

/// `active` are the pods that count as replicas. `related` says how many active pods of the same controller family run
/// on each node: of equals, those on the fullest node go first.
pub fn plan(desired: usize, active: &[Arc<Pod>], related: &HashMap<String, usize>, now: Timestamp) -> Plan {
    match desired.cmp(&active.len()) {
        Ordering::Equal => Plan::Nothing,
        Ordering::Greater => Plan::Create { count: (desired - active.len()).min(BURST_REPLICAS) },
        Ordering::Less => {
            let mut pods = active.to_vec();
            pods.sort_by(|a, b| deletion_order(a, b, related, now));
            pods.truncate((active.len() - desired).min(BURST_REPLICAS));
            Plan::Delete { pods }
        }
    }
}

/// The sizes of slow start: 1, 2, 4 … so that a quota or a broken template fails once, not 500 times.
pub fn slow_start(count: usize) -> impl Iterator<Item = usize> {
    let mut left = count;
    let mut batch = 1;
    std::iter::from_fn(move || {
        let size = batch.min(left);
        left -= size;
        batch *= 2;
        (size > 0).then_some(size)
    })
}

/// Less means deleted earlier.
fn deletion_order(a: &Pod, b: &Pod, related: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let assigned = |pod| !pods::node_name(pod).is_empty();
    let rank = |pod| related.get(pods::node_name(pod)).copied().unwrap_or(0);
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank(b).cmp(&rank(a)))
        .then_with(|| age(pods::ready_since(a), now).cmp(&age(pods::ready_since(b), now)))
        .then_with(|| pods::restarts(b).cmp(&pods::restarts(a)))
        .then_with(|| age(created(a), now).cmp(&age(created(b), now)))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn phase_rank(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// The power of two of the seconds since then; a pod without the time counts as the youngest. Among pods of one power
/// the uid decides at the end, so that not always the youngest goes.
fn age(since: Option<Timestamp>, now: Timestamp) -> Option<u32> {
    let seconds = |since: Timestamp| (now.as_second() - since.as_second()).max(0) as u64;
    since.map(|since| 64 - seconds(since).leading_zeros())
}
