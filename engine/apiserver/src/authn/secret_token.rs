//! Tokens of Secrets of type `kubernetes.io/service-account-token`: without an end, good as long as the Secret holds them.
//!
//! Reads:     the Secret and the ServiceAccount that a token names.
//! Writes:    the day of its last use, as a label of the Secret, once a day.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#auto-generated-legacy-serviceaccount-token-clean-up
//!            and https://github.com/kubernetes/kubernetes/blob/master/pkg/serviceaccount/legacy.go

use coracle_schema::Syntax;
use coracle_store::{Object, Reader};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tokens::{ObjectRef, TokenError, find, service_account_groups};
use crate::{
    types::{State, UserInfo},
    verbs::{self, Target, WriteOptions, patch::PatchType},
};

/// Tells these tokens from bound ones.
pub const ISSUER: &str = "kubernetes/serviceaccount";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    account_uid: String,
    sub: String,
}

impl Claims {
    pub fn new(namespace: &str, account: &ObjectRef, secret: &str) -> Claims {
        Claims {
            iss: ISSUER.into(),
            namespace: namespace.into(),
            secret: secret.into(),
            account: account.name.clone(),
            account_uid: account.uid.clone(),
            sub: user_name(namespace, &account.name),
        }
    }
}

pub(super) fn user_name(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// Who holds `token`, whose claims are proved. Its use is noted.
pub async fn user(state: &State, claims: &Claims, token: &str) -> Result<UserInfo, TokenError> {
    let secret = holding(&state.reader, claims, token)?;
    note_use(state, &secret).await;
    if secret.meta.label(INVALID_SINCE).is_some_and(|since| !since.is_empty()) {
        return Err(TokenError::MarkedInvalid {
            namespace: claims.namespace.clone(),
            secret: claims.secret.clone(),
            account: claims.account.clone(),
        });
    }
    Ok(UserInfo {
        name: claims.sub.clone(),
        uid: claims.account_uid.clone(),
        groups: service_account_groups(&claims.namespace),
        ..UserInfo::default()
    })
}

/// The Secret of the token, when it still holds it and the account is still the same.
fn holding(reader: &Reader, claims: &Claims, token: &str) -> Result<std::sync::Arc<Object>, TokenError> {
    let Claims { namespace, account, .. } = claims;
    if claims.sub != user_name(namespace, account) {
        return Err(TokenError::Subject);
    }
    let secret = find(reader, "secrets", namespace, &claims.secret)
        .filter(|secret| secret.meta.deletion_timestamp.is_none())
        .ok_or(TokenError::SecretGone)?;
    let held = secret.decode::<Secret>().map_err(|_| TokenError::Invalid)?;
    if held.data.as_ref().and_then(|data| data.get("token")).is_none_or(|own| own.0 != token.as_bytes()) {
        return Err(TokenError::SecretChanged);
    }
    let existing = find(reader, "serviceaccounts", namespace, account)
        .ok_or_else(|| TokenError::AccountGone { account: account.clone() })?;
    if existing.meta.deletion_timestamp.is_some() {
        return Err(TokenError::AccountDeleted { namespace: namespace.clone(), account: account.clone() });
    }
    if *existing.meta.uid != *claims.account_uid {
        return Err(TokenError::AccountUid {
            have: existing.meta.uid.to_string(),
            claimed: claims.account_uid.clone(),
        });
    }
    Ok(secret)
}

/// A failure is no reason to refuse the token.
async fn note_use(state: &State, secret: &Object) {
    let Some(today) = unnoted(secret.meta.label(LAST_USED), Timestamp::now()) else { return };
    let Some(served) = state.resources.get("", "v1", "secrets") else { return };
    let target = Target::new(served, &secret.key.namespace, &secret.key.name);
    let patch = json!({"metadata": {"uid": &*secret.meta.uid, "labels": {LAST_USED: today}}});
    let patch = (patch, Syntax::default());
    let (user, options) = (UserInfo::apiserver(), WriteOptions::default());
    let noting = verbs::patch::patch(state, &user, &target, PatchType::Merge, &patch, &options);
    if let Err(error) = Box::pin(noting).await {
        let (namespace, name) = (&*secret.key.namespace, &*secret.key.name);
        tracing::warn!(namespace, secret = name, %error, "last use of a token could not be noted");
    }
}

/// Today's date in UTC, unless it is noted. Tomorrow's is as good: another server's clock may be ahead.
fn unnoted(noted: Option<&str>, now: Timestamp) -> Option<String> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let tomorrow = today.checked_add(1.day()).unwrap_or(today);
    let known = noted.is_some_and(|noted| noted == today.to_string() || noted == tomorrow.to_string());
    (!known).then(|| today.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_noted_once_a_day() {
        let now: Timestamp = "2026-12-31T23:59:59Z".parse().expect("time");
        for (noted, expected) in [
            (None, Some("2026-12-31")),
            (Some("2026-12-30"), Some("2026-12-31")),
            (Some("2026-12-31"), None),
            (Some("2027-01-01"), None),
            (Some("2027-01-02"), Some("2026-12-31")),
        ] {
            assert_eq!(unnoted(noted, now).as_deref(), expected, "{noted:?}");
        }
    }
}
