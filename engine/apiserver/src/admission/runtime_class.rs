//! RuntimeClass: a pod's class must exist; it brings overhead, a node selector and tolerations.
//!
//! Source: https://kubernetes.io/docs/concepts/containers/runtime-class/ and
//! https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/runtimeclass/admission.go

use coracle_store::Key;
use serde_json::{Value, json};

use super::{Operation, Request};
use crate::{
    kinds::checks::{items, same, text},
    registry::store_resource,
    status::Status,
    verbs,
};

pub fn admit(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    let Some(class) = class_of(request, pod)? else { return Ok(()) };
    let fixed = &class["overhead"]["podFixed"];
    if fixed.is_object() {
        let own = &pod["spec"]["overhead"];
        if !own.is_null() && !same(own, fixed) {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(request.forbid(pod, why));
        }
        pod["spec"]["overhead"] = fixed.clone();
    }
    schedule(request, pod, &class["scheduling"])
}

/// Both the pod's and the class's node selector hold; the class's tolerations come on top.
fn schedule(request: &Request<'_>, pod: &mut Value, scheduling: &Value) -> Result<(), Status> {
    for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let own = &pod["spec"]["nodeSelector"][key];
        if !own.is_null() && own != value {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            );
            return Err(request.forbid(pod, why));
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    let more: Vec<Value> = items(&scheduling["tolerations"])
        .iter()
        .filter(|own| !items(&pod["spec"]["tolerations"]).contains(own))
        .cloned()
        .collect();
    if !more.is_empty() {
        let mut all = items(&pod["spec"]["tolerations"]).to_vec();
        all.extend(more);
        pod["spec"]["tolerations"] = json!(all);
    }
    Ok(())
}

/// After other plugins had their say: overhead is the class's or none.
pub fn validate(request: &Request<'_>, pod: Option<&Value>) -> Result<(), Status> {
    let Some(pod) = pod.filter(|_| request.operation == Operation::Create && request.is("", "pods")) else {
        return Ok(());
    };
    let class = class_of(request, pod)?;
    let fixed = class.as_ref().map(|class| &class["overhead"]["podFixed"]).filter(|fixed| fixed.is_object());
    let overhead = &pod["spec"]["overhead"];
    let why = match fixed {
        None if !overhead.is_null() => {
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        }
        Some(fixed) if !same(overhead, fixed) => {
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        }
        _ => return Ok(()),
    };
    Err(request.forbid(pod, why))
}

/// The class that a new pod names.
fn class_of(request: &Request<'_>, pod: &Value) -> Result<Option<Value>, Status> {
    if request.operation != Operation::Create || !request.is("", "pods") {
        return Ok(None);
    }
    let name = text(&pod["spec"]["runtimeClassName"]);
    if name.is_empty() {
        return Ok(None);
    }
    let key = Key {
        resource: store_resource("node.k8s.io", "runtimeclasses"),
        namespace: "".into(),
        name: name.into(),
    };
    match request.state.reader.get(&key) {
        Some(class) => verbs::decode(&class).map(Some),
        None => {
            let why = format!("pod rejected: RuntimeClass \"{name}\" not found");
            Err(request.forbid(pod, why))
        }
    }
}
