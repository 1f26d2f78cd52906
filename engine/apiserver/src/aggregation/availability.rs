//! Whether an APIService can be used: its Service, its endpoints, its answer.
//!
//! Source: https://github.com/kubernetes/kube-aggregator/blob/master/pkg/controllers/status/remote/remote_available_controller.go

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::{Remote, proxy};
use crate::{
    outbound::{Peer, resolve},
    types::{State, UserInfo, body_from},
};

const PATIENCE: Duration = Duration::from_secs(5);
const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// The condition `Available`.
pub struct Verdict {
    pub available: bool,
    pub reason: &'static str,
    pub message: String,
    /// What the server says that it serves.
    pub resources: Option<Arc<Value>>,
    /// The same as its aggregated discovery tells it; absent when it has none.
    pub discovery: Option<Arc<Value>>,
    /// Its part of its `/openapi/v2`; absent when it has none, which is no reason against it.
    pub openapi: Option<Bytes>,
}

fn unavailable(reason: &'static str, message: String) -> Verdict {
    Verdict { available: false, reason, message, resources: None, discovery: None, openapi: None }
}

pub const LOCAL: (&str, &str) = ("Local", "Local APIServices are always available");

pub async fn check(state: &State, remote: &Remote) -> Verdict {
    if let Some(verdict) = check_service(state, remote) {
        return verdict;
    }
    let url = format!("{}{}", remote.base(), remote.path());
    let failed = |why: String| unavailable("FailedDiscoveryCheck", why);
    match tokio::time::timeout(PATIENCE, ask(state, remote, &url, "application/json")).await {
        Ok(Ok(resources)) => {
            let (openapi, discovery) = tokio::join!(openapi(state, remote), discovery(state, remote));
            Verdict {
                openapi,
                discovery,
                available: true,
                reason: "Passed",
                message: "all checks passed".into(),
                resources: Some(Arc::new(resources)),
            }
        }
        Ok(Err(why)) => failed(format!("failing or missing response from {url}: {why}")),
        Err(_) => failed(format!(
            "failing or missing response from {url}: Get \"{url}\": context deadline exceeded"
        )),
    }
}

/// Servers without it answer with what they have.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

async fn discovery(state: &State, remote: &Remote) -> Option<Arc<Value>> {
    let url = format!("{}/apis", remote.base());
    let asked = ask(state, remote, &url, AGGREGATED);
    let mut document = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    if document["kind"] != "APIGroupDiscoveryList" {
        return None;
    }
    let groups = document["items"].as_array_mut()?;
    let group = groups.iter_mut().find(|group| group["metadata"]["name"] == *remote.group)?;
    let mut versions = group["versions"].as_array_mut()?.iter_mut();
    versions.find(|one| one["version"] == *remote.version).map(|found| Arc::new(found.take()))
}

async fn openapi(state: &State, remote: &Remote) -> Option<Bytes> {
    let url = format!("{}/openapi/v2", remote.base());
    let document = tokio::time::timeout(PATIENCE, ask(state, remote, &url, "application/json")).await;
    match document {
        Ok(Ok(document)) => {
            let own = crate::openapi::only_of(document, &remote.path())?;
            serde_json::to_vec(&own).map(Bytes::from).ok()
        }
        Ok(Err(error)) => {
            tracing::debug!(api_service = remote.name, error, "no OpenAPI v2 document");
            None
        }
        Err(_) => None,
    }
}

/// What the store knows against it.
fn check_service(state: &State, remote: &Remote) -> Option<Verdict> {
    let place = format!("service/{} in {:?}", remote.service, remote.namespace);
    let Some(service) = resolve::service(&state.reader, &remote.namespace, &remote.service) else {
        return Some(unavailable("ServiceNotFound", format!("{place} is not present")));
    };
    if service["spec"]["type"] == "ExternalName" {
        return None;
    }
    let Some(port) = resolve::port_name(&service, remote.port) else {
        let why = format!("{place} is not listening on port {}", remote.port);
        return Some(unavailable("ServicePortError", why));
    };
    if resolve::slices(&state.reader, &remote.namespace, &remote.service).is_empty() {
        return Some(unavailable("EndpointsNotFound", format!("cannot find endpointslices for {place}")));
    }
    if resolve::ready(&state.reader, &remote.namespace, &remote.service, &port).is_empty() {
        let why = format!("endpoints for {place} have no addresses with port name {port:?}");
        return Some(unavailable("MissingEndpoints", why));
    }
    None
}

/// A document of the server, in JSON.
async fn ask(state: &State, remote: &Remote, url: &str, accept: &'static str) -> Result<Value, String> {
    let mut request = Request::new(body_from(""));
    *request.uri_mut() = url.parse().map_err(|error| format!("parse {url:?}: {error}"))?;
    let aggregator = UserInfo {
        name: "system:kube-aggregator".into(),
        groups: vec!["system:masters".into()],
        ..UserInfo::default()
    };
    let mut headers = HeaderMap::new();
    proxy::identify(&aggregator, &mut headers);
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    *request.headers_mut() = headers;
    let peer = Peer { trust: remote.trust.clone(), front_proxy: true };
    let response = state.outbound.send(&peer, request).await;
    let response = response.map_err(|error| format!("Get {url:?}: {error}"))?;
    let code = response.status();
    if !code.is_success() {
        return Err(format!("bad status from {url}: {}", code.as_u16()));
    }
    let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await;
    let bytes = body.map_err(|error| format!("read {url}: {error}"))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| format!("decode {url}: {error}"))
}
