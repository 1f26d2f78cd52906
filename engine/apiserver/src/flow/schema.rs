//! Which FlowSchema a request belongs to: of those that match, the one of the lowest precedence, then name.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/util/flowcontrol/rule.go

use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use super::{Mark, metrics::Counters};
use crate::{request_info::RequestInfo, types::UserInfo};

/// What makes the requests of one FlowSchema different flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinguisher {
    None,
    User,
    Namespace,
}

pub struct Schema {
    pub name: Arc<str>,
    pub precedence: i32,
    /// Of the level in the dispatcher.
    pub level: usize,
    pub level_name: Arc<str>,
    pub distinguisher: Distinguisher,
    pub rules: Vec<PolicyRulesWithSubjects>,
    pub mark: Mark,
    pub counters: Arc<Counters>,
}

pub fn distinguisher(schema: &FlowSchema) -> Distinguisher {
    let method = schema.spec.as_ref().and_then(|spec| spec.distinguisher_method.as_ref());
    match method.map(|method| method.type_.as_str()) {
        Some("ByUser") => Distinguisher::User,
        Some("ByNamespace") => Distinguisher::Namespace,
        _ => Distinguisher::None,
    }
}

pub fn matches(rules: &[PolicyRulesWithSubjects], user: &UserInfo, info: &RequestInfo) -> bool {
    rules.iter().any(|rule| {
        rule.subjects.iter().any(|subject| is(subject, user))
            && if info.is_resource {
                rule.resource_rules.iter().flatten().any(|rule| covers_resource(rule, info))
            } else {
                rule.non_resource_rules.iter().flatten().any(|rule| covers_path(rule, info))
            }
    })
}

fn is(subject: &Subject, user: &UserInfo) -> bool {
    match subject.kind.as_str() {
        "User" => subject.user.as_ref().is_some_and(|own| own.name == "*" || own.name == user.name),
        "Group" => subject.group.as_ref().is_some_and(|own| own.name == "*" || user.in_group(&own.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|own| {
            let account = user.name.strip_prefix("system:serviceaccount:");
            account.and_then(|account| account.split_once(':')).is_some_and(|(namespace, name)| {
                own.namespace == namespace && (own.name == "*" || own.name == name)
            })
        }),
        _ => false,
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == "*" || own == wanted)
}

fn covers_resource(rule: &ResourcePolicyRule, info: &RequestInfo) -> bool {
    if !has(&rule.verbs, &info.verb) || !has(&rule.api_groups, &info.group) {
        return false;
    }
    let named = |pattern: &String| match pattern.split_once('/') {
        _ if pattern == "*" => true,
        Some((resource, subresource)) => resource == info.resource && subresource == info.subresource,
        None => info.subresource.is_empty() && *pattern == info.resource,
    };
    if !rule.resources.iter().any(named) {
        return false;
    }
    match info.namespace.as_str() {
        "" => rule.cluster_scope.unwrap_or_default(),
        namespace => has(rule.namespaces.as_deref().unwrap_or_default(), namespace),
    }
}

fn covers_path(rule: &NonResourcePolicyRule, info: &RequestInfo) -> bool {
    let fits = |url: &String| match url.strip_suffix('*') {
        Some("") => true,
        Some(prefix) if prefix.ends_with('/') => info.path.starts_with(prefix),
        _ => *url == info.path,
    };
    has(&rule.verbs, &info.verb) && rule.non_resource_urls.iter().any(fits)
}
