use coracle_kinds::Kind;

use super::{plan::*, *};

fn node(conditions: &str, taints: &[(&str, &str)], unschedulable: bool) -> Node {
    let conditions: Vec<Value> = conditions
        .split_whitespace()
        .filter_map(|one| one.split_once('='))
        .map(|(kind, status)| json!({ "type": kind, "status": status }))
        .collect();
    let taints: Vec<Value> =
        taints.iter().map(|(key, effect)| json!({ "key": key, "effect": effect })).collect();
    Node::from_value(&json!({
        "metadata": { "name": "n" },
        "spec": { "taints": taints, "unschedulable": unschedulable },
        "status": { "conditions": conditions, "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] },
    }))
    .unwrap()
}

fn after(node: &Node) -> Option<String> {
    let texts = |taints: Vec<Taint>| -> Vec<String> {
        taints
            .iter()
            .map(|taint| format!("{}:{}", taint.key.replace("node.kubernetes.io/", ""), taint.effect))
            .collect()
    };
    taints(node, Timestamp::UNIX_EPOCH).map(|taints| texts(taints).join(" "))
}

use k8s_openapi::api::core::v1::Taint;

const NEW: (&str, &str) = ("node.kubernetes.io/not-ready", "NoSchedule");
const OWN: (&str, &str) = ("gpu", "NoExecute");

#[test]
fn taints_follow_conditions_and_leave_those_of_others() {
    for (node, expected) in [
        (node("Ready=True", &[NEW, OWN], false), Some("gpu:NoExecute")),
        (node("Ready=True", &[OWN], false), None),
        (node("", &[NEW], false), Some("")),
        (node("Ready=True", &[OWN], true), Some("gpu:NoExecute unschedulable:NoSchedule")),
        (
            node("Ready=True DiskPressure=True PIDPressure=False", &[], false),
            Some("disk-pressure:NoSchedule"),
        ),
        (node("Ready=False", &[NEW], false), Some("not-ready:NoSchedule not-ready:NoExecute")),
        (node("Ready=Unknown", &[NEW], false), Some("unreachable:NoSchedule unreachable:NoExecute")),
        (node("Ready=True", &[("node.kubernetes.io/unschedulable", "NoSchedule")], false), Some("")),
    ] {
        assert_eq!(after(&node).as_deref(), expected, "{node:?}");
    }
}

#[test]
fn what_is_not_heard_of_is_unknown_once() {
    let lost =
        unknown(&node("Ready=True MemoryPressure=False Custom=True", &[], false), Timestamp::UNIX_EPOCH);
    let kinds: Vec<&str> = lost.iter().filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(kinds, ["Ready", "MemoryPressure"]);
    assert!(unknown(&node("Ready=Unknown", &[], false), Timestamp::UNIX_EPOCH).is_empty());
}

#[test]
fn the_control_planes_node_has_its_role() {
    let node = node("", &[], false);
    assert_eq!(
        role_label(&node, "192.0.2.1".parse().unwrap()),
        Some("node-role.kubernetes.io/control-plane")
    );
    assert_eq!(role_label(&node, "192.0.2.2".parse().unwrap()), None);
}
