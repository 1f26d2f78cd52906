//! What a node is: its name, taints, labels, and what it has left.

use coracle_client::node_affinity;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Taint, Toleration};

use super::Rejection;
use crate::{
    cluster::{Cluster, NodeState},
    resources::requests,
};

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub fn unschedulable(_: &Pod, spec: &PodSpec, node: &NodeState, _: &Cluster) -> Result<(), Rejection> {
    let cordoned = node.node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let taint =
        Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Default::default() };
    if cordoned && !tolerates(spec, &taint) {
        return Err(Rejection::unresolvable("node(s) were unschedulable"));
    }
    Ok(())
}

pub fn name(_: &Pod, spec: &PodSpec, node: &NodeState, _: &Cluster) -> Result<(), Rejection> {
    match spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        Some(wanted) if wanted != node.name() => {
            Err(Rejection::unresolvable("node(s) didn't match the requested node name"))
        }
        _ => Ok(()),
    }
}

pub fn taints(_: &Pod, spec: &PodSpec, node: &NodeState, _: &Cluster) -> Result<(), Rejection> {
    let taints = node.node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let mut hard = taints.into_iter().flatten().filter(|taint| taint.effect != "PreferNoSchedule");
    if hard.any(|taint| !tolerates(spec, taint)) {
        return Err(Rejection::unresolvable("node(s) had untolerated taint(s)"));
    }
    Ok(())
}

pub fn tolerates(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| covers(toleration, taint))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |value: &Option<String>| value.as_deref().unwrap_or_default().is_empty();
    let same_effect = empty(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
    let same_key = empty(&toleration.key) || toleration.key.as_deref() == Some(&taint.key);
    let value = taint.value.as_deref().unwrap_or_default();
    let mine = toleration.value.as_deref().unwrap_or_default();
    let same_value = match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => value == mine,
        _ => false,
    };
    same_effect && same_key && same_value
}

/// `nodeSelector`, and the required part of the node affinity.
pub fn affinity(_: &Pod, spec: &PodSpec, node: &NodeState, _: &Cluster) -> Result<(), Rejection> {
    if matches_affinity(spec, node) {
        Ok(())
    } else {
        Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
}

pub fn matches_affinity(spec: &PodSpec, node: &NodeState) -> bool {
    node_affinity::admits(spec, node.name(), &node.node.metadata.labels)
}

/// What is left of every resource that the pod asks for.
pub fn fits(pod: &Pod, _: &PodSpec, node: &NodeState, _: &Cluster) -> Result<(), Rejection> {
    let mut reasons = Vec::new();
    let mut unresolvable = false;
    for (name, wanted) in requests(pod).0.into_iter().filter(|(_, wanted)| *wanted > 0) {
        let allocatable = node.allocatable.get(&name);
        if wanted > allocatable - node.requested.get(&name) {
            let reason =
                if name == "pods" { "Too many pods".to_owned() } else { format!("Insufficient {name}") };
            reasons.push(reason);
            unresolvable |= wanted > allocatable;
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Rejection { reasons, unresolvable }) }
}
