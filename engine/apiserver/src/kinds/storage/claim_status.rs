//! What the status of a PersistentVolumeClaim says of its size.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidatePersistentVolumeClaimStatusUpdate`)

use serde_json::Value;

use crate::{
    kinds::{
        checks::{Causes, add, nanos, text},
        pod_spec::is_native_resource,
    },
    metadata::qualified_name_problems,
    status::Cause,
};

const RESIZES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

pub fn validate(status: &Value) -> Causes {
    const RESIZE: &str = "status.allocatedResourceStatuses";
    const ALLOCATED: &str = "status.allocatedResources";
    fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
        value.as_object().into_iter().flatten()
    }
    let mut out = Vec::new();
    for (name, size) in entries(&status["capacity"]) {
        amount(&mut out, size, &format!("status.capacity[{name}]"));
    }
    for (name, resize) in entries(&status["allocatedResourceStatuses"]) {
        resource(&mut out, name, RESIZE);
        if !RESIZES.contains(&text(resize)) {
            // Upstream shows the resource, not what is said of it.
            out.push(Cause::not_supported(RESIZE, name.as_str(), &RESIZES));
        }
    }
    for (name, size) in entries(&status["allocatedResources"]) {
        if resource(&mut out, name, ALLOCATED) {
            amount(&mut out, size, &format!("{ALLOCATED}[{name}]"));
        }
    }
    out
}

/// Of Kubernetes' own resources, a claim has storage alone.
fn resource(out: &mut Causes, name: &str, path: &str) -> bool {
    let before = out.len();
    add(out, path, name, qualified_name_problems(name));
    if out.len() == before && name != "storage" && is_native_resource(name) {
        out.push(Cause::not_supported(path, name, &["storage"]));
    }
    out.len() == before
}

fn amount(out: &mut Causes, quantity: &Value, path: &str) {
    if let Some(nanos) = nanos(quantity).filter(|nanos| *nanos < 0) {
        // As Go shows it: rounded away from zero.
        let whole = (nanos - 999_999_999) / 1_000_000_000;
        out.push(Cause::invalid(path, whole as i64, "must be a valid resource quantity"));
    }
}
