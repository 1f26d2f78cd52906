//! Paths that are no resources: discovery, OpenAPI, version, health, metrics, the list of paths.

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{reads, unrouted};
use crate::{
    aggregation, discovery, health,
    request_info::RequestInfo,
    status::Status,
    types::{Request, Response, State, UserInfo, body_from, json_response},
};

pub async fn serve(
    state: &State,
    user: &UserInfo,
    info: &RequestInfo,
    request: Request,
) -> Result<Response, Status> {
    let method = request.method().clone();
    let response = answer(state, user, info, request).await?;
    // A route of the stock server's takes GET alone.
    let refused = method == Method::HEAD && unrouted::is_routed(&state.resources, &info.path);
    if refused || !reads(&method) { Err(Status::method_not_allowed()) } else { Ok(response) }
}

async fn answer(
    state: &State,
    user: &UserInfo,
    info: &RequestInfo,
    request: Request,
) -> Result<Response, Status> {
    let path = info.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if let ["openapi", "v3", "apis", group, version] = segments[..]
        && let Some(remote) = state.aggregator.find(group, version)
        && reads(request.method())
    {
        return Ok(aggregation::openapi(state, user, &remote, request).await);
    }
    match segments[..] {
        [] => Ok(json_response(StatusCode::OK, &paths(state))),
        ["version"] => Ok(json_response(StatusCode::OK, &version())),
        ["api"] | ["apis"] | ["api", _] | ["apis", ..] => {
            discovery::serve(state, &segments, request.headers())
        }
        ["openapi", ..] => crate::openapi::serve(state, &segments[1..], &request),
        ["healthz" | "livez" | "readyz", ..] => health::serve(state, &segments, request.uri().query()),
        ["metrics"] => Ok(metrics(crate::metrics::render(state))),
        ["metrics", "slis"] => Ok(metrics(state.metrics.health.render())),
        ["debug", "api_priority_and_fairness", what] => {
            let page = state.flow.dump(what, request.uri().query());
            page.map(text).ok_or_else(Status::unknown_path)
        }
        [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"] => {
            crate::reviews::openid(state, path).ok_or_else(Status::unknown_path)
        }
        _ if segments == super::backup::PATH => super::backup::serve(state, user),
        _ => Err(Status::unknown_path()),
    }
}

pub fn text(body: String) -> Response {
    let mut response = http::Response::new(body_from(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn metrics(page: String) -> Response {
    let mut response = text(page);
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

fn paths(state: &State) -> Value {
    let mut paths: Vec<String> = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        .into_iter()
        .map(String::from)
        .collect();
    for served in state.resources.all().iter() {
        let gvk = &served.api.gvk;
        if !gvk.group.is_empty() {
            paths.push(format!("/apis/{}", gvk.group));
            paths.push(format!("/apis/{}/{}", gvk.group, gvk.version));
        }
    }
    for path in [
        "/coracle/backup",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ] {
        paths.push(path.into());
    }
    paths.extend(health::paths());
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// The Kubernetes version whose API this is.
pub const MINOR: &str = "36";

pub fn version() -> Value {
    json!({
        "major": "1",
        "minor": MINOR,
        "emulationMajor": "1",
        "emulationMinor": MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": concat!("v1.36.0+coracle.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}
