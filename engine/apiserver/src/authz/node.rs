//! What nodes read of what belongs to others: Secrets, ConfigMaps and claims that pods on them name, one at a time; of
//! Nodes and Pods, their own.
//!
//! Reads:  Pods of the namespace.
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
    if !asked.subresource.is_empty() || asked.path.is_some() {
        return None;
    }
    let many = asked.verb != "get";
    let selects =
        |field: &str| many && asked.selected.iter().any(|(own, value)| own == field && value == node);
    let own_pods = || source.pods(&asked.namespace).filter(|pod| pod["spec"]["nodeName"] == node);
    match (asked.group.as_str(), asked.resource.as_str(), asked.verb.as_str()) {
        ("", "nodes", "get" | "list" | "watch") => return other_node(node, &asked.name),
        ("", "pods", "list" | "watch") if selects("spec.nodeName") => return None,
        ("", "pods", "list" | "watch") if asked.name.is_empty() => {
            return Some("can only list/watch pods with spec.nodeName field selector".into());
        }
        ("", "pods", "get" | "list" | "watch") => {
            let mut own = own_pods();
            return unrelated(node, own.any(|pod| object::name(&pod) == asked.name));
        }
        ("resource.k8s.io", "resourceslices", "list" | "watch" | "deletecollection") => {
            let why = "can only list/watch/deletecollection resourceslices with nodeName field selector";
            return (!selects("spec.nodeName")).then(|| why.into());
        }
        ("", _, "get" | "list" | "watch") => {}
        _ => return None,
    }
    let (_, fields) = REFERENCES.iter().find(|(resource, _)| *resource == asked.resource)?;
    if asked.namespace.is_empty() {
        return Some("can only read namespaced object of this type".into());
    }
    if asked.name.is_empty() {
        return Some("No Object name found".into());
    }
    let mut own = own_pods();
    let related = own.any(|pod| {
        let claims = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut ephemeral = claims.filter(|volume| volume["ephemeral"].is_object());
        names(&pod["spec"], fields, &asked.name)
            || asked.resource == "persistentvolumeclaims"
                && ephemeral.any(|volume| {
                    let volume = volume["name"].as_str().unwrap_or_default();
                    asked.name == format!("{}-{volume}", object::name(&pod))
                })
    });
    unrelated(node, related)
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
