//! From one status of a pod to another: what is sent to the API server.
//!
//! Invariant: pure; names only what changed, with null for what went away.

use k8s_openapi::api::core::v1::PodStatus;

/// A strategic merge patch from one status to another; `None` when they are equal.
pub fn patch(uid: &str, before: &PodStatus, after: &PodStatus) -> Option<serde_json::Value> {
    use serde_json::{Map, Value, json};
    let object = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, new) = (object(before), object(after));
    let mut changed = Map::new();
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        changed.insert(key.clone(), Value::Null);
    }
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        match (key.as_str(), value) {
            ("conditions", Value::Array(list)) => {
                let list = merge_list(old.get(key), list, "type", true);
                if !list.is_empty() {
                    // The scheduler's condition is there first; people read them in the kubelet's order.
                    let order = value.as_array().into_iter().flatten().map(|c| json!({"type": c["type"]}));
                    changed.insert("$setElementOrder/conditions".into(), order.collect());
                    changed.insert(key.clone(), Value::Array(list));
                }
            }
            ("podIPs" | "hostIPs", Value::Array(list)) => {
                let mut list = merge_list(old.get(key), list, "ip", false);
                let gone = old.get(key).and_then(Value::as_array).into_iter().flatten();
                let kept = value.as_array().cloned().unwrap_or_default();
                list.extend(
                    gone.filter(|o| !kept.contains(o)).map(|o| json!({"$patch": "delete", "ip": o["ip"]})),
                );
                changed.insert(key.clone(), Value::Array(list));
            }
            _ => {
                changed.insert(key.clone(), value.clone());
            }
        }
    }
    (!changed.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changed}))
}

/// The entries that changed. A merge keeps fields that are not named, so those that went away are named as null.
fn merge_list(
    old: Option<&serde_json::Value>,
    new: &[serde_json::Value],
    key: &str,
    nulls: bool,
) -> Vec<serde_json::Value> {
    let old = old.and_then(|o| o.as_array()).map(Vec::as_slice).unwrap_or_default();
    let mut out = Vec::new();
    for entry in new {
        let before = old.iter().find(|o| o[key] == entry[key]);
        if before == Some(entry) {
            continue;
        }
        let mut entry = entry.clone();
        if let (true, Some(fields), Some(before)) =
            (nulls, entry.as_object_mut(), before.and_then(|b| b.as_object()))
        {
            for name in before.keys() {
                fields.entry(name.clone()).or_insert(serde_json::Value::Null);
            }
        }
        out.push(entry);
    }
    out
}
