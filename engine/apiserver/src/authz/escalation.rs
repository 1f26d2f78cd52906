//! Nobody grants what they do not have: writes of roles need every rule, writes of bindings every rule of the role,
//! unless the user may `escalate` or `bind`.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use super::{Attributes, MASTERS, decide, rules, rules_of, source::Source};
use crate::{
    admission,
    status::{GroupResource, Status},
    types::UserInfo,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The admission plugin: a Role, ClusterRole, RoleBinding or ClusterRoleBinding is about to be created or changed.
pub fn validate(request: &admission::Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let api = &request.target.served.api;
    match object {
        Some(object) if &*api.gvk.group == GROUP => {
            let source = request.state.authorizer.source.now();
            check(&source, request.user, &api.plural, object, request.old)
        }
        _ => Ok(()),
    }
}

pub(super) fn check(
    source: &dyn Source,
    user: &UserInfo,
    resource: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if user.in_group(MASTERS) {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let unchanged =
        |fields: [&str; 2]| old.is_some_and(|old| fields.iter().all(|field| old[field] == object[field]));
    let may = |verb: &str, resource: &str, name: &str| {
        let attributes = Attributes {
            verb: verb.into(),
            group: GROUP.into(),
            version: "v1".into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        decide(source, user, &attributes).allowed
    };
    let of = GroupResource::new(GROUP, resource);
    match resource {
        "roles" | "clusterroles" => {
            if unchanged(["rules", "aggregationRule"]) || may("escalate", resource, name) {
                return Ok(());
            }
            let aggregates = !object["aggregationRule"].is_null();
            if aggregates && !missing(source, user, namespace, &rules::everything()).is_empty() {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(Status::forbidden(of, name, why));
            }
            let wanted: Vec<PolicyRule> = parse(&object["rules"]);
            confirm(source, user, namespace, &wanted).map_err(|why| Status::forbidden(of, name, why))
        }
        _ => {
            let role_name = object["roleRef"]["name"].as_str().unwrap_or_default();
            let cluster = object["roleRef"]["kind"] == "ClusterRole";
            let role_resource = if cluster { "clusterroles" } else { "roles" };
            if unchanged(["roleRef", "subjects"]) || may("bind", role_resource, role_name) {
                return Ok(());
            }
            let role = source
                .role(Some(namespace).filter(|_| !cluster), role_name)
                .ok_or_else(|| Status::not_found(GroupResource::new(GROUP, role_resource), role_name))?;
            confirm(source, user, namespace, role.rules()).map_err(|why| Status::forbidden(of, name, why))
        }
    }
}

fn parse(rules: &Value) -> Vec<PolicyRule> {
    let rules = rules.as_array().into_iter().flatten();
    rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
}

fn missing(source: &dyn Source, user: &UserInfo, namespace: &str, wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let (have, _) = rules_of(source, user, namespace);
    wanted.iter().flat_map(|rule| rules::uncovered(&have, rule)).collect()
}

fn confirm(
    source: &dyn Source,
    user: &UserInfo,
    namespace: &str,
    wanted: &[PolicyRule],
) -> Result<(), String> {
    let (have, errors) = rules_of(source, user, namespace);
    let mut missing: Vec<String> = wanted
        .iter()
        .flat_map(|rule| rules::uncovered(&have, rule))
        .map(|rule| rules::compact(&rule))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort();
    missing.dedup();
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        rules::quoted(&user.groups),
        missing.join("\n")
    );
    if !errors.is_empty() {
        text = format!("{text}; resolution errors: [{}]", errors.join(", "));
    }
    Err(text)
}
