//! What nodes may of what belongs to others: read Secrets, ConfigMaps, accounts and claims that pods on them name, and
//! the volumes of these claims, one at a time; of Nodes, Pods, Leases, CSINodes, attachments and slices, their own.
//!
//! Reads:  Pods of the namespace; volumes, attachments and slices that are asked for.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/node/ and
//!         https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/auth/authorizer/node/node_authorizer.go

use serde_json::Value;

use super::{Attributes, source::Source};
use crate::object;

/// The fields that name an object of the resource, anywhere in a pod's spec.
pub const REFERENCES: [(&str, &[&str]); 4] = [
    (
        "secrets",
        &["secretName", "secretRef", "secretKeyRef", "imagePullSecrets", "nodePublishSecretRef", "secret"],
    ),
    ("configmaps", &["configMap", "configMapRef", "configMapKeyRef"]),
    ("clustertrustbundles", &["clusterTrustBundle"]),
    ("persistentvolumeclaims", &["persistentVolumeClaim"]),
];

/// Why the node may not do what its ClusterRole allows every node.
pub fn refusal(source: &dyn Source, node: &str, asked: &Attributes) -> Option<String> {
    if asked.path.is_some() {
        return None;
    }
    let no = |why: &str| Some(why.to_owned());
    let many = asked.verb != "get";
    let selects =
        |field: &str| many && asked.selected.iter().any(|(own, value)| own == field && value == node);
    let created = asked.verb == "create";
    let own = asked.name == node;
    let has_pod = |namespace: &str, is: &dyn Fn(&Value) -> bool| {
        source.pods(namespace).any(|pod| pod["spec"]["nodeName"] == node && is(&pod))
    };
    let named =
        |namespace: &str, resource: &str, name: &str| has_pod(namespace, &|pod| uses(pod, resource, name));
    let object = |resource: &str, namespace: &str| source.object(resource, namespace, &asked.name);
    let part = (asked.resource.as_str(), asked.subresource.as_str());
    match (asked.group.as_str(), part, asked.verb.as_str()) {
        ("", ("serviceaccounts", "token"), _) if asked.name.is_empty() => {
            no("can only create tokens for individual service accounts")
        }
        ("", ("persistentvolumeclaims", "status"), "get") => no("can only get/update/patch this type"),
        ("", ("serviceaccounts", "token") | ("persistentvolumeclaims", "status"), _) => {
            unrelated(node, named(&asked.namespace, &asked.resource, &asked.name))
        }
        (_, (_, part), _) if !part.is_empty() => None,
        ("", ("nodes", _), "get" | "list" | "watch") => other_node(node, &asked.name),
        ("", ("pods", _), "list" | "watch") if selects("spec.nodeName") => None,
        ("", ("pods", _), "list" | "watch") if asked.name.is_empty() => {
            no("can only list/watch pods with spec.nodeName field selector")
        }
        ("", ("pods", _), "get" | "list" | "watch") => {
            unrelated(node, has_pod(&asked.namespace, &|pod| object::name(pod) == asked.name))
        }
        ("coordination.k8s.io", ("leases", _), _) if asked.namespace != "kube-node-lease" => {
            no("can only access leases in the \"kube-node-lease\" system namespace")
        }
        ("coordination.k8s.io", ("leases", _), _) if !created && !own => {
            no("can only access node lease with the same name as the requesting node")
        }
        ("storage.k8s.io", ("csinodes", _), _) if !created && !own => {
            no("can only access CSINode with the same name as the requesting node")
        }
        ("storage.k8s.io", ("volumeattachments", _), _) => {
            let attachment = object("volumeattachments.storage.k8s.io", "");
            unrelated(node, attachment.is_some_and(|one| one["spec"]["nodeName"] == node))
        }
        ("", ("persistentvolumes", _), _) => {
            let claim = object("persistentvolumes", "").map(|volume| volume["spec"]["claimRef"].clone());
            let names =
                claim.as_ref().and_then(|claim| claim["namespace"].as_str().zip(claim["name"].as_str()));
            unrelated(
                node,
                names.is_some_and(|(namespace, claim)| named(namespace, "persistentvolumeclaims", claim)),
            )
        }
        ("resource.k8s.io", ("resourceslices", _), "list" | "watch" | "deletecollection") => {
            let why = "can only list/watch/deletecollection resourceslices with nodeName field selector";
            if selects("spec.nodeName") { None } else { no(why) }
        }
        ("resource.k8s.io", ("resourceslices", _), _) if !created => {
            let slice = object("resourceslices.resource.k8s.io", "");
            unrelated(node, slice.is_some_and(|slice| slice["spec"]["nodeName"] == node))
        }
        ("", ("secrets" | "configmaps" | "serviceaccounts", _), _) if asked.namespace.is_empty() => {
            no("can only read namespaced object of this type")
        }
        ("", ("secrets" | "configmaps" | "serviceaccounts" | "persistentvolumeclaims", _), _)
        | ("resource.k8s.io", ("resourceclaims", _), _) => {
            if asked.name.is_empty() {
                return no("No Object name found");
            }
            unrelated(node, named(&asked.namespace, &asked.resource, &asked.name))
        }
        _ => None,
    }
}

/// Whether the pod names the object.
fn uses(pod: &Value, resource: &str, name: &str) -> bool {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    match resource {
        "serviceaccounts" => return spec["serviceAccountName"] == name,
        "resourceclaims" => {
            let claims = [&spec["resourceClaims"], &status["resourceClaimStatuses"]].map(items).concat();
            let extended = &status["extendedResourceClaimStatus"];
            return claims.iter().chain([extended]).any(|claim| claim["resourceClaimName"] == name);
        }
        _ => {}
    }
    let fields = REFERENCES.iter().find(|(own, _)| *own == resource).map_or(&[][..], |(_, fields)| *fields);
    let own_claim = |volume: &Value| {
        let volume_name = volume["name"].as_str().unwrap_or_default();
        volume["ephemeral"].is_object() && name == format!("{}-{volume_name}", object::name(pod))
    };
    names(spec, fields, name)
        || resource == "persistentvolumeclaims" && items(&spec["volumes"]).iter().any(own_claim)
}

/// By name alone: a kubelet looks for its Node before there is one.
fn other_node(node: &str, name: &str) -> Option<String> {
    match name {
        "" => Some(format!("node '{node}' cannot read all nodes, only its own Node object")),
        name if name == node => None,
        name => Some(format!("node '{node}' cannot read '{name}', only its own Node object")),
    }
}

fn unrelated(node: &str, related: bool) -> Option<String> {
    (!related).then(|| format!("no relationship found between node '{node}' and this object"))
}

/// Whether one of the fields, anywhere in the value, has the name.
fn names(value: &Value, fields: &[&str], name: &str) -> bool {
    let is = |value: &Value| value == name;
    let named = |value: &Value| ["name", "secretName", "claimName"].iter().any(|field| is(&value[*field]));
    match value {
        Value::Object(own) => own.iter().any(|(field, inner)| {
            let this = fields.contains(&field.as_str());
            this && (is(inner) || named(inner) || inner.as_array().is_some_and(|all| all.iter().any(named)))
                || names(inner, fields, name)
        }),
        Value::Array(items) => items.iter().any(|item| names(item, fields, name)),
        _ => false,
    }
}
