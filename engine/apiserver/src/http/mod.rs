//! From an HTTP request to its answer: authenticate, authorize, route; the listener; the in-process entry.
//!
//! Invariant: whatever happens in a handler, the client gets an answer and the server lives.

pub mod backup;
pub mod body;
pub mod call;
mod carrying;
pub mod deadline;
mod indent;
pub mod listener;
pub mod lists;
pub mod nonresource;
pub mod resource;
pub mod service;
mod unrouted;

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Method, header};
use http_body::Body as _;
use rustls::pki_types::CertificateDer;

use crate::{
    aggregation, authn,
    authz::{self, Attributes},
    flow::{self, Held},
    negotiate,
    request_info::RequestInfo,
    selector::fields::equalities,
    status::Status,
    types::{Request, Response, State, body_from},
};
use body::Shared;
use call::{Call, LONG_RUNNING};
pub use carrying::carrying;

/// The client certificate of the connection, put into the request's extensions by the listener.
#[derive(Clone)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// Answers one request, whoever brought it.
pub async fn handle(state: Arc<State>, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let encoding = negotiate::error_encoding(request.headers());
    let info = Arc::new(RequestInfo::parse(&method, request.uri()));
    let for_people = indent::is_wanted(request.uri(), request.headers()) && is_own(&state, &info);
    let mut call = Call::begin(&state, &info, &request);
    let notes = call.notes();
    let limit = deadline::of(&info, request.uri().query(), state.config.protection.request_timeout);
    let (request, rest) = Shared::of(request);
    let outcome = match limit {
        Err(status) => Ok(Err(status)),
        Ok(limit) => {
            let dispatched =
                LONG_RUNNING.scope(call.long_running(), dispatch(state, info, request, &mut call));
            let dispatched = notes.scope(dispatched);
            let dispatched = AssertUnwindSafe(dispatched).catch_unwind();
            match limit {
                None => dispatched.await,
                Some(limit) => tokio::time::timeout(limit, dispatched).await.unwrap_or_else(|_| {
                    call.terminated(504);
                    Ok(Err(Status::timeout("request did not complete within the allotted timeout", 0)))
                }),
            }
        }
    };
    let response = match outcome {
        Ok(Ok(response)) => call.end(response, None, false).await,
        Ok(Err(status)) => {
            if status.code >= 500 {
                tracing::warn!(%method, path, code = status.code, error = %status, "request failed");
            }
            let plain = unrouted::answer(&call.state().resources, &path, &status);
            let mut response = plain.unwrap_or_else(|| status.clone().into_response_in(encoding));
            if let Some(rest) = rest
                && !rest.drain().await
            {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            call.end(response, Some(status), false).await
        }
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            tracing::error!(%method, path, panic = text.unwrap_or("unknown"), "handler panicked");
            let status = Status::new(
                500,
                "InternalError",
                "This request caused apiserver to panic. Look in the logs for details.",
            );
            call.end(status.clone().into_response_in(encoding), Some(status), true).await
        }
    };
    let response = if for_people { indent::indented(response) } else { response };
    if method == Method::HEAD { without_body(response) } else { response }
}

/// hyper leaves out the body of an answer to HEAD over HTTP/1.1 only; over HTTP/2 a client takes it for an error.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(bytes) = body.size_hint().exact() {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert(bytes.into());
    }
    Response::from_parts(parts, body_from(Bytes::new()))
}

/// Whether the answer is a document of this server: no stream of them, and nothing that others wrote.
fn is_own(state: &State, info: &RequestInfo) -> bool {
    let foreign = ["/openapi/", "/openid/", "/.well-known/"].iter().any(|start| info.path.starts_with(start));
    let passed_on = info.subresource == "proxy" || state.aggregator.route(&info.path).is_some();
    info.verb != "watch" && !foreign && !passed_on
}

async fn dispatch(
    state: Arc<State>,
    info: Arc<RequestInfo>,
    request: Request,
    call: &mut Call,
) -> Result<Response, Status> {
    let (parts, mut body) = request.into_parts();
    let peer = parts.extensions.get::<PeerCertificate>().cloned();
    let requester = authn::requester(&state, &parts, peer.as_ref().map(|peer| &peer.0)).await;
    call.asked(requester.as_ref().ok(), &info, &parts);
    let mut user = requester?;
    let attributes = attributes(&info);
    if let Some(other) = authn::impersonate(&state.authorizer, &user, &attributes, &parts.headers)? {
        call.impersonates(&other);
        user = other.user;
    }
    if call.wants_body() {
        let bytes = body::collect(body).await?;
        call.body(parts.headers.get(http::header::CONTENT_TYPE), &bytes);
        body = body_from(bytes);
    }
    // Held until the answer is sent; a watch goes on without it after its initial events.
    let timeout = state.config.protection.request_timeout;
    let mut seat = if deadline::is_long_running(&info) && info.verb != "watch" {
        None
    } else {
        let width = flow::width(&state.reader, &info, parts.uri.query());
        match state.flow.admit(&user, &info, timeout, width).await {
            None => None,
            Some(admission) => {
                call.classified(admission.mark);
                match admission.seat {
                    None => {
                        call.terminated(429);
                        return Ok(flow::too_many_requests());
                    }
                    seat => seat,
                }
            }
        }
    };
    let decision = state.authorizer.authorize(&user, &attributes);
    call.authorized(&decision);
    if !decision.allowed {
        return Err(authz::denied(&user, &attributes, &decision));
    }
    let remote = state.aggregator.route(parts.uri.path());
    let mut request = Request::from_parts(parts, body);
    // What another server sees to is no work here.
    if info.verb == "watch"
        && let Some(seat) = seat.take().filter(|_| remote.is_none())
    {
        request.extensions_mut().insert(Arc::new(Held::new(seat, timeout)));
    }
    let response = if let Some(remote) = remote {
        call.passed_on();
        aggregation::serve(&state, &user, &remote, request).await
    } else if info.is_resource {
        resource::serve(state, user, info, request).await?
    } else {
        nonresource::serve(&state, &user, &info, request).await?
    };
    Ok(flow::held(response, seat, timeout))
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
        selected: equalities(&info.field_selector),
    }
}

/// Whether the method only reads.
pub fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
