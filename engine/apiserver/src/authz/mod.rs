//! Who may do what: RBAC over the roles and bindings in the store.
//!
//! Kept true: a decision is made on one snapshot of the store, so a binding that was acknowledged counts at once. There
//!            is no index to refresh: the store keeps each role decoded, and a pass over the bindings takes microseconds.
//! Reads:     Roles, RoleBindings, ClusterRoles, ClusterRoleBindings; Pods, for nodes. Writes: nothing.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/rbac/

mod escalation;
pub mod node;
mod resolve;
pub mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use coracle_store::Reader;
use k8s_openapi::api::rbac::v1::PolicyRule;

pub use self::escalation::validate as validate_escalation;
use self::{
    resolve::{Grant, visit_rules},
    source::StoreSource,
};
use crate::{
    status::{GroupResource, Status},
    types::UserInfo,
};

/// The group that RBAC never stops.
pub const MASTERS: &str = "system:masters";

/// What is asked. For a path that is no resource, `path` is set and `verb` is the lower-case method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    /// Empty for cluster-scoped resources and for requests over all namespaces.
    pub namespace: String,
    pub name: String,
    pub path: Option<String>,
    /// What fields must equal for an object to be in the list or watch.
    pub selected: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The binding that allows, or what went wrong while looking.
    pub reason: String,
}

pub struct Authorizer {
    source: StoreSource,
}

impl Authorizer {
    pub fn new(reader: Reader) -> Authorizer {
        Authorizer { source: StoreSource::new(reader) }
    }

    pub fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Decision {
        decide(&self.source.now(), user, attributes)
    }

    /// `Ok`, or the stock server's `Forbidden`.
    pub fn require(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Status> {
        let decision = self.authorize(user, attributes);
        if decision.allowed { Ok(()) } else { Err(denied(user, attributes, &decision)) }
    }

    /// Every rule that holds for the user in the namespace (cluster-wide ones included), and what could not be resolved.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        rules_of(&self.source.now(), user, namespace)
    }
}

fn rules_of(source: &dyn source::Source, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    if user.in_group(MASTERS) {
        rules.extend(rules::everything());
    }
    visit_rules(source, user, namespace, &mut |_, found| {
        match found {
            Ok(rule) => rules.push(rule.clone()),
            Err(error) => errors.push(error),
        }
        ControlFlow::Continue(())
    });
    (rules, errors)
}

fn decide(source: &dyn source::Source, user: &UserInfo, attributes: &Attributes) -> Decision {
    if user.in_group(MASTERS) {
        return Decision { allowed: true, reason: String::new() };
    }
    let mut decision = Decision::default();
    let mut errors = Vec::new();
    let mut refused = None;
    visit_rules(source, user, &attributes.namespace, &mut |grant, found| match found {
        Ok(rule) if rules::allows(rule, attributes) => {
            if let Grant::Node(node) = grant {
                refused = node::refusal(source, node, attributes);
                if refused.is_some() {
                    return ControlFlow::Continue(());
                }
            }
            decision = Decision { allowed: true, reason: format!("RBAC: allowed by {grant}") };
            ControlFlow::Break(())
        }
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => {
            errors.push(error);
            ControlFlow::Continue(())
        }
    });
    if !decision.allowed {
        decision.reason = match &errors[..] {
            [] => refused.unwrap_or_default(),
            [error] => format!("RBAC: {error}"),
            errors => format!("RBAC: [{}]", errors.join(", ")),
        };
    }
    decision
}

/// The answer to a request that was not allowed.
pub fn denied(user: &UserInfo, attributes: &Attributes, decision: &Decision) -> Status {
    let mut text = denial_text(user, attributes);
    if !decision.reason.is_empty() {
        text = format!("{text}: {}", decision.reason);
    }
    Status::forbidden(GroupResource::new(&attributes.group, &attributes.resource), &attributes.name, text)
}

fn denial_text(user: &UserInfo, attributes: &Attributes) -> String {
    let Attributes { verb, group, resource, subresource, namespace, .. } = attributes;
    let user = &user.name;
    if let Some(path) = &attributes.path {
        return format!("User {user:?} cannot {verb} path {path:?}");
    }
    let resource =
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
}
