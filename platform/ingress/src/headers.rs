//! Headers on their way through: what a proxy must drop, and what it tells the backend about the client.
//! Source: RFC 9110, section 7.6.1; the names are those that ingress-nginx sends.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header, request::Parts};

/// How the client reached the ingress.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub peer: SocketAddr,
    pub tls: bool,
    pub port: u16,
}

const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Brings a client's request head into the form for the backend. `upgrade` keeps what switches protocols.
pub fn prepare(parts: &mut Parts, arrival: &Arrival, upgrade: bool) {
    let upgrade = upgrade.then(|| parts.headers.get(header::UPGRADE).cloned()).flatten();
    drop_hop_by_hop(&mut parts.headers);
    if let Some(protocol) = upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    if !parts.headers.contains_key(header::HOST)
        && let Some(host) =
            parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        parts.headers.insert(header::HOST, host);
    }
    describe_client(&mut parts.headers, arrival);
    // HTTP/2 gives the whole address of a request, HTTP/1.1 backends expect its path.
    if let Some(path) = parts.uri.path_and_query().cloned() {
        parts.uri = path.into();
    }
    parts.version = Version::HTTP_11;
}

/// A client's own claims about itself are not passed on.
fn describe_client(headers: &mut HeaderMap, arrival: &Arrival) {
    let scheme = HeaderValue::from_static(if arrival.tls { "https" } else { "http" });
    if let Ok(address) = HeaderValue::from_str(&arrival.peer.ip().to_canonical().to_string()) {
        headers.insert(X_REAL_IP, address.clone());
        headers.insert(X_FORWARDED_FOR, address);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_PORT, arrival.port.into());
    headers.insert(X_FORWARDED_PROTO, scheme.clone());
    headers.insert(X_FORWARDED_SCHEME, scheme.clone());
    headers.insert(X_SCHEME, scheme);
    if !headers.contains_key(X_REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string())
    {
        headers.insert(X_REQUEST_ID, id);
    }
}

/// Also what `Connection` names.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(connection) = headers.remove(header::CONNECTION) {
        let named = connection.to_str().unwrap_or_default().split(',').map(str::trim);
        for name in named.filter(|name| !name.is_empty()) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP.iter().chain([&KEEP_ALIVE, &PROXY_CONNECTION]) {
        headers.remove(name);
    }
}

/// Whether a request wants to leave HTTP, e.g. for a WebSocket.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    let connection =
        request.headers().get(header::CONNECTION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    request.version() == Version::HTTP_11
        && request.headers().contains_key(header::UPGRADE)
        && connection.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(request: http::request::Builder, upgrade: bool) -> Parts {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let arrival = Arrival { peer: "192.0.2.7:4711".parse().unwrap(), tls: true, port: 443 };
        prepare(&mut parts, &arrival, upgrade);
        parts
    }

    #[test]
    fn a_client_cannot_claim_another_address() {
        let parts = prepared(
            Request::get("/").header("x-forwarded-for", "10.0.0.1").header("host", "a.example"),
            false,
        );
        assert_eq!(parts.headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(parts.headers["x-forwarded-proto"], "https");
        assert_eq!(parts.headers["x-forwarded-host"], "a.example");
    }

    #[test]
    fn headers_of_one_hop_stay_behind() {
        let request = Request::get("/")
            .header("connection", "close, x-mine")
            .header("x-mine", "1")
            .header("keep-alive", "5");
        let parts = prepared(request, false);
        for name in ["connection", "x-mine", "keep-alive"] {
            assert!(!parts.headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn an_upgrade_keeps_its_protocol() {
        let parts = prepared(
            Request::get("/").header("connection", "keep-alive, Upgrade").header("upgrade", "websocket"),
            true,
        );
        assert_eq!(parts.headers["connection"], "upgrade");
        assert_eq!(parts.headers["upgrade"], "websocket");
    }

    #[test]
    fn http2_requests_get_a_host_and_a_path() {
        let parts = prepared(Request::get("https://a.example/x?y=1").version(Version::HTTP_2), false);
        assert_eq!(parts.headers["host"], "a.example");
        assert_eq!(parts.uri, "/x?y=1");
    }
}
