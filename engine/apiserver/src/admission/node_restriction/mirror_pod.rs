//! What a pod must be like that a node makes: the picture of one that it runs by itself, which stands for nobody else.

use serde_json::Value;

use crate::{authz::node::REFERENCES, status::quote};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Why `node`, whose Node has this uid, may not create the pod.
pub fn problem(pod: &Value, node: &str, uid: Option<&str>) -> Option<String> {
    let name = quote(node);
    if !pod["metadata"]["annotations"][MIRROR].is_string() {
        return Some(format!(
            "pod does not have {} annotation, node {name} can only create mirror pods",
            quote(MIRROR)
        ));
    }
    if pod["spec"]["nodeName"] != node {
        return Some(format!("node {name} can only create pods with spec.nodeName set to itself"));
    }
    owner_problem(pod, node, uid).or_else(|| reference_problem(pod, &name))
}

fn owner_problem(pod: &Value, node: &str, uid: Option<&str>) -> Option<String> {
    let name = quote(node);
    let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let owner = match owners {
        [owner] => owner,
        [] => return Some(format!("node {name} can only create pods with an owner reference set to itself")),
        _ => {
            return Some(format!(
                "node {name} can only create pods with a single owner reference set to itself"
            ));
        }
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return Some(format!("node {name} can only create pods with an owner reference set to itself"));
    }
    if owner["controller"] != true {
        return Some(format!(
            "node {name} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner["blockOwnerDeletion"] == true {
        return Some(format!("node {name} must not set blockOwnerDeletion on an owner reference"));
    }
    let said = owner["uid"].as_str().unwrap_or_default();
    match uid {
        None => Some(format!("error looking up node {node} to verify uid: node {name} not found")),
        Some(uid) if uid != said => Some(format!("node {node} UID mismatch: expected {said} got {uid}")),
        Some(_) => None,
    }
}

fn reference_problem(pod: &Value, name: &str) -> Option<String> {
    let spec = &pod["spec"];
    if spec["serviceAccountName"].as_str().is_some_and(|account| !account.is_empty()) {
        return Some(format!("node {name} can not create pods that reference a service account"));
    }
    let refused = REFERENCES.iter().find(|(_, fields)| mentions(spec, fields));
    refused.map(|(what, _)| format!("node {name} can not create pods that reference {what}"))
}

/// Whether one of the fields, anywhere in the value, names an object.
pub fn mentions(value: &Value, fields: &[&str]) -> bool {
    match value {
        Value::Object(own) => own.iter().any(|(field, value)| {
            fields.contains(&field.as_str()) && is_reference(field, value) || mentions(value, fields)
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, fields)),
        _ => false,
    }
}

/// Empty is nothing; in a user's own map (`nodeSelector`) such a key has a text, which names no object.
fn is_reference(field: &str, value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => field == "secretName" && !text.is_empty(),
        _ => false,
    }
}
