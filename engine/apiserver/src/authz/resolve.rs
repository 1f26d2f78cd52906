//! From a user to the rules that hold for it.

use std::{fmt::Display, ops::ControlFlow};

use k8s_openapi::api::rbac::v1::{PolicyRule, Subject};

use super::source::{Binding, Source};
use crate::types::UserInfo;

/// Every node of this group may do what the ClusterRole of this name says, without a binding, as far as
/// [`super::node`] does not refuse it.
const NODES: (&str, &str) = ("system:nodes", "system:node");

/// How a rule came to hold; displayed as the stock server explains it.
pub enum Grant<'a> {
    Binding(&'a Binding, &'a Subject),
    /// By its name.
    Node(&'a str),
}

/// Takes a rule, or what could not be resolved; breaks when it has seen enough.
pub type Visit<'a> = dyn FnMut(&Grant<'_>, Result<&PolicyRule, String>) -> ControlFlow<()> + 'a;

/// Calls `visit` with every rule of every role that is bound to the user, in the cluster and (unless empty) in the
/// namespace, or with what could not be resolved.
pub fn visit_rules(source: &dyn Source, user: &UserInfo, namespace: &str, visit: &mut Visit<'_>) {
    let _ = try_visit(source, user, namespace, visit);
}

fn try_visit(
    source: &dyn Source,
    user: &UserInfo,
    namespace: &str,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    if let Some(node) = user.name.strip_prefix("system:node:").filter(|_| user.in_group(NODES.0)) {
        for rule in source.role(None, NODES.1).iter().flat_map(|role| role.rules()) {
            visit(&Grant::Node(node), Ok(rule))?;
        }
    }
    let places = [None, Some(namespace).filter(|namespace| !namespace.is_empty())];
    for place in places.iter().take(if namespace.is_empty() { 1 } else { 2 }) {
        for binding in source.bindings(*place) {
            let Some(subject) =
                binding.subjects().iter().find(|subject| applies(subject, user, place.unwrap_or_default()))
            else {
                continue;
            };
            let grant = Grant::Binding(&binding, subject);
            let role_ref = binding.role_ref();
            let cluster = role_ref.kind == "ClusterRole";
            match source.role(if cluster { None } else { *place }, &role_ref.name) {
                Some(role) => {
                    for rule in role.rules() {
                        visit(&grant, Ok(rule))?;
                    }
                }
                None => {
                    let kind = if cluster { "clusterrole" } else { "role" };
                    let error = format!("{kind}.rbac.authorization.k8s.io {:?} not found", role_ref.name);
                    visit(&grant, Err(error))?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// A service account without a namespace is one of the binding's own.
fn applies(subject: &Subject, user: &UserInfo, namespace: &str) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == user.name,
        "Group" => user.in_group(&subject.name),
        "ServiceAccount" => {
            let of = subject.namespace.as_deref().filter(|of| !of.is_empty()).unwrap_or(namespace);
            let account =
                user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            !of.is_empty() && account == Some((of, subject.name.as_str()))
        }
        _ => false,
    }
}

impl Display for Grant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Grant::Binding(binding, subject) = self else {
            return write!(f, "ClusterRole {:?} of every node", NODES.1);
        };
        let role = binding.role_ref();
        match binding {
            Binding::Cluster(binding) => {
                write!(f, "ClusterRoleBinding {:?}", binding.metadata.name.as_deref().unwrap_or_default())?;
            }
            Binding::Namespaced(binding) => {
                let meta = &binding.metadata;
                let (name, namespace) = (meta.name.as_deref(), meta.namespace.as_deref());
                let place = format!("{}/{}", name.unwrap_or_default(), namespace.unwrap_or_default());
                write!(f, "RoleBinding {place:?}")?;
            }
        }
        write!(f, " of {} {:?} to {} ", role.kind, role.name, subject.kind)?;
        match &subject.namespace {
            Some(namespace) if subject.kind == "ServiceAccount" => {
                write!(f, "{:?}", format!("{}/{namespace}", subject.name))
            }
            _ => write!(f, "{:?}", subject.name),
        }
    }
}
