//! NodeRestriction: a node changes only itself, its own pods, its own leases and what belongs to them.
//!
//! Kept true: with its credential alone, a node draws no work to itself (labels, taints) and takes no identity that is
//! not its pods' (tokens, references of mirror pods).
//! Reads:     the pod that a request names; the Node that a mirror pod says it belongs to.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction and
//!         https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/noderestriction/admission.go

mod mirror_pod;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Operation, Request};
use crate::{
    authn::find,
    authz::Attributes,
    object,
    status::{GroupResource, Status, quote},
    verbs,
};

const PREFIX: &str = "system:node:";
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels in Kubernetes' own namespaces that a kubelet may set on its node.
const KUBELET_LABELS: [&str; 12] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const KUBELET_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The node whose kubelet asks.
fn node<'a>(request: &'a Request<'_>) -> Option<&'a str> {
    request.user.in_group("system:nodes").then(|| request.user.name.strip_prefix(PREFIX)).flatten()
}

fn forbidden(request: &Request<'_>, why: impl std::fmt::Display) -> Result<(), Status> {
    Err(Status::forbidden(request.target.served.group_resource(), &request.target.name, why))
}

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(node) = node(request) else { return Ok(()) };
    let api = &request.target.served.api;
    let part = request.target.subresource.as_str();
    let name = match request.target.name.as_str() {
        "" => object.map(object::name).unwrap_or_default(),
        name => name,
    };
    let only_own = |what: &str| match name == node {
        true => Ok(()),
        false => {
            forbidden(request, format!("can only access {what} with the same name as the requesting node"))
        }
    };
    match (&*api.gvk.group, &*api.plural, part) {
        ("", "nodes", _) => own_node(request, node, name, object),
        ("", "pods", "") => pod(request, node, object),
        ("", "pods", "status") => pod_status(request, node, object),
        ("", "pods", "eviction") => match find_pod(request, name)?["spec"]["nodeName"] == node {
            true => Ok(()),
            false => forbidden(
                request,
                format!("node {node} can only evict pods with spec.nodeName set to itself"),
            ),
        },
        ("", "pods", other) => forbidden(
            request,
            format!("unexpected pod subresource {}, only 'status' and 'eviction' are allowed", quote(other)),
        ),
        ("", "persistentvolumeclaims", "status") => claim_status(request, node, object),
        ("", "persistentvolumeclaims", _) => forbidden(request, "may only update PVC status"),
        ("", "serviceaccounts", "token") => token(request, node, object),
        ("coordination.k8s.io", "leases", _) if request.target.namespace != "kube-node-lease" => {
            forbidden(request, "can only access leases in the \"kube-node-lease\" system namespace")
        }
        ("coordination.k8s.io", "leases", _) => only_own("node lease"),
        ("storage.k8s.io", "csinodes", _) => only_own("CSINode"),
        ("resource.k8s.io", "resourceslices", _) => slice(request, node, object),
        _ => Ok(()),
    }
}

fn own_node(request: &Request<'_>, node: &str, name: &str, object: Option<&Value>) -> Result<(), Status> {
    if name != node {
        let why = format!("node {} is not allowed to modify node {}", quote(node), quote(name));
        return forbidden(request, why);
    }
    let Some(object) = object else { return Ok(()) };
    let labels = |of: &Value| of["metadata"]["labels"].clone();
    let Some(old) = request.old else {
        let labels = forbidden_labels(&labels(object), &Value::Null);
        return match labels.as_str() {
            "" => Ok(()),
            labels => {
                let why =
                    format!("node {} is not allowed to set the following labels: {labels}", quote(node));
                forbidden(request, why)
            }
        };
    };
    if !crate::kinds::checks::same(&object["spec"]["taints"], &old["spec"]["taints"]) {
        return forbidden(request, format!("node {} is not allowed to modify taints", quote(node)));
    }
    match forbidden_labels(&labels(object), &labels(old)).as_str() {
        "" => Ok(()),
        labels => forbidden(request, format!("is not allowed to modify labels: {labels}")),
    }
}

/// Those of the labels that differ which a node may not touch, as they stand in messages.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let keys = |of: &Value| of.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    let all: BTreeSet<String> =
        [keys(new), keys(old)].into_iter().flat_map(|keys: Vec<String>| keys).collect();
    let changed = all.into_iter().filter(|key| new.get(key) != old.get(key));
    changed.filter(|key| !may_set(key)).collect::<Vec<_>>().join(", ")
}

fn may_set(label: &str) -> bool {
    let Some((namespace, _)) = label.split_once('/') else { return true };
    let within =
        |of: &str| namespace.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_kubernetes = within("kubernetes.io") || within("k8s.io");
    let is_kubelet = KUBELET_LABELS.contains(&label) || KUBELET_NAMESPACES.into_iter().any(within);
    !within(RESTRICTED) && (!is_kubernetes || is_kubelet)
}

fn find_pod(request: &Request<'_>, name: &str) -> Result<Value, Status> {
    let pod = find(&request.state.reader, "pods", &request.target.namespace, name);
    verbs::decode(&*pod.ok_or_else(|| Status::not_found(GroupResource::new("", "pods"), name))?)
}

fn pod(request: &Request<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    match (request.operation, object) {
        (Operation::Create, Some(pod)) => {
            let uid = find(&request.state.reader, "nodes", "", node).map(|node| node.meta.uid.to_string());
            mirror_pod::problem(pod, node, uid.as_deref()).map_or(Ok(()), |why| forbidden(request, why))
        }
        (Operation::Delete, _) if request.old.is_some_and(|pod| pod["spec"]["nodeName"] == node) => Ok(()),
        (Operation::Delete, _) => forbidden(
            request,
            format!("node {} can only delete pods with spec.nodeName set to itself", quote(node)),
        ),
        (operation, _) => forbidden(
            request,
            format!(
                "unexpected operation {}, node {} can only create and delete mirror pods",
                quote(operation.as_str()),
                quote(node)
            ),
        ),
    }
}

fn pod_status(request: &Request<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    let (Some(pod), Some(old)) = (object, request.old) else { return Ok(()) };
    let name = quote(node);
    let same = |path: &str| {
        let null = Value::Null;
        let (new, old) = (pod.pointer(path).unwrap_or(&null), old.pointer(path).unwrap_or(&null));
        crate::kinds::checks::same(new, old)
    };
    if old["spec"]["nodeName"] != node {
        let why = "can only update pod status for pods with spec.nodeName set to itself";
        return forbidden(request, format!("node {name} {why}"));
    }
    if !same("/metadata/labels") {
        return forbidden(request, format!("node {name} cannot update labels through pod status"));
    }
    if !same("/status/resourceClaimStatuses") {
        return forbidden(request, format!("node {name} cannot update resource claim statues"));
    }
    Ok(())
}

fn claim_status(request: &Request<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    let (Some(claim), Some(old)) = (object, request.old) else { return Ok(()) };
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
            object::remove(&mut claim["status"], field);
        }
        for field in ["resourceVersion", "managedFields"] {
            object::remove(&mut claim["metadata"], field);
        }
        claim
    };
    if crate::kinds::checks::same(&rest(claim), &rest(old)) {
        return Ok(());
    }
    let why = "is not allowed to update fields other than status.capacity and status.conditions";
    forbidden(request, format!("node {} {why}", quote(node)))
}

/// A kubelet gets tokens for the pods that it runs, and for what these ask for.
fn token(request: &Request<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    let Some(object) = object else { return Ok(()) };
    let bound = &object["spec"]["boundObjectRef"];
    let text = |field: &str| bound[field].as_str().unwrap_or_default();
    if (text("apiVersion"), text("kind")) != ("v1", "Pod") || text("name").is_empty() {
        return forbidden(request, "node requested token not bound to a pod");
    }
    if text("uid").is_empty() {
        return forbidden(request, "node requested token with a pod binding without a uid");
    }
    let pod = find_pod(request, text("name"))?;
    if object::meta_str(&pod, "uid") != text("uid") {
        let uid = text("uid");
        let why = "does not match the UID in record. The object might have been deleted and then recreated";
        return forbidden(request, format!("the UID in the bound object reference ({uid}) {why}"));
    }
    if pod["spec"]["nodeName"] != node {
        return forbidden(request, "node requested token bound to a pod scheduled on a different node");
    }
    let asked = object::strings(&object["spec"]["audiences"]);
    match asked[..] {
        [] => audience(request, &pod, ""),
        [one] => audience(request, &pod, one),
        _ => forbidden(request, "node may only request 0 or 1 audiences"),
    }
}

fn audience(request: &Request<'_>, pod: &Value, wanted: &str) -> Result<(), Status> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut sources =
        volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    let names = |source: &Value| {
        let token = &source["serviceAccountToken"];
        token.is_object() && token["audience"].as_str().unwrap_or_default() == wanted
    };
    let right = Attributes {
        verb: "request-serviceaccounts-token-audience".into(),
        group: String::new(),
        version: String::new(),
        resource: wanted.into(),
        subresource: String::new(),
        namespace: request.target.namespace.clone(),
        name: request.target.name.clone(),
        path: None,
    };
    if sources.any(names) || request.state.authorizer.authorize(request.user, &right).allowed {
        return Ok(());
    }
    forbidden(request, format!("audience {} not found in pod spec volume", quote(wanted)))
}

fn slice(request: &Request<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    let of = |object: Option<&Value>| object.is_none_or(|slice| slice["spec"]["nodeName"] == node);
    match request.operation {
        Operation::Create if !of(object) => {
            forbidden(request, "can only create ResourceSlice with the same NodeName as the requesting node")
        }
        Operation::Delete if !of(request.old) => {
            forbidden(request, "can only delete ResourceSlice with the same NodeName as the requesting node")
        }
        _ => Ok(()),
    }
}
