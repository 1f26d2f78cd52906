//! Hard topology spread: no domain gets ahead of the emptiest one by more than `maxSkew`.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/

use std::collections::BTreeMap;

use coracle_client::selector::Selector;
use k8s_openapi::api::core::v1::{Pod, PodSpec, TopologySpreadConstraint};

use super::{Rejection, node};
use crate::cluster::{Cluster, NodeState};

const NO_MATCH: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

pub fn skew(pod: &Pod, spec: &PodSpec, at: &NodeState, cluster: &Cluster) -> Result<(), Rejection> {
    let hard = spec.topology_spread_constraints.iter().flatten();
    let hard: Vec<_> = hard.filter(|it| it.when_unsatisfiable == "DoNotSchedule").collect();
    if hard.iter().any(|constraint| at.label(&constraint.topology_key).is_none()) {
        return Err(Rejection::unresolvable(NO_LABEL));
    }
    for constraint in &hard {
        let Some(selector) = selector(constraint, pod) else { continue };
        let counts = counts(constraint, &hard, &selector, pod, spec, cluster);
        let few_domains = (counts.len() as i32) < constraint.min_domains.unwrap_or(1);
        let least = if few_domains { 0 } else { counts.values().copied().min().unwrap_or(0) };
        let here =
            at.label(&constraint.topology_key).and_then(|domain| counts.get(domain)).copied().unwrap_or(0);
        let itself = i32::from(selector.matches(&pod.metadata.labels));
        if here + itself - least > constraint.max_skew {
            return Err(Rejection::resolvable(NO_MATCH));
        }
    }
    Ok(())
}

fn selector(constraint: &TopologySpreadConstraint, pod: &Pod) -> Option<Selector> {
    let mut selector = Selector::compile(constraint.label_selector.as_ref()?).ok()?;
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            selector.require(key, value);
        }
    }
    Some(selector)
}

/// Matching pods per domain, over the nodes that count.
fn counts<'a>(
    constraint: &TopologySpreadConstraint,
    hard: &[&TopologySpreadConstraint],
    selector: &Selector,
    pod: &Pod,
    spec: &PodSpec,
    cluster: &'a Cluster,
) -> BTreeMap<&'a str, i32> {
    let honor_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let honor_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let mut counts = BTreeMap::new();
    for place in &cluster.nodes {
        let Some(domain) = place.label(&constraint.topology_key) else { continue };
        let labelled = hard.iter().all(|other| place.label(&other.topology_key).is_some());
        let excluded = honor_affinity && !node::matches_affinity(spec, place)
            || honor_taints && node::taints(pod, spec, place, cluster).is_err();
        if excluded || !labelled {
            continue;
        }
        let counted = |other: &Pod| {
            other.metadata.deletion_timestamp.is_none()
                && other.metadata.namespace == pod.metadata.namespace
                && selector.matches(&other.metadata.labels)
        };
        *counts.entry(domain).or_default() += place.pods.iter().filter(|other| counted(other)).count() as i32;
    }
    counts
}
