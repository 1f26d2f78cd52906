//! `Impersonate-*` headers (`kubectl --as`): act as somebody else, when RBAC allows the verb `impersonate` on each part.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation

use http::HeaderMap;

use super::{AUTHENTICATED, tokens::service_account_groups};
use crate::{
    authz::{Attributes, Authorizer},
    request_info::percent_decode,
    status::Status,
    types::UserInfo,
};

const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";

/// The user that the request acts as instead, when it asks for one and `requester` may become it.
pub fn impersonate(
    authorizer: &Authorizer,
    requester: &UserInfo,
    headers: &HeaderMap,
) -> Result<Option<UserInfo>, Status> {
    let Some((user, needs)) = requested(headers)? else { return Ok(None) };
    for attributes in needs {
        authorizer.require(requester, &attributes)?;
    }
    Ok(Some(user))
}

/// The user that the headers name, and what the requester must be allowed to become it. `None` without such headers.
pub(super) fn requested(headers: &HeaderMap) -> Result<Option<(UserInfo, Vec<Attributes>)>, Status> {
    let all = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let name = all("impersonate-user").pop().unwrap_or_default();
    let uid = all("impersonate-uid").pop().unwrap_or_default();
    let mut user = UserInfo { name, uid, groups: all("impersonate-group"), ..UserInfo::default() };
    for key in headers.keys().filter(|key| key.as_str().starts_with(EXTRA)) {
        let extra = percent_decode(&key.as_str()[EXTRA.len()..]).to_ascii_lowercase();
        user.extra.insert(extra, all(key.as_str()));
    }
    if user == UserInfo::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(Status::internal(
            "requested to impersonate groups, uid or extra without impersonating a user",
        ));
    }
    let needs = needs(&user);
    complete_groups(&mut user);
    Ok(Some((user, needs)))
}

fn needs(user: &UserInfo) -> Vec<Attributes> {
    let need = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
        verb: "impersonate".into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        path: None,
    };
    let mut needs = vec![match service_account(&user.name) {
        Some((namespace, name)) => need("", "serviceaccounts", "", namespace, name),
        None => need("", "users", "", "", &user.name),
    }];
    needs.extend(user.groups.iter().map(|group| need("", "groups", "", "", group)));
    if !user.uid.is_empty() {
        needs.push(need(AUTHENTICATION_GROUP, "uids", "", "", &user.uid));
    }
    for (key, values) in &user.extra {
        needs.extend(values.iter().map(|value| need(AUTHENTICATION_GROUP, "userextras", key, "", value)));
    }
    needs
}

fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(_, name)| !name.contains(':'))
}

/// A service account that is named without groups gets those it has; everybody but `system:anonymous` is authenticated.
fn complete_groups(user: &mut UserInfo) {
    if user.name == "system:anonymous" {
        if user.groups.is_empty() {
            user.groups.push("system:unauthenticated".into());
        }
        return;
    }
    if let (Some((namespace, _)), true) = (service_account(&user.name), user.groups.is_empty()) {
        user.groups = service_account_groups(namespace);
    }
    if !user.groups.iter().any(|group| group == AUTHENTICATED || group == "system:unauthenticated") {
        user.groups.push(AUTHENTICATED.into());
    }
}
