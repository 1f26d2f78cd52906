//! Who asks: client certificates, service account tokens, impersonation; anonymous otherwise.
//!
//! Kept true: credentials that are given and wrong are refused with 401, never taken for anonymous.
//! Reads:     the request's head, its client certificate, ServiceAccounts and the objects that tokens are bound to. Writes: nothing.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/authentication/

mod cache;
mod certificate;
mod impersonation;
mod jwt;
mod oidc;
#[cfg(test)]
mod tests;
mod tokens;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use coracle_client::Identity;
use http::{header, request::Parts};
use rustls::pki_types::CertificateDer;

pub use self::impersonation::impersonate;
pub use self::tokens::{Bound, Issued, ObjectRef, Reviewed, TokenError, Tokens};
pub(crate) use self::tokens::{find, unix_now};
use crate::{
    status::Status,
    types::{State, UserInfo},
};

pub const AUTHENTICATED: &str = "system:authenticated";
/// Browsers cannot set headers on a WebSocket: the token may come as a subprotocol of this prefix.
const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// Who sent a request. `peer` is the client certificate of its connection, if there was one.
pub fn requester(
    state: &State,
    parts: &Parts,
    peer: Option<&CertificateDer<'_>>,
) -> Result<UserInfo, Status> {
    if let Some(identity) = parts.extensions.get::<Identity>() {
        return Ok(UserInfo::from(identity));
    }
    let token = bearer(parts);
    if let Some(user) = peer.and_then(|peer| state.tokens.certificates.user(&state.pki, peer)) {
        return Ok(user);
    }
    match token {
        Some(token) => match state.tokens.review(&state.reader, &token, &[]) {
            Ok(reviewed) => Ok(reviewed.user),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "bearer token refused");
                Err(Status::unauthorized())
            }
        },
        None if peer.is_some() => Err(Status::unauthorized()),
        None => Ok(UserInfo::anonymous()),
    }
}

/// The token of `Authorization: Bearer …`, or of a WebSocket's subprotocol. Other schemes are not ours to judge.
fn bearer(parts: &Parts) -> Option<String> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let protocols =
        parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let encoded = protocols
        .flat_map(|list| list.split(','))
        .find_map(|one| one.trim().strip_prefix(WEBSOCKET_BEARER))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()
}
