//! Which taints a node's conditions ask for.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/nodelifecycle/node_lifecycle_controller.go

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

pub const NO_SCHEDULE: &str = "NoSchedule";
pub const NO_EXECUTE: &str = "NoExecute";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Of the node that runs the control plane.
const ROLE: &str = "node-role.kubernetes.io/control-plane";

/// A condition, its status, and the taint that it means.
const MEANINGS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// The taints of this controller that should be there: key and effect.
fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let holds = |(kind, status, _): &&(&str, &str, &str)| {
        condition(node, kind).is_some_and(|it| it.status == *status)
    };
    let keys: Vec<&'static str> = MEANINGS.iter().filter(holds).map(|(_, _, key)| *key).collect();
    let mut taints: Vec<_> = keys.iter().map(|key| (*key, NO_SCHEDULE)).collect();
    taints.extend(unschedulable(node).then_some((UNSCHEDULABLE, NO_SCHEDULE)));
    let away = keys.iter().filter(|key| [NOT_READY, UNREACHABLE].contains(key));
    taints.extend(away.map(|key| (*key, NO_EXECUTE)));
    taints
}

/// Whether nobody but this controller sets and removes the taint.
fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        NO_SCHEDULE => taint.key == UNSCHEDULABLE || MEANINGS.iter().any(|(_, _, key)| taint.key == *key),
        NO_EXECUTE => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    }
}

/// All taints of the node as they should be; `None`: they are.
pub fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let wanted = wanted(node);
    let before = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let is = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let kept = |taint: &&Taint| !is_ours(taint) || wanted.iter().any(|own| is(taint, own));
    let missing = wanted.iter().filter(|own| !before.iter().any(|taint| is(taint, own)));
    let missing = missing.map(|(key, effect)| Taint {
        key: (*key).to_owned(),
        effect: (*effect).to_owned(),
        time_added: Some(Time(now)),
        value: None,
    });
    let after: Vec<Taint> = before.iter().filter(kept).cloned().chain(missing).collect();
    (after != before).then_some(after)
}

/// The label that is missing on the node that has the control plane's address: a node may not give itself a role.
pub fn role_label(node: &Node, control_plane: IpAddr) -> Option<&'static str> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let own = addresses.iter().any(|it| it.type_ == "InternalIP" && it.address.parse() == Ok(control_plane));
    let labelled = node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(ROLE));
    (own && !labelled).then_some(ROLE)
}

/// The conditions of a node from which nothing is heard.
pub fn unknown(node: &Node, now: Timestamp) -> Vec<Value> {
    let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    let known = kinds.iter().filter_map(|kind| condition(node, kind)).filter(|it| it.status != "Unknown");
    let lost = known.map(|it| {
        json!({
            "type": it.type_, "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.", "lastTransitionTime": Time(now),
        })
    });
    lost.collect()
}
