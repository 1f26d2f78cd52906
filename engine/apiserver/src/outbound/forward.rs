//! Passes a request on, and its answer back: headers, streams, upgraded connections, redirects and links.
//!
//! Kept true: who asked stays here (no credential of the client goes on); bodies are never collected, but for HTML whose
//!            links are rewritten; a tunnel ends with either side, or with the server.
//! Source:    https://github.com/kubernetes/apimachinery/tree/master/pkg/util/proxy (`upgradeaware.go`, `transport.go`)

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::{CallError, Outbound, Peer, html};
use crate::{
    http::call::PeerAddress,
    types::{Body, Request, Response, body_from},
};

/// Where a request goes and what becomes of it on the way.
pub struct Route {
    pub peer: Peer,
    /// `https://HOST:PORT`
    pub base: String,
    /// Encoded as it came; begins with a slash.
    pub path: String,
    /// What stood before `path` in the request: redirects and links are led through it again.
    pub prefix: String,
    /// Says `base`'s host instead of the one that the client named.
    pub own_host: bool,
    pub refuse_redirects: bool,
    /// Set on the request, whatever the client sent under these names.
    pub headers: HeaderMap,
}

/// Of one connection, see RFC 9110, section 7.6.1.
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What only this server may decide on.
const CORS: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const REDIRECT_REFUSED: &str = "the backend attempted to redirect this request, which is not permitted";

pub async fn forward(
    outbound: &Outbound,
    stop: &CancellationToken,
    route: Route,
    mut request: Request,
) -> Result<Response, CallError> {
    let upgrade = upgrade_of(request.headers());
    let pending = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let client_host = host_of(&request);
    let (parts, body) = request.into_parts();
    let client = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.ip().to_string());
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("{}{}{query}", route.base, route.path)
        .parse()
        .map_err(|error| CallError::Exchange(format!("parse {}: {error}", route.path)))?;
    let mut next = http::Request::new(body);
    *next.method_mut() = parts.method.clone();
    *next.headers_mut() = outgoing(parts.headers, upgrade, &route, client_host.as_ref());
    if let Some(client) = client {
        add_client(next.headers_mut(), &client);
    }
    *next.uri_mut() = uri.clone();
    let mut response = outbound.send(&route.peer, next).await?;
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(pending)) = (response.status(), pending) {
        let theirs = hyper::upgrade::on(&mut response);
        tokio::spawn(tunnel(stop.clone(), pending, theirs));
        return Ok(response.map(|_| body_from("")));
    }
    let status = response.status();
    if route.refuse_redirects && status.is_redirection() && response.headers().contains_key(header::LOCATION)
    {
        let mut refused = Response::new(body_from(REDIRECT_REFUSED));
        *refused.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(refused);
    }
    strip(response.headers_mut());
    for name in CORS {
        response.headers_mut().remove(name);
    }
    let client_host = client_host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let links = Links { base: &uri, client_host, prefix: &route.prefix };
    if let Some(location) = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok())
        && let Ok(value) = HeaderValue::from_str(&links.absolute(location))
    {
        response.headers_mut().insert(header::LOCATION, value);
        return Ok(response.map(streamed));
    }
    if !route.prefix.is_empty() && html::is_html(response.headers()) {
        return html::rewrite(response, |link| links.relative(link)).await;
    }
    Ok(response.map(streamed))
}

pub fn streamed(body: Incoming) -> Body {
    body.map_err(Into::into).boxed_unsync()
}

/// The protocol that the client wants to go on with.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked =
        connection.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    if asked { headers.get(header::UPGRADE).cloned() } else { None }
}

/// The host that the client named.
fn host_of(request: &Request) -> Option<HeaderValue> {
    let authority = || HeaderValue::from_str(request.uri().authority()?.as_str()).ok();
    request.headers().get(header::HOST).cloned().or_else(authority)
}

fn outgoing(
    mut headers: HeaderMap,
    upgrade: Option<HeaderValue>,
    route: &Route,
    client_host: Option<&HeaderValue>,
) -> HeaderMap {
    strip(&mut headers);
    let private: Vec<HeaderName> = headers.keys().filter(|name| is_private(name)).cloned().collect();
    for name in private {
        headers.remove(name);
    }
    headers.remove(header::HOST);
    if let (false, Some(host)) = (route.own_host, client_host) {
        headers.insert(header::HOST, host.clone());
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    if let Ok(value) = HeaderValue::from_str(&format!("{}{}", route.prefix, route.path)) {
        headers.insert(FORWARDED_URI, value);
    }
    for (name, value) in &route.headers {
        headers.append(name, value.clone());
    }
    headers
}

/// Adds where the request came from to what those before this server said of it.
fn add_client(headers: &mut HeaderMap, client: &str) {
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = before.chain([client]).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Who asks, and as whom.
fn is_private(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == "authorization" || name.starts_with("impersonate-") || name.starts_with("x-remote-")
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    for name in HOP.into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

async fn tunnel(stop: CancellationToken, ours: OnUpgrade, theirs: OnUpgrade) {
    let (ours, theirs) = match tokio::try_join!(ours, theirs) {
        Ok((ours, theirs)) => (ours, theirs),
        Err(error) => return tracing::debug!(%error, "upgrade did not come about"),
    };
    let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
    let copying = tokio::io::copy_bidirectional(&mut ours, &mut theirs);
    if let Some(Err(error)) = stop.run_until_cancelled(copying).await {
        tracing::debug!(%error, "tunnel ended");
    }
}

/// Leads what an answer refers to through the proxy path again.
struct Links<'a> {
    /// What was asked.
    base: &'a Uri,
    client_host: &'a str,
    prefix: &'a str,
}

impl Links<'_> {
    /// A `Location`: made absolute before it is rewritten.
    fn absolute(&self, link: &str) -> String {
        let is_whole = link.contains("://") || link.starts_with("//");
        if is_whole || link.starts_with('/') {
            return self.relative(link);
        }
        let path = self.base.path();
        let directory = &path[..=path.rfind('/').unwrap_or_default()];
        match link.strip_prefix('?') {
            Some(query) => self.relative(&format!("{path}?{query}")),
            None => self.relative(&normal(&format!("{directory}{link}"))),
        }
    }

    /// Only paths from the root are changed: those on another host, and those beside the document, lead there as they are.
    fn relative(&self, link: &str) -> String {
        let (host, path) = match link.split_once("//") {
            Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => {
                let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                (&rest[..at], &rest[at..])
            }
            _ => ("", link),
        };
        let own = self.base.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let elsewhere = !host.is_empty() && host != own && host != self.client_host;
        if elsewhere || !path.starts_with('/') {
            return link.to_owned();
        }
        let kept = if host == self.client_host { &link[..link.len() - path.len()] } else { "" };
        if !self.prefix.is_empty() && path.starts_with(self.prefix) {
            return format!("{kept}{path}");
        }
        format!("{kept}{}{path}", self.prefix)
    }
}

/// Without `.` and `..` segments.
fn normal(link: &str) -> String {
    let at = link.find(['?', '#']).unwrap_or(link.len());
    let (path, rest) = link.split_at(at);
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("/{}{rest}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_through_the_proxy_path_again() {
        let base: Uri = "http://10.0.0.1:80/a/b".parse().expect("uri");
        let links = Links { base: &base, client_host: "localhost:8001", prefix: "/api/v1/x/proxy" };
        for (location, expected) in [
            ("/login", "/api/v1/x/proxy/login"),
            ("/login/?next=/", "/api/v1/x/proxy/login/?next=/"),
            ("c", "/api/v1/x/proxy/a/c"),
            ("../c", "/api/v1/x/proxy/c"),
            ("?page=2", "/api/v1/x/proxy/a/b?page=2"),
            ("http://10.0.0.1:80/c", "/api/v1/x/proxy/c"),
            ("http://localhost:8001/c", "http://localhost:8001/api/v1/x/proxy/c"),
            ("https://example.com/c", "https://example.com/c"),
            ("/api/v1/x/proxy/c", "/api/v1/x/proxy/c"),
        ] {
            assert_eq!(links.absolute(location), expected, "{location}");
        }
        assert_eq!(links.relative("c.html"), "c.html");
    }

    #[test]
    fn headers_of_the_connection_and_of_the_client_stay_here() {
        let route = Route {
            peer: Peer { trust: super::super::Trust::Anyone, front_proxy: false },
            base: "http://10.0.0.1:80".into(),
            path: "/x".into(),
            prefix: "/p".into(),
            own_host: false,
            refuse_redirects: false,
            headers: HeaderMap::new(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "x"),
            ("x-remote-user", "root"),
            ("connection", "upgrade, x-mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("accept", "text/html"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let out = outgoing(headers, None, &route, Some(&HeaderValue::from_static("here")));
        let mut names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "host", "x-forwarded-uri"]);
        assert_eq!(out["x-forwarded-uri"], "/p/x");
        let mut passed = HeaderMap::new();
        add_client(&mut passed, "10.42.0.2");
        add_client(&mut passed, "192.168.1.9");
        assert_eq!(passed[FORWARDED_FOR], "10.42.0.2, 192.168.1.9");
    }
}
