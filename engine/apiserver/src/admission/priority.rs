//! Priority: a pod's `priorityClassName` becomes `priority` and `preemptionPolicy`; one class at most is the default.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/priority/admission.go

use serde_json::Value;

use super::{Operation, Request};
use crate::{kinds::is_system_class, object, registry::store_resource, status::Status};

pub fn admit(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    if request.operation != Operation::Create || !request.is("", "pods") || !pod["spec"].is_object() {
        return Ok(());
    }
    let name = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = if name.is_empty() { default_class(request) } else { Some(named(request, pod, &name)?) };
    let (value, policy) = match &class {
        Some(class) => {
            if name.is_empty() {
                pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
            }
            (class["value"].as_i64().unwrap_or_default(), class["preemptionPolicy"].as_str())
        }
        None => (0, None),
    };
    let policy = policy.unwrap_or("PreemptLowerPriority").to_owned();
    let spec = &mut pod["spec"];
    if spec["priority"].as_i64().is_some_and(|asked| asked != value) {
        let why = format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name",
            spec["priority"]
        );
        return Err(request.forbid(pod, why));
    }
    if spec["preemptionPolicy"].as_str().is_some_and(|asked| asked != policy) {
        let why = format!(
            "the string value of PreemptionPolicy (PreemptionPolicy={}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name",
            spec["preemptionPolicy"].as_str().unwrap_or_default()
        );
        return Err(request.forbid(pod, why));
    }
    spec["priority"] = value.into();
    spec["preemptionPolicy"] = policy.into();
    Ok(())
}

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let name = request.target.name.as_str();
    let is_class = request.is("scheduling.k8s.io", "priorityclasses");
    if request.operation == Operation::Delete && is_class && is_system_class(name) {
        let why = "this is a system priority class and cannot be deleted";
        return Err(Status::forbidden(request.target.served.group_resource(), name, why));
    }
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if !writes || !is_class {
        return Ok(());
    }
    let Some(class) = object.filter(|class| class["globalDefault"] == true) else { return Ok(()) };
    match default_class(request).as_ref().map(object::name) {
        Some(other) if request.operation == Operation::Create || other != object::name(class) => {
            let why =
                format!("PriorityClass {other} is already marked as default. Only one default can exist");
            Err(request.forbid(class, why))
        }
        _ => Ok(()),
    }
}

fn named(request: &Request<'_>, pod: &Value, name: &str) -> Result<Value, Status> {
    let key = coracle_store::Key {
        resource: store_resource("scheduling.k8s.io", "priorityclasses"),
        namespace: "".into(),
        name: name.into(),
    };
    match request.state.reader.get(&key) {
        Some(class) => crate::verbs::decode(&class),
        None => Err(request.forbid(pod, format!("no PriorityClass with name {name} was found"))),
    }
}

/// The class with `globalDefault`; of several the one with the lowest value.
fn default_class(request: &Request<'_>) -> Option<Value> {
    let resource = store_resource("scheduling.k8s.io", "priorityclasses");
    let scope = coracle_store::Scope { resource, namespace: None, name: None };
    let snapshot = request.state.reader.snapshot();
    snapshot
        .list(&scope)
        .filter_map(|class| crate::verbs::decode(class).ok())
        .filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64())
}
