//! Service account tokens: issued for an audience and a time, perhaps bound to a Pod, Secret or Node; worthless once
//! the account or what they are bound to is gone.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use coracle_store::{Key, Object, Reader, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AUTHENTICATED, cache::Cache, certificate::Certificates, jwt::Signer, secret_token};
use crate::{Config, pki::Pki, types::UserInfo};

/// After its deletion began, a Pod keeps its tokens for its grace period and this long, in seconds.
const DELETION_LEEWAY: i64 = 60;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("load the key that signs tokens: {0}")]
    Key(ring::error::KeyRejected),
    #[error("sign a token")]
    Sign,
    #[error("invalid bearer token")]
    Invalid,
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYetValid,
    #[error("token audiences {have:?} is invalid for the target audiences {wanted:?}")]
    Audience { have: Vec<String>, wanted: Vec<String> },
    /// The account, or what the token is bound to, is gone or another of the same name.
    #[error("service account token has been invalidated")]
    Invalidated,
    // In the stock server's words, for they reach clients in TokenReviews.
    #[error("sub claim is invalid")]
    Subject,
    #[error("Token has been invalidated")]
    SecretGone,
    #[error("Token does not match server's copy")]
    SecretChanged,
    #[error("serviceaccounts {account:?} not found")]
    AccountGone { account: String },
    #[error("ServiceAccount {namespace}/{account} has been deleted")]
    AccountDeleted { namespace: String, account: String },
    #[error("ServiceAccount UID ({have}) does not match claim ({claimed})")]
    AccountUid { have: String, claimed: String },
    #[error(
        "the token in secret {namespace}/{secret} for service account {namespace}/{account} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token"
    )]
    MarkedInvalid { namespace: String, secret: String, account: String },
    #[error(transparent)]
    Issuer(#[from] super::IssuerError),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What a token says about its holder; the claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
    pub serviceaccount: ObjectRef,
    /// From then on a client should have read a newer token; in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
    nbf: i64,
    sub: String,
}

/// What the signature of a token proves.
pub enum Proved {
    Bound(Box<Claims>),
    /// Of a Secret.
    Unbound(secret_token::Claims),
}

pub struct Issued {
    pub token: String,
    /// As the user's `credential-id` will have it.
    pub id: String,
}

pub struct Reviewed {
    pub user: UserInfo,
    /// Those of the token that were asked for.
    pub audiences: Vec<String>,
}

/// Issues and checks tokens.
pub struct Tokens {
    pub(super) signer: Signer,
    pub(super) certificates: Certificates,
    issuer: String,
    known: Cache<Proved>,
}

impl Tokens {
    pub fn open(config: &Config, pki: &Pki) -> Result<Tokens, TokenError> {
        Ok(Tokens {
            signer: Signer::new(pki.token_key()).map_err(TokenError::Key)?,
            certificates: Certificates::default(),
            issuer: format!("https://kubernetes.default.svc.{}", config.cluster_domain),
            known: Cache::default(),
        })
    }

    /// Also the audience of tokens for the API itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn issue(
        &self,
        bound: Bound,
        audiences: &[String],
        seconds: i64,
        now: i64,
    ) -> Result<Issued, TokenError> {
        let aud = if audiences.is_empty() { vec![self.issuer.clone()] } else { audiences.to_vec() };
        let claims = Claims {
            aud,
            exp: now + seconds,
            iat: now,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: secret_token::user_name(&bound.namespace, &bound.serviceaccount.name),
            bound,
            nbf: now,
        };
        let token = self.sign(&claims)?;
        Ok(Issued { token, id: format!("JTI={}", claims.jti) })
    }

    /// A token without an end, good as long as the Secret `secret` holds it.
    pub fn issue_for_secret(
        &self,
        namespace: &str,
        account: &ObjectRef,
        secret: &str,
    ) -> Result<String, TokenError> {
        self.sign(&secret_token::Claims::new(namespace, account, secret))
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let claims: Value = serde_json::to_value(claims).map_err(|_| TokenError::Sign)?;
        self.signer.sign(&claims).map_err(|_| TokenError::Sign)
    }

    /// That the token is ours. Says nothing about time, audience, and what it depends on.
    pub fn prove(&self, token: &str) -> Result<Arc<Proved>, TokenError> {
        self.known.get_or_try(token.as_bytes(), || {
            let claims = self.signer.verify(token).ok_or(TokenError::Invalid)?;
            match claims["iss"] == secret_token::ISSUER {
                true => serde_json::from_value(claims).map(Proved::Unbound),
                false => serde_json::from_value(claims).map(Proved::Bound),
            }
            .map_err(|_| TokenError::Invalid)
        })
    }

    /// Who holds the bound token. `audiences` are those that the asker answers to, by default the API's own.
    pub fn review(
        &self,
        reader: &Reader,
        claims: &Claims,
        audiences: &[String],
    ) -> Result<Reviewed, TokenError> {
        let now = unix_now();
        let audiences = self.audiences(claims, audiences, now)?;
        let lookup = |resource: &str, namespace: &str, name: &str| lookup(reader, resource, namespace, name);
        still_holds(&claims.bound, now, &lookup)?;
        Ok(Reviewed { user: user(claims), audiences })
    }

    fn audiences(&self, claims: &Claims, audiences: &[String], now: i64) -> Result<Vec<String>, TokenError> {
        if claims.iss != self.issuer {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf > now {
            return Err(TokenError::NotYetValid);
        }
        let own = [self.issuer.clone()];
        let wanted = if audiences.is_empty() { &own } else { audiences };
        let matching: Vec<String> =
            claims.aud.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
        if matching.is_empty() {
            return Err(TokenError::Audience { have: claims.aud.clone(), wanted: wanted.to_vec() });
        }
        Ok(matching)
    }

    #[cfg(test)]
    pub(super) fn check(
        &self,
        token: &str,
        audiences: &[String],
        now: i64,
        lookup: Lookup<'_>,
    ) -> Result<(UserInfo, Vec<String>), TokenError> {
        let proved = self.prove(token)?;
        let Proved::Bound(claims) = &*proved else { return Err(TokenError::Invalid) };
        let audiences = self.audiences(claims, audiences, now)?;
        still_holds(&claims.bound, now, lookup)?;
        Ok((user(claims), audiences))
    }
}

/// What the store says of an object: its uid and when its deletion began.
pub(super) struct Existing {
    pub uid: String,
    pub deletion_timestamp: Option<String>,
}

/// Resource, namespace, name.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, &str, &str) -> Option<Existing>;

fn lookup(reader: &Reader, resource: &str, namespace: &str, name: &str) -> Option<Existing> {
    let object = find(reader, resource, namespace, name)?;
    let deletion_timestamp = object.meta.deletion_timestamp.as_deref().map(str::to_owned);
    Some(Existing { uid: object.meta.uid.to_string(), deletion_timestamp })
}

pub(crate) fn find(reader: &Reader, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
    reader.get(&Key { resource: Resource(resource.into()), namespace: namespace.into(), name: name.into() })
}

fn still_holds(bound: &Bound, now: i64, lookup: Lookup<'_>) -> Result<(), TokenError> {
    let namespace = bound.namespace.as_str();
    let wanted = [
        ("serviceaccounts", namespace, Some(&bound.serviceaccount)),
        ("pods", namespace, bound.pod.as_ref()),
        ("secrets", namespace, bound.secret.as_ref()),
        // A Pod's token names its node for information; only a token for the node alone depends on it.
        ("nodes", "", bound.node.as_ref().filter(|_| bound.pod.is_none())),
    ];
    for (resource, namespace, reference) in wanted {
        let Some(reference) = reference else { continue };
        let holds = lookup(resource, namespace, &reference.name).is_some_and(|existing| {
            existing.uid == reference.uid
                && !existing.deletion_timestamp.is_some_and(|began| is_over(&began, now))
        });
        if !holds {
            return Err(TokenError::Invalidated);
        }
    }
    Ok(())
}

fn is_over(deletion_timestamp: &str, now: i64) -> bool {
    deletion_timestamp.parse::<jiff::Timestamp>().is_ok_and(|end| end.as_second() + DELETION_LEEWAY < now)
}

fn user(claims: &Claims) -> UserInfo {
    let bound = &claims.bound;
    let mut extra = BTreeMap::new();
    let mut note = |key: &str, value: &str| {
        extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()])
    };
    note("credential-id", &format!("JTI={}", claims.jti));
    for (kind, reference) in [("node", &bound.node), ("pod", &bound.pod)] {
        if let Some(reference) = reference {
            note(&format!("{kind}-name"), &reference.name);
            if !reference.uid.is_empty() {
                note(&format!("{kind}-uid"), &reference.uid);
            }
        }
    }
    UserInfo {
        name: claims.sub.clone(),
        uid: bound.serviceaccount.uid.clone(),
        groups: service_account_groups(&bound.namespace),
        extra,
    }
}

pub(super) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}"), AUTHENTICATED.into()]
}

pub(crate) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
