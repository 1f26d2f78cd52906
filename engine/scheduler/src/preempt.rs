//! Which pods of lower priority would have to go for a pod to fit. Pure.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#preemption

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    budgets::violations,
    cluster::{Cluster, NodeState, nominated, priority},
    filters,
};

pub struct Found {
    pub node: String,
    pub victims: Vec<Arc<Pod>>,
}

/// Why nobody has to go, as `FailedScheduling` says it.
pub struct Refusal {
    pub reason: &'static str,
    pub not_eligible: bool,
}

/// The node where the least is lost: the fewest broken budgets, the lowest highest priority, then the fewest victims.
pub fn find<'a>(
    pod: &Pod,
    candidates: impl Iterator<Item = &'a NodeState>,
    cluster: &Cluster,
) -> Result<Found, Refusal> {
    let policy = pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return Err(Refusal { reason: "preemptionPolicy=Never", not_eligible: true });
    }
    if waits_for_victims(pod, cluster) {
        return Err(Refusal { reason: "a terminating pod on the nominated node", not_eligible: true });
    }
    let found = candidates.filter_map(|node| victims(pod, node, cluster).map(|lost| (node, lost)));
    let cheapest = found.min_by_key(|(_, (victims, broken))| {
        (*broken, victims.iter().map(|victim| priority(victim)).max(), victims.len())
    });
    let refusal = Refusal { reason: "No preemption victims found for incoming pod", not_eligible: false };
    cheapest.map(|(node, (victims, _))| Found { node: node.name().to_owned(), victims }).ok_or(refusal)
}

/// The pods that had to go for this one are still on their way.
fn waits_for_victims(pod: &Pod, cluster: &Cluster) -> bool {
    let node = cluster.nodes.iter().find(|node| Some(node.name()) == nominated(pod));
    let leaving =
        |other: &Arc<Pod>| other.metadata.deletion_timestamp.is_some() && priority(other) < priority(pod);
    node.is_some_and(|node| node.pods.iter().any(leaving))
}

/// As few pods as possible, those without a budget and the least important first, and how many budgets that breaks.
/// `None` when it would not help either.
fn victims(pod: &Pod, node: &NodeState, cluster: &Cluster) -> Option<(Vec<Arc<Pod>>, usize)> {
    let mine = priority(pod);
    let mut lower: Vec<Arc<Pod>> = node.pods.iter().filter(|other| priority(other) < mine).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let mut without = cluster.clone();
    let index = without.nodes.iter().position(|other| other.name() == node.name())?;
    lower.iter().for_each(|victim| without.nodes[index].remove(victim));
    filters::check(pod, &without.nodes[index], &without).ok()?;
    lower.sort_by_key(|other| (std::cmp::Reverse(priority(other)), started(other)));
    let breaks = violations(&lower, &cluster.budgets);
    let (protected, free): (Vec<_>, Vec<_>) = lower.into_iter().zip(breaks).partition(|(_, breaks)| *breaks);
    let (mut victims, mut broken) = (Vec::new(), 0);
    // Whose budget would be broken, and the more important ones, get their place back first.
    for (other, breaks) in protected.into_iter().chain(free) {
        without.nodes[index].place(other.clone());
        if filters::check(pod, &without.nodes[index], &without).is_err() {
            without.nodes[index].remove(&other);
            victims.push(other);
            broken += usize::from(breaks);
        }
    }
    Some((victims, broken))
}

fn started(pod: &Pod) -> Timestamp {
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    start.or(pod.metadata.creation_timestamp.as_ref()).map_or(Timestamp::MAX, |time| time.0)
}
