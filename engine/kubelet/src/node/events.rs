//! What `kubectl describe node` shows that the kubelet says of its node.
//!
//! Kept true: said at a start and when something changed; at rest nothing is.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet_node_status.go (`recordNodeStatusEvent`)

use coracle_client::EventType;
use coracle_runtime::Resources;
use k8s_openapi::api::core::v1::{NodeCondition, ObjectReference};

use crate::resources::cpu_shares;
use crate::shared::Shared;

/// A condition, its status, and the event that this is.
const CHANGES: [(&str, &str, &str); 8] = [
    ("MemoryPressure", "False", "NodeHasSufficientMemory"),
    ("MemoryPressure", "True", "NodeHasInsufficientMemory"),
    ("DiskPressure", "False", "NodeHasNoDiskPressure"),
    ("DiskPressure", "True", "NodeHasDiskPressure"),
    ("PIDPressure", "False", "NodeHasSufficientPID"),
    ("PIDPressure", "True", "NodeHasInsufficientPID"),
    ("Ready", "True", "NodeReady"),
    ("Ready", "False", "NodeNotReady"),
];

/// A kubelet starts. Kubelets put the node's name where its uid would be, and `kubectl` looks for that.
pub fn starting(shared: &Shared) {
    record(shared, EventType::Normal, "Starting", "Starting kubelet.".to_owned());
}

/// `Node NAME status is now: REASON`.
pub fn status(shared: &Shared, reason: &str) {
    let message = format!("Node {} status is now: {reason}", shared.config.node_name);
    record(shared, EventType::Normal, reason, message);
}

pub fn rebooted(shared: &Shared, boot_id: &str) {
    let message = format!("Node {} has been rebooted, boot id: {boot_id}", shared.config.node_name);
    record(shared, EventType::Warning, "Rebooted", message);
}

/// Gives all pods together what the node has, and tells it.
pub async fn enforce_allocatable(shared: &Shared) {
    let all = Resources {
        memory_limit_bytes: Some(shared.capacity.memory_bytes),
        cpu_shares: Some(cpu_shares(shared.capacity.milli_cpu)),
        ..Resources::default()
    };
    match shared.runtime.limit_group("", &all).await {
        Ok(()) => {
            let message = "Updated Node Allocatable limit across pods".to_owned();
            record(shared, EventType::Normal, "NodeAllocatableEnforced", message);
        }
        Err(error) => {
            let message = format!("Failed to update Node Allocatable Limits: {}", crate::chain(&error));
            record(shared, EventType::Warning, "FailedNodeAllocatableEnforcement", message);
        }
    }
}

/// The events of conditions that are not what they were.
pub fn changes(before: &[NodeCondition], after: &[NodeCondition]) -> Vec<&'static str> {
    let changed = after
        .iter()
        .filter(|now| !before.iter().any(|before| before.type_ == now.type_ && before.status == now.status));
    let meaning = |now: &NodeCondition| {
        CHANGES.iter().find(|(kind, status, _)| now.type_ == *kind && now.status == *status)
    };
    changed.filter_map(meaning).map(|(_, _, reason)| *reason).collect()
}

fn record(shared: &Shared, kind: EventType, reason: &str, message: String) {
    let name = shared.config.node_name.clone();
    let node = ObjectReference {
        kind: Some("Node".to_owned()),
        uid: Some(name.clone()),
        name: Some(name),
        ..ObjectReference::default()
    };
    shared.events.event(&node, kind, reason, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(text: &str) -> Vec<NodeCondition> {
        let pairs = text.split_whitespace().filter_map(|one| one.split_once('='));
        let condition = |(kind, status): (&str, &str)| NodeCondition {
            type_: kind.into(),
            status: status.into(),
            ..NodeCondition::default()
        };
        pairs.map(condition).collect()
    }

    #[test]
    fn what_changed_is_told_once() {
        for (before, after, expected) in [
            ("", "MemoryPressure=False Ready=True", "NodeHasSufficientMemory NodeReady"),
            ("MemoryPressure=False Ready=True", "MemoryPressure=False Ready=True", ""),
            ("Ready=Unknown", "Ready=True", "NodeReady"),
            ("DiskPressure=False", "DiskPressure=True", "NodeHasDiskPressure"),
            ("PIDPressure=False", "PIDPressure=False", ""),
            ("", "Ready=Unknown Custom=True", ""),
        ] {
            let told = changes(&conditions(before), &conditions(after)).join(" ");
            assert_eq!(told, expected, "{before} then {after}");
        }
    }
}
