//! `Impersonate-*` headers (`kubectl --as`): act as somebody else, when RBAC allows to become each part of it.
//!
//! Kept true: a constrained way (`impersonate:MODE`, with `impersonate-on:MODE:VERB` for what is done meanwhile) gives
//!            nobody `system:masters`; the verb `impersonate` counts where no constrained way is allowed.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/ and
//!            https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/filters/impersonation/mode.go

use http::HeaderMap;

use super::{AUTHENTICATED, tokens::service_account_groups};
use crate::{
    authz::{self, Attributes, Authorizer, Decision},
    kinds::checks,
    metadata::subdomain_problems,
    request_info::percent_decode,
    status::{Status, quote},
    types::UserInfo,
};

const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";
const LEGACY: &str = "impersonate";
const ASSOCIATED_NODE: &str = "associated-node";
/// The constrained ways, in the order in which they are tried.
const MODES: [&str; 4] = [ASSOCIATED_NODE, "arbitrary-node", "serviceaccount", "user-info"];
/// From so many on, the right to all of them is asked for first.
const MANY: usize = 4;

/// Who a request acts as.
#[derive(Debug, PartialEq, Eq)]
pub struct Impersonated {
    pub user: UserInfo,
    /// `impersonate:MODE`; empty when the verb `impersonate` allowed it.
    pub constraint: String,
}

/// The user that the request for `asked` acts as instead, when it asks for one and `requester` may become it.
pub fn impersonate(
    authorizer: &Authorizer,
    requester: &UserInfo,
    asked: &Attributes,
    headers: &HeaderMap,
) -> Result<Option<Impersonated>, Status> {
    let Some(wanted) = wanted(headers)? else { return Ok(None) };
    let require = |attributes: &Attributes| authorizer.require(requester, attributes);
    let mut refused = None;
    for mode in MODES.into_iter().filter(|mode| applies(mode, requester, &wanted)) {
        let meanwhile = Attributes { verb: format!("impersonate-on:{mode}:{}", asked.verb), ..asked.clone() };
        let allowed = require(&meanwhile).and_then(|()| {
            sane(requester, &wanted, mode)?;
            all(require, needs(&wanted, mode))
        });
        match allowed {
            Ok(()) => {
                let constraint = format!("impersonate:{mode}");
                return Ok(Some(Impersonated { user: complete(wanted.clone(), true), constraint }));
            }
            Err(status) => refused = refused.or(Some(status)),
        }
    }
    match needs(&wanted, LEGACY).iter().try_for_each(require) {
        Ok(()) => Ok(Some(Impersonated { user: complete(wanted, false), constraint: String::new() })),
        Err(status) => Err(refused.unwrap_or(status)),
    }
}

/// The user that the headers name. `None` without such headers.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, Status> {
    let all = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let (name, uid) = (first("impersonate-user"), first("impersonate-uid"));
    let mut user = UserInfo { name, uid, groups: all("impersonate-group"), ..UserInfo::default() };
    for key in headers.keys().filter(|key| key.as_str().starts_with(EXTRA)) {
        let extra = percent_decode(&key.as_str()[EXTRA.len()..]).to_ascii_lowercase();
        user.extra.insert(extra, all(key.as_str()));
    }
    if user == UserInfo::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(Status::bad_request(format!(
            "requested {} without impersonating a user name",
            go(&user)
        )));
    }
    Ok(Some(user))
}

/// As Go's `%#v` prints it.
fn go(user: &UserInfo) -> String {
    let list = |texts: &[String]| {
        let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups = if user.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&user.groups) };
    let pairs: Vec<String> =
        user.extra.iter().map(|(key, values)| format!("{}:{}", quote(key), list(values))).collect();
    let extra = if pairs.is_empty() {
        "map[string][]string(nil)".into()
    } else {
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    format!("&user.DefaultInfo{{Name:\"\", UID:{}, Groups:{groups}, Extra:{extra}}}", quote(&user.uid))
}

fn applies(mode: &str, requester: &UserInfo, wanted: &UserInfo) -> bool {
    let alone = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
    let (node, account) = (node(&wanted.name), service_account(&wanted.name));
    match mode {
        ASSOCIATED_NODE => {
            let is_own = node.is_some() && requester.node_name() == node;
            alone && is_own && service_account(&requester.name).is_some()
        }
        "arbitrary-node" => alone && node.is_some(),
        "serviceaccount" => alone && account.is_some(),
        _ => node.is_none() && account.is_none(),
    }
}

/// What no constrained way allows.
fn sane(requester: &UserInfo, wanted: &UserInfo, mode: &str) -> Result<(), Status> {
    let refuse = |resource: &str, name: &str, reason: String| {
        let attributes = need(mode, resource, "", "", name);
        Err(authz::denied(requester, &attributes, &Decision { allowed: false, reason }))
    };
    for group in &wanted.groups {
        if group.is_empty() {
            return refuse("groups", "", "impersonating the empty string group is not allowed".into());
        }
        if group == authz::MASTERS {
            let why = format!("impersonating the {group} group is not allowed");
            return refuse("groups", group, why);
        }
    }
    for (key, values) in &wanted.extra {
        let mut causes = Vec::new();
        checks::domain_prefixed_path(&mut causes, key, "extra.key");
        let why = match causes.first() {
            _ if key.is_empty() => "impersonating the empty string key in extra is not allowed".into(),
            Some(cause) => format!("impersonating an invalid key in extra is not allowed: {cause}"),
            None if values.iter().any(String::is_empty) => {
                "impersonating the empty string value in extra is not allowed".into()
            }
            None => continue,
        };
        return refuse("userextras", "", why);
    }
    Ok(())
}

/// Every need is met: one by one, or many of a kind by the right to all of that kind.
fn all(require: impl Fn(&Attributes) -> Result<(), Status>, needs: Vec<Attributes>) -> Result<(), Status> {
    for resource in ["", "groups", "userextras"] {
        let part = || {
            needs.iter().filter(move |need| match resource {
                "" => !["groups", "userextras"].contains(&need.resource.as_str()),
                _ => need.resource == resource,
            })
        };
        if !resource.is_empty()
            && part().count() >= MANY
            && let Some(one) = part().next()
        {
            let subresource = if one.subresource.is_empty() { "" } else { "*" };
            let every = Attributes { name: "*".into(), subresource: subresource.into(), ..one.clone() };
            if require(&every).is_ok() {
                continue;
            }
        }
        part().try_for_each(&require)?;
    }
    Ok(())
}

/// `mode` is one of [`MODES`], or [`LEGACY`].
fn need(mode: &str, resource: &str, subresource: &str, namespace: &str, name: &str) -> Attributes {
    let legacy = mode == LEGACY && !matches!(resource, "uids" | "userextras");
    Attributes {
        verb: if mode == LEGACY { LEGACY.into() } else { format!("impersonate:{mode}") },
        group: if legacy { String::new() } else { AUTHENTICATION_GROUP.into() },
        version: "v1".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

/// What the requester must be allowed to become `user`.
pub(super) fn needs(user: &UserInfo, mode: &str) -> Vec<Attributes> {
    let mut needs = vec![match (service_account(&user.name), node(&user.name)) {
        (Some((namespace, name)), _) => need(mode, "serviceaccounts", "", namespace, name),
        (None, Some(_)) if mode == ASSOCIATED_NODE => need(mode, "nodes", "", "", "*"),
        (None, Some(name)) if mode != LEGACY => need(mode, "nodes", "", "", name),
        _ => need(mode, "users", "", "", &user.name),
    }];
    if !user.uid.is_empty() {
        needs.push(need(mode, "uids", "", "", &user.uid));
    }
    needs.extend(user.groups.iter().map(|group| need(mode, "groups", "", "", group)));
    for (key, values) in &user.extra {
        needs.extend(values.iter().map(|value| need(mode, "userextras", key, "", value)));
    }
    needs
}

fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(_, name)| !name.contains(':'))
}

fn node(user: &str) -> Option<&str> {
    user.strip_prefix("system:node:").filter(|name| subdomain_problems(name).is_empty())
}

/// A service account that is named without groups gets those it has, so does a node that is impersonated in a constrained
/// way; everybody but `system:anonymous` is authenticated.
pub(super) fn complete(mut user: UserInfo, constrained: bool) -> UserInfo {
    const UNAUTHENTICATED: &str = "system:unauthenticated";
    if let (Some((namespace, _)), true) = (service_account(&user.name), user.groups.is_empty()) {
        user.groups = service_account_groups(namespace);
    }
    if constrained && node(&user.name).is_some() {
        user.groups = vec!["system:nodes".into()];
    }
    let group = match user.name.as_str() {
        "system:anonymous" => UNAUTHENTICATED,
        _ if user.in_group(UNAUTHENTICATED) => return user,
        _ => AUTHENTICATED,
    };
    if !user.in_group(group) {
        user.groups.push(group.into());
    }
    user
}
