//! What a request may not change stays: system metadata always; the status, or everything but the status.
//!
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/registry (`PrepareForUpdate` of the strategies)

use coracle_schema::UNKNOWN;
use serde_json::Value;

use super::Target;
use crate::{object, registry::Served};

/// Parts of metadata that only the server changes.
const KEPT_METADATA: [&str; 6] =
    ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"];

/// Takes from `old` what this request may not change.
pub(super) fn keep(target: &Target, value: &mut Value, old: &Value) {
    let metadata = object::metadata_mut(value);
    for field in KEPT_METADATA {
        match &old["metadata"][field] {
            Value::Null => metadata.shift_remove(field),
            kept => metadata.insert(field.into(), kept.clone()),
        };
    }
    for field in ["name", "generateName", "namespace"] {
        if let (None, Some(kept)) = (metadata.get(field), old["metadata"].get(field)) {
            metadata.insert(field.into(), kept.clone());
        }
    }
    match target.subresource.as_str() {
        "status" | "approval" => return keep_all_but_status(&target.served, value, old),
        // Sets spec and status in one commit; the server itself made the change.
        "binding" => return,
        _ => {}
    }
    if target.served.status_is_apart() {
        match old.get("status") {
            Some(status) => value["status"] = status.clone(),
            None => drop(object::remove(value, "status")),
        }
    }
}

/// Whose `/status` changes no metadata.
/// Source: ResetObjectMetaForStatus and its callers below https://github.com/kubernetes/kubernetes/tree/master/pkg/registry
const STATUS_APART: [(&str, &str); 8] = [
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("apiregistration.k8s.io", "apiservices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("networking.k8s.io", "servicecidrs"),
    ("resource.k8s.io", "resourceclaims"),
    ("storage.k8s.io", "volumeattachments"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

/// Whose `/status` says that it resets all metadata: nobody owns it through an apply there.
/// Source: `GetResetFields` of the status strategies below https://github.com/kubernetes/kubernetes/tree/master/pkg/registry
const STATUS_OWNS_NO_METADATA: [(&str, &str); 5] = [
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("storage.k8s.io", "volumeattachments"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

/// Takes from a configuration of the status what its manager is not to own.
pub(super) fn drop_unowned(served: &Served, metadata: &mut serde_json::Map<String, Value>) {
    let reset: &[&str] = match (&*served.api.gvk.group, &*served.api.plural) {
        ("apps", "deployments") => &["labels"],
        ("", "pods") => &["deletionTimestamp", "ownerReferences"],
        kind if served.custom.is_some() || STATUS_OWNS_NO_METADATA.contains(&kind) => {
            return metadata.retain(|field, _| IDENTITY.contains(&field.as_str()));
        }
        _ => &[],
    };
    metadata.retain(|field, _| !reset.contains(&field.as_str()));
}

/// What a request says of the object that it means.
const IDENTITY: [&str; 4] = ["name", "namespace", "uid", "resourceVersion"];

/// What of metadata a change of the status leaves as it was.
fn kept_beside_status(served: &Served) -> &'static [&'static str] {
    match (&*served.api.gvk.group, &*served.api.plural) {
        ("apps", "deployments") => &["ownerReferences", "finalizers", "labels"],
        kind if served.custom.is_some() || STATUS_APART.contains(&kind) => {
            &["ownerReferences", "finalizers", "labels", "annotations"]
        }
        _ => &["ownerReferences", "finalizers"],
    }
}

fn keep_all_but_status(served: &Served, value: &mut Value, old: &Value) {
    let status = object::remove(value, "status");
    let metadata = object::remove(value, "metadata");
    let mut merged = old.clone();
    if let Some(mut metadata) = metadata {
        // What clients of another version put there too: who writes a status knows nothing of it.
        for &field in kept_beside_status(served).iter().chain(&[UNKNOWN]) {
            if let Some(fields) = metadata.as_object_mut() {
                match old["metadata"].get(field) {
                    Some(kept) => fields.insert(field.into(), kept.clone()),
                    None => fields.shift_remove(field),
                };
            }
        }
        merged["metadata"] = metadata;
    }
    match status {
        Some(status) => merged["status"] = status,
        None => drop(object::remove(&mut merged, "status")),
    }
    *value = merged;
}
