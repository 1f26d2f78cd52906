//! NodeRestriction: a node changes only itself, its own pods, its own leases and what belongs to them.
//!
//! Kept true: with its credential alone, a node draws no work to itself (labels, taints) and takes no identity that is
//! not its pods' (tokens, references of mirror pods).
//! Reads:     the pod that a request names, its volumes and their CSI drivers; the Node that a mirror pod says it belongs to.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction and
//!         https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/noderestriction/admission.go

pub(super) mod mirror_pod;
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

/// A request of a kubelet.
struct Asked<'a> {
    request: &'a Request<'a>,
    /// The node whose kubelet asks.
    node: &'a str,
    object: Option<&'a Value>,
}

impl Asked<'_> {
    fn forbid(&self, why: impl std::fmt::Display) -> Result<(), Status> {
        Err(self.request.forbid(self.object.unwrap_or(&Value::Null), why))
    }
}

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(node) = node(request) else { return Ok(()) };
    let asked = &Asked { request, node, object };
    let api = &request.target.served.api;
    let part = request.target.subresource.as_str();
    let name = match request.target.name.as_str() {
        "" => object.map(object::name).unwrap_or_default(),
        name => name,
    };
    let only_own = |what: &str| match name == node {
        true => Ok(()),
        false => asked.forbid(format!("can only access {what} with the same name as the requesting node")),
    };
    match (&*api.gvk.group, &*api.plural, part) {
        ("", "nodes", _) => own_node(asked, name),
        ("", "pods", "") => pod(asked),
        ("", "pods", "status") => pod_status(asked),
        ("", "pods", "eviction") => match find_pod(request, name)?["spec"]["nodeName"] == node {
            true => Ok(()),
            false => {
                asked.forbid(format!("node {node} can only evict pods with spec.nodeName set to itself"))
            }
        },
        ("", "pods", other) => asked.forbid(format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quote(other)
        )),
        ("", "persistentvolumeclaims", "status") => claim_status(asked),
        ("", "persistentvolumeclaims", _) => asked.forbid("may only update PVC status"),
        ("", "serviceaccounts", "token") => token(asked),
        ("coordination.k8s.io", "leases", _) if request.target.namespace != "kube-node-lease" => {
            asked.forbid("can only access leases in the \"kube-node-lease\" system namespace")
        }
        ("coordination.k8s.io", "leases", _) => only_own("node lease"),
        ("storage.k8s.io", "csinodes", _) => only_own("CSINode"),
        ("resource.k8s.io", "resourceslices", _) => slice(asked),
        _ => Ok(()),
    }
}

fn own_node(asked: &Asked<'_>, name: &str) -> Result<(), Status> {
    let &Asked { request, node, object } = asked;
    if name != node {
        let why = format!("node {} is not allowed to modify node {}", quote(node), quote(name));
        return asked.forbid(why);
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
                asked.forbid(why)
            }
        };
    };
    if !crate::kinds::checks::same(&object["spec"]["taints"], &old["spec"]["taints"]) {
        return asked.forbid(format!("node {} is not allowed to modify taints", quote(node)));
    }
    let labels = forbidden_labels(&labels(object), &labels(old));
    if !labels.is_empty() {
        return asked.forbid(format!("is not allowed to modify labels: {labels}"));
    }
    // With an owner that is not there, the garbage collector would delete the Node.
    let owners = |of: &Value| of["metadata"]["ownerReferences"].clone();
    if !crate::kinds::checks::same(&owners(object), &owners(old)) {
        return asked.forbid(format!("node {} is not allowed to modify ownerReferences", quote(node)));
    }
    Ok(())
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

fn pod(asked: &Asked<'_>) -> Result<(), Status> {
    let &Asked { request, node, object } = asked;
    match (request.operation, object) {
        (Operation::Create, Some(pod)) => {
            let uid = find(&request.state.reader, "nodes", "", node).map(|node| node.meta.uid.to_string());
            mirror_pod::problem(pod, node, uid.as_deref()).map_or(Ok(()), |why| asked.forbid(why))
        }
        (Operation::Delete, _) if request.old.is_some_and(|pod| pod["spec"]["nodeName"] == node) => Ok(()),
        (Operation::Delete, _) => asked
            .forbid(format!("node {} can only delete pods with spec.nodeName set to itself", quote(node))),
        (operation, _) => asked.forbid(format!(
            "unexpected operation {}, node {} can only create and delete mirror pods",
            quote(operation.as_str()),
            quote(node)
        )),
    }
}

fn pod_status(asked: &Asked<'_>) -> Result<(), Status> {
    let &Asked { request, node, object } = asked;
    let (Some(pod), Some(old)) = (object, request.old) else { return Ok(()) };
    let name = quote(node);
    let same = |path: &str| {
        let null = Value::Null;
        let (new, old) = (pod.pointer(path).unwrap_or(&null), old.pointer(path).unwrap_or(&null));
        crate::kinds::checks::same(new, old)
    };
    if old["spec"]["nodeName"] != node {
        let why = "can only update pod status for pods with spec.nodeName set to itself";
        return asked.forbid(format!("node {name} {why}"));
    }
    if !same("/metadata/labels") {
        return asked.forbid(format!("node {name} cannot update labels through pod status"));
    }
    if !same("/status/resourceClaimStatuses") {
        return asked.forbid(format!("node {name} cannot update resource claim statues"));
    }
    Ok(())
}

fn claim_status(asked: &Asked<'_>) -> Result<(), Status> {
    let &Asked { request, node, object } = asked;
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
    asked.forbid(format!("node {} {why}", quote(node)))
}

/// A kubelet gets tokens for the pods that it runs, and for what these ask for.
fn token(asked: &Asked<'_>) -> Result<(), Status> {
    let &Asked { request, node, object } = asked;
    let Some(object) = object else { return Ok(()) };
    let bound = &object["spec"]["boundObjectRef"];
    let text = |field: &str| bound[field].as_str().unwrap_or_default();
    if (text("apiVersion"), text("kind")) != ("v1", "Pod") || text("name").is_empty() {
        return asked.forbid("node requested token not bound to a pod");
    }
    if text("uid").is_empty() {
        return asked.forbid("node requested token with a pod binding without a uid");
    }
    let pod = find_pod(request, text("name"))?;
    if object::meta_str(&pod, "uid") != text("uid") {
        let uid = text("uid");
        let why = "does not match the UID in record. The object might have been deleted and then recreated";
        return asked.forbid(format!("the UID in the bound object reference ({uid}) {why}"));
    }
    if pod["spec"]["nodeName"] != node {
        return asked.forbid("node requested token bound to a pod scheduled on a different node");
    }
    let audiences = object::strings(&object["spec"]["audiences"]);
    let wanted = match audiences[..] {
        [] => "",
        [one] => one,
        _ => return asked.forbid("node may only request 0 or 1 audiences"),
    };
    let right = Attributes {
        verb: "request-serviceaccounts-token-audience".into(),
        resource: wanted.into(),
        namespace: request.target.namespace.clone(),
        name: request.target.name.clone(),
        ..Attributes::default()
    };
    if asks_for(request, &pod, wanted) || request.state.authorizer.authorize(request.user, &right).allowed {
        return Ok(());
    }
    let (audience, user) = (quote(wanted), &request.user.name);
    asked.forbid(format!(
        "audience {audience} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
    ))
}

/// Whether a volume of the pod needs tokens for this audience: one of its own, or one of a CSI driver that wants them.
fn asks_for(request: &Request<'_>, pod: &Value, audience: &str) -> bool {
    let get = |resource: &str, namespace: &str, name: &str| {
        verbs::decode(&*find(&request.state.reader, resource, namespace, name)?).ok()
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of_claim = |name: &str| -> Option<String> {
        let claim = get("persistentvolumeclaims", &request.target.namespace, name)?;
        let volume = get("persistentvolumes", "", claim["spec"]["volumeName"].as_str()?)?;
        text(&volume["spec"]["csi"]["driver"])
    };
    let driver = |volume: &Value| -> Option<String> {
        if volume["ephemeral"].is_object() {
            return of_claim(&format!("{}-{}", object::name(pod), volume["name"].as_str()?));
        }
        match volume["persistentVolumeClaim"]["claimName"].as_str() {
            Some(claim) => of_claim(claim),
            None => text(&volume["csi"]["driver"]),
        }
    };
    let named = |list: &Value, of: &dyn Fn(&Value) -> &Value| {
        let mut all = list.as_array().into_iter().flatten().map(of);
        all.any(|one| one.is_object() && one["audience"].as_str().unwrap_or_default() == audience)
    };
    pod["spec"]["volumes"].as_array().into_iter().flatten().any(|volume| {
        named(&volume["projected"]["sources"], &|source| &source["serviceAccountToken"])
            || driver(volume)
                .and_then(|driver| get("csidrivers.storage.k8s.io", "", &driver))
                .is_some_and(|driver| named(&driver["spec"]["tokenRequests"], &|one| one))
    })
}

fn slice(asked: &Asked<'_>) -> Result<(), Status> {
    let &Asked { request, node, object } = asked;
    let of = |object: Option<&Value>| object.is_none_or(|slice| slice["spec"]["nodeName"] == node);
    match request.operation {
        Operation::Create if !of(object) => {
            asked.forbid("can only create ResourceSlice with the same NodeName as the requesting node")
        }
        Operation::Delete if !of(request.old) => {
            asked.forbid("can only delete ResourceSlice with the same NodeName as the requesting node")
        }
        _ => Ok(()),
    }
}
