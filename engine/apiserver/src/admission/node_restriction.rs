//! NodeRestriction: a node changes only itself, its own pods and its own leases.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction

use serde_json::Value;

use super::{Operation, Request};
use crate::status::Status;

const PREFIX: &str = "system:node:";

fn node<'a>(request: &'a Request<'_>) -> Option<&'a str> {
    request.user.in_group("system:nodes").then(|| request.user.name.strip_prefix(PREFIX)).flatten()
}

fn refuse(request: &Request<'_>, why: String) -> Result<(), Status> {
    Err(Status::forbidden(request.target.served.group_resource(), &request.target.name, why))
}

pub fn admit(_request: &Request<'_>, _object: &mut Value) -> Result<(), Status> {
    Ok(())
}

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(node) = node(request) else { return Ok(()) };
    let api = &request.target.served.api;
    let name = object.map_or(request.target.name.as_str(), crate::object::name);
    match (&*api.gvk.group, &*api.plural) {
        ("", "nodes") if name != node => {
            refuse(request, format!("node {} is not allowed to modify node {}", quoted(node), quoted(name)))
        }
        ("", "pods") => pod(request, node, object.or(request.old)),
        ("coordination.k8s.io", "leases")
            if request.target.namespace == "kube-node-lease" && name != node =>
        {
            refuse(request, "can only access node lease with the same name as the requesting node".into())
        }
        _ => Ok(()),
    }
}

fn pod(request: &Request<'_>, node: &str, pod: Option<&Value>) -> Result<(), Status> {
    let own = pod.is_some_and(|pod| pod["spec"]["nodeName"] == node);
    let mirror =
        pod.is_some_and(|pod| pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string());
    match (request.operation, request.target.subresource.as_str()) {
        (Operation::Create, "") if !mirror => refuse(
            request,
            format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node {} can only create mirror pods",
                quoted(node)
            ),
        ),
        (Operation::Create, "eviction") | (Operation::Delete, "") if !own => refuse(
            request,
            format!("node {} can only delete pods with spec.nodeName set to itself", quoted(node)),
        ),
        (Operation::Update, "status") if !own => refuse(
            request,
            format!(
                "node {} can only update pod status for pods with spec.nodeName set to itself",
                quoted(node)
            ),
        ),
        _ => Ok(()),
    }
}

fn quoted(text: &str) -> String {
    crate::status::quote(text)
}
