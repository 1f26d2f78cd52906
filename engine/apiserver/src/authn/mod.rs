//! Who asks: client certificates, service account tokens, impersonation; anonymous otherwise.
//!
//! Kept true: credentials that are given and wrong are refused with 401, never taken for anonymous.
//! Reads:     the request's head, its client certificate, ServiceAccounts and the objects that tokens are bound to.
//! Writes:    see `secret_token`.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/authentication/

mod bootstrap_token;
mod cache;
mod certificate;
mod impersonation;
mod issuer;
mod jwt;
mod oidc;
mod secret_token;
#[cfg(test)]
mod tests;
mod tokens;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use coracle_client::Identity;
use http::{header, request::Parts};
use rustls::pki_types::CertificateDer;

pub use self::impersonation::{Impersonated, impersonate};
pub use self::issuer::{
    Anonymous, File as ConfigurationFile, IssuerConfig, IssuerError, Issuers, Mapping, Rule,
    check as check_issuers, read as read_configuration, run as follow_configuration,
};
use self::tokens::Proved;
pub use self::tokens::{Bound, Issued, ObjectRef, Reviewed, TokenError, Tokens};
pub(crate) use self::tokens::{find, unix_now};
use crate::{
    status::Status,
    types::{State, UserInfo},
};

pub const AUTHENTICATED: &str = "system:authenticated";
/// Browsers cannot set headers on a WebSocket: the token may come as a subprotocol of this prefix.
pub const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// Who sent a request. `peer` is the client certificate of its connection, if there was one.
pub async fn requester(
    state: &State,
    parts: &Parts,
    peer: Option<&CertificateDer<'_>>,
) -> Result<UserInfo, Status> {
    if let Some(identity) = parts.extensions.get::<Identity>() {
        return Ok(UserInfo::from(identity));
    }
    let token = bearer(parts);
    if let Some((user, seconds)) = peer.and_then(|peer| state.tokens.certificates.user(&state.pki, peer)) {
        state.metrics.requesters.certificate(seconds);
        return Ok(user);
    }
    match token {
        Some(token) => match review(state, &token, &[]).await {
            Ok(reviewed) => Ok(reviewed.user),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "bearer token refused");
                Err(Status::unauthorized())
            }
        },
        None if peer.is_some() => Err(Status::unauthorized()),
        None if !state.config.protection.anonymous.may_ask(parts.uri.path()) => Err(Status::unauthorized()),
        None => Ok(UserInfo::anonymous()),
    }
}

/// Who holds a bearer token of any kind, and for which of `audiences` (by default the API's own).
pub async fn review(state: &State, token: &str, audiences: &[String]) -> Result<Reviewed, TokenError> {
    // What knows no audiences is good for the API's own.
    let for_api = |user: UserInfo| {
        let own = state.tokens.issuer();
        let wanted = audiences.is_empty() || audiences.iter().any(|audience| audience == own);
        let have = vec![own.to_owned()];
        match wanted {
            true => Ok(Reviewed { user, audiences: have }),
            false => Err(TokenError::Audience { have, wanted: audiences.to_vec() }),
        }
    };
    if let Some((id, secret)) = bootstrap_token::parse(token) {
        let user = bootstrap_token::user(&state.reader, id, secret).ok_or(TokenError::Invalid)?;
        return for_api(user);
    }
    if !state.issuers.is_empty()
        && let Some(named) = issuer::named(token)
        && let Some(issuer) = state.issuers.of(&named)
    {
        return for_api(issuer.user(token, unix_now()).await?);
    }
    match &*state.tokens.prove(token)? {
        Proved::Bound(claims) => state.tokens.review(&state.reader, claims, audiences),
        Proved::Unbound(claims) => for_api(secret_token::user(state, claims, token).await?),
    }
}

/// The token of `Authorization: Bearer …`, or of a WebSocket's subprotocol. Other schemes are not ours to judge.
/// One space stands before the token: after two there is none. What follows it is passed over.
/// Source: https://github.com/kubernetes/apiserver/blob/master/pkg/authentication/request/bearertoken/bearertoken.go
fn bearer(parts: &Parts) -> Option<String> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let mut parts = value.to_str().ok()?.trim().split(' ');
        let (scheme, token) = (parts.next()?, parts.next()?);
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let protocols =
        parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let encoded = protocols
        .flat_map(|list| list.split(','))
        .find_map(|one| one.trim().strip_prefix(WEBSOCKET_BEARER))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()
}
