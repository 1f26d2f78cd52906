//! What to change in an object that exists already. `None` when nothing.
//!
//! Roles get back rules and the selectors that they are aggregated by, bindings get back subjects that were taken from
//! them; more than the defaults may stay.
//! The endpoints of `default/kubernetes` follow the node's address, what aggregated API servers are told follows our keys.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use crate::authz::rules::uncovered;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The object to write in place of `existing`.
pub fn reconcile(existing: &Value, wanted: &Value) -> Option<Value> {
    let mut next = existing.clone();
    match wanted["kind"].as_str()? {
        "ClusterRole" | "Role" if autoupdates(existing) => {
            merge_metadata(&mut next, wanted);
            let rules = missing_rules(existing, wanted);
            extend(&mut next, "rules", rules);
            let (field, selectors) = ("aggregationRule", "clusterRoleSelectors");
            let missing = missing(&existing[field], &wanted[field], selectors);
            if !missing.is_empty() {
                extend(&mut next[field], selectors, missing);
            }
        }
        "ClusterRoleBinding" | "RoleBinding" if autoupdates(existing) => {
            merge_metadata(&mut next, wanted);
            extend(&mut next, "subjects", missing(existing, wanted, "subjects"));
        }
        // Keys of the authorities may be replaced; signatures are the bootstrap signer's.
        "ConfigMap" => {
            for (key, value) in wanted["data"].as_object().into_iter().flatten() {
                next["data"][key] = value.clone();
            }
        }
        "Endpoints" => next["subsets"] = wanted["subsets"].clone(),
        "EndpointSlice" => {
            for field in ["endpoints", "ports"] {
                next[field] = wanted[field].clone();
            }
        }
        _ => {}
    }
    (next != *existing).then_some(next)
}

fn autoupdates(existing: &Value) -> bool {
    existing["metadata"]["annotations"][AUTOUPDATE].as_str() != Some("false")
}

fn merge_metadata(next: &mut Value, wanted: &Value) {
    for field in ["labels", "annotations"] {
        let Some(entries) = wanted["metadata"][field].as_object() else { continue };
        for (key, value) in entries {
            next["metadata"][field][key] = value.clone();
        }
    }
}

fn missing_rules(existing: &Value, wanted: &Value) -> Vec<Value> {
    let parse = |rule: &Value| serde_json::from_value::<PolicyRule>(rule.clone()).ok();
    let have: Vec<PolicyRule> = items(existing, "rules").filter_map(parse).collect();
    items(wanted, "rules")
        .filter(|rule| parse(rule).is_some_and(|rule| !uncovered(&have, &rule).is_empty()))
        .cloned()
        .collect()
}

fn missing(existing: &Value, wanted: &Value, field: &str) -> Vec<Value> {
    items(wanted, field).filter(|own| !items(existing, field).any(|other| other == *own)).cloned().collect()
}

fn items<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object[field].as_array().into_iter().flatten()
}

fn extend(object: &mut Value, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    match object[field].as_array_mut() {
        Some(list) => list.extend(more),
        None => object[field] = more.into(),
    }
}
