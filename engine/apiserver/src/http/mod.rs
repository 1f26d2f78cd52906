//! From an HTTP request to its answer: authenticate, authorize, route; the listener; the in-process entry.
//!
//! Invariant: whatever happens in a handler, the client gets an answer and the server lives.

pub mod backup;
pub mod body;
pub mod listener;
pub mod nonresource;
pub mod resource;
pub mod service;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use http::Method;
use rustls::pki_types::CertificateDer;

use crate::{
    authn,
    authz::Attributes,
    request_info::RequestInfo,
    status::Status,
    types::{Request, Response, State, UserInfo},
};

/// The client certificate of the connection, put into the request's extensions by the listener.
#[derive(Clone)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// Answers one request, whoever brought it.
pub async fn handle(state: Arc<State>, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    match AssertUnwindSafe(dispatch(state, request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => {
            if status.code >= 500 {
                tracing::warn!(%method, path, code = status.code, error = %status, "request failed");
            }
            status.into_response()
        }
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            tracing::error!(%method, path, panic = text.unwrap_or("unknown"), "handler panicked");
            Status::new(
                500,
                "InternalError",
                "This request caused apiserver to panic. Look in the logs for details.",
            )
            .into_response()
        }
    }
}

async fn dispatch(state: Arc<State>, request: Request) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<PeerCertificate>().cloned();
    let user = authn::authenticate(&state, &parts, peer.as_ref().map(|peer| &peer.0))?;
    let info = RequestInfo::parse(&parts.method, &parts.uri);
    authorize(&state, &user, &info)?;
    let request = Request::from_parts(parts, body);
    if info.is_resource {
        resource::serve(state, user, info, request).await
    } else {
        nonresource::serve(&state, &user, &info, request).await
    }
}

fn authorize(state: &State, user: &UserInfo, info: &RequestInfo) -> Result<(), Status> {
    state.authorizer.require(user, &attributes(info))
}

pub fn attributes(info: &RequestInfo) -> Attributes {
    Attributes {
        verb: info.verb.clone(),
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        path: (!info.is_resource).then(|| info.path.clone()),
    }
}

/// Whether the method only reads.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
