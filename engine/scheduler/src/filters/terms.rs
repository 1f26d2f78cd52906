//! Terms of affinity and anti-affinity between pods.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/

use coracle_client::selector::Selector;
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec};

use super::Rejection;
use crate::cluster::{Cluster, NodeState};

/// Is `other` one of the pods that `term` of `owner` is about?
pub fn term_covers(term: &PodAffinityTerm, owner: &Pod, other: &Pod, cluster: &Cluster) -> bool {
    let Some(label_selector) = &term.label_selector else { return false };
    let Ok(mut selector) = Selector::compile(label_selector) else { return false };
    let own = |key: &String| owner.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    for key in term.match_label_keys.iter().flatten() {
        if let Some(value) = own(key) {
            selector.require(key, value);
        }
    }
    let unlike = term.mismatch_label_keys.iter().flatten();
    let theirs = |key: &String| other.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let mut alike = unlike.filter(|key| own(key).is_some() && own(key) == theirs(key));
    namespace_covered(term, owner, other, cluster)
        && selector.matches(&other.metadata.labels)
        && alike.next().is_none()
}

fn namespace_covered(term: &PodAffinityTerm, owner: &Pod, other: &Pod, cluster: &Cluster) -> bool {
    let theirs = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    if named.is_empty() && term.namespace_selector.is_none() {
        return owner.metadata.namespace == other.metadata.namespace;
    }
    let selected = term.namespace_selector.as_ref().and_then(|selector| Selector::compile(selector).ok());
    named.iter().any(|name| name == theirs)
        || selected.is_some_and(|selector| selector.matches(&cluster.namespace_labels.get(theirs).cloned()))
}

fn required_affinity(spec: &PodSpec) -> &[PodAffinityTerm] {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref());
    let required = affinity.and_then(|it| it.required_during_scheduling_ignored_during_execution.as_deref());
    required.unwrap_or_default()
}

fn required_anti_affinity(spec: &PodSpec) -> &[PodAffinityTerm] {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = affinity.and_then(|it| it.required_during_scheduling_ignored_during_execution.as_deref());
    required.unwrap_or_default()
}

/// Do both nodes lie in one domain of `key`?
pub fn same_domain(key: &str, a: &NodeState, b: &NodeState) -> bool {
    a.label(key).is_some() && a.label(key) == b.label(key)
}

pub fn pod_affinity(pod: &Pod, spec: &PodSpec, node: &NodeState, cluster: &Cluster) -> Result<(), Rejection> {
    let wanted = required_affinity(spec);
    if !wanted.is_empty() && !affinity_satisfied(wanted, pod, node, cluster) {
        return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
    }
    for (place, other) in cluster.pods() {
        let clashes = |term: &PodAffinityTerm, owner: &Pod, other: &Pod| {
            same_domain(&term.topology_key, place, node) && term_covers(term, owner, other, cluster)
        };
        if required_anti_affinity(spec).iter().any(|term| clashes(term, pod, other)) {
            return Err(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        let theirs = other.spec.as_ref().map(required_anti_affinity).unwrap_or_default();
        if theirs.iter().any(|term| clashes(term, other, pod)) {
            return Err(Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
    }
    Ok(())
}

fn affinity_satisfied(terms: &[PodAffinityTerm], pod: &Pod, node: &NodeState, cluster: &Cluster) -> bool {
    if terms.iter().any(|term| node.label(&term.topology_key).is_none()) {
        return false;
    }
    let covered = |other: &Pod| terms.iter().all(|term| term_covers(term, pod, other, cluster));
    let met = terms.iter().all(|term| {
        cluster.pods().any(|(place, other)| same_domain(&term.topology_key, place, node) && covered(other))
    });
    // The first pod of a group that wants to be together may go anywhere.
    met || (covered(pod) && !cluster.pods().any(|(_, other)| covered(other)))
}
