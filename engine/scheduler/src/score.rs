//! Which of the nodes that can take a pod suits it best. Pure.
//!
//! Each part gives 0 to 100 and has the stock scheduler's weight.
//! Source: https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins

use k8s_openapi::api::core::v1::{Pod, PodSpec, WeightedPodAffinityTerm};

use crate::{
    cluster::{Cluster, NodeState},
    filters::{term_covers, tolerates},
    resources::requests,
};

/// The best of `nodes`; of equals the first. They are not empty.
pub fn best<'a>(pod: &Pod, nodes: &[&'a NodeState], cluster: &Cluster) -> Option<&'a NodeState> {
    let [single] = nodes else {
        let spec = pod.spec.as_ref()?;
        let preferred: Vec<i64> = nodes.iter().map(|node| node_preference(spec, node)).collect();
        let together: Vec<i64> = nodes.iter().map(|node| pod_preference(pod, spec, node, cluster)).collect();
        let tainted: Vec<i64> = nodes.iter().map(|node| -soft_taints(spec, node)).collect();
        let (preferred, together, tainted) = (normal(&preferred), normal(&together), normal(&tainted));
        let total = |index: usize| {
            room(pod, nodes[index]) + 2 * preferred[index] + 2 * together[index] + 3 * tainted[index]
        };
        let best = (0..nodes.len()).rev().max_by_key(|&index| total(index))?;
        return Some(nodes[best]);
    };
    Some(single)
}

/// Spreads values over 0 to 100; equal ones are all 0.
fn normal(values: &[i64]) -> Vec<i64> {
    let least = values.iter().copied().min().unwrap_or(0);
    let range = values.iter().copied().max().unwrap_or(0) - least;
    values.iter().map(|value| if range == 0 { 0 } else { (value - least) * 100 / range }).collect()
}

/// The share of cpu and memory that would stay free.
fn room(pod: &Pod, node: &NodeState) -> i64 {
    let wanted = requests(pod);
    let free = |name: &str| {
        let all = node.allocatable.get(name);
        let left = all - node.requested.get(name) - wanted.get(name);
        if all <= 0 { 0 } else { (left.max(0) * 100 / all) as i64 }
    };
    (free("cpu") + free("memory")) / 2
}

fn node_preference(spec: &PodSpec, node: &NodeState) -> i64 {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_ref());
    let matching = preferred.into_iter().flatten().filter(|term| node.is_in(&term.preference));
    matching.map(|term| i64::from(term.weight)).sum()
}

fn pod_preference(pod: &Pod, spec: &PodSpec, node: &NodeState, cluster: &Cluster) -> i64 {
    let affinity = spec.affinity.as_ref();
    let near = affinity.and_then(|it| it.pod_affinity.as_ref());
    let near = near.and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_deref());
    let far = affinity.and_then(|it| it.pod_anti_affinity.as_ref());
    let far = far.and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_deref());
    if near.is_none() && far.is_none() {
        return 0;
    }
    let sum = |terms: &[WeightedPodAffinityTerm], place: &NodeState, other: &Pod| -> i64 {
        let counted = terms.iter().filter(|term| {
            let term = &term.pod_affinity_term;
            node.label(&term.topology_key).is_some()
                && node.label(&term.topology_key) == place.label(&term.topology_key)
                && term_covers(term, pod, other, cluster)
        });
        counted.map(|term| i64::from(term.weight)).sum()
    };
    let score = |(place, other): (&NodeState, &std::sync::Arc<Pod>)| {
        sum(near.unwrap_or_default(), place, other) - sum(far.unwrap_or_default(), place, other)
    };
    cluster.pods().map(score).sum()
}

fn soft_taints(spec: &PodSpec, node: &NodeState) -> i64 {
    let taints = node.node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints.filter(|taint| taint.effect == "PreferNoSchedule" && !tolerates(spec, taint)).count() as i64
}
