//! Headers on their way through: what a proxy must drop, and what it tells the backend about the client.
//! Source: RFC 9110, section 7.6.1; the names are those that ingress-nginx sends.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header, request::Parts,
    uri::PathAndQuery,
};
use http_body::Body;

use crate::request_id;

/// How the client reached the ingress; one for all requests of a connection.
pub struct Arrival {
    pub tls: bool,
    peer: HeaderValue,
    port: HeaderValue,
}

impl Arrival {
    pub fn new(peer: SocketAddr, tls: bool, port: u16) -> Arrival {
        let peer = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
        Arrival { tls, peer: peer.unwrap_or(HeaderValue::from_static("unknown")), port: port.into() }
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

static HOP_BY_HOP: [HeaderName; 6] = [
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
];

/// `Expect` is answered here, when the body is first read. `Proxy` misleads CGI programs (CVE-2016-5385).
static NOT_FOR_BACKENDS: [HeaderName; 4] = [header::EXPECT, header::TE, HTTP2_SETTINGS, PROXY];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is answered at once: methods that a proxy must not pass on, and requests that two readers may understand
/// differently.
/// Source: RFC 9112, sections 3.2 and 6.3; nginx answers `TRACE` and `CONNECT` the same way.
pub fn refusal<B: Body>(request: &Request<B>) -> Option<StatusCode> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    let lacks_host = host.is_none() && request.version() == Version::HTTP_11;
    let announces_more = || {
        let length = request.headers().get(header::CONTENT_LENGTH);
        length.is_some_and(|length| length != "0") && request.body().is_end_stream()
    };
    (lacks_host || hosts.next().is_some() || announces_more()).then_some(StatusCode::BAD_REQUEST)
}

/// Brings a client's request head into the form for the backend. `upgrade` keeps what switches protocols.
pub fn prepare(parts: &mut Parts, arrival: &Arrival, upgrade: bool) {
    let upgrade = upgrade.then(|| parts.headers.get(header::UPGRADE).cloned()).flatten();
    drop_hop_by_hop(&mut parts.headers);
    drop_named(&mut parts.headers, &NOT_FOR_BACKENDS);
    if let Some(protocol) = upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    // Where the address names a host, that is the one which was routed: RFC 9112, section 3.2.2.
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    describe_client(&mut parts.headers, arrival);
    // HTTP/2 gives the whole address of a request, HTTP/1.1 backends expect its path.
    if parts.uri.authority().is_some() {
        parts.uri = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")).into();
    }
    parts.version = Version::HTTP_11;
}

/// A client's own claims about itself are not passed on.
fn describe_client(headers: &mut HeaderMap, arrival: &Arrival) {
    headers.reserve(9);
    let scheme = HeaderValue::from_static(if arrival.tls { "https" } else { "http" });
    if let Some(claimed) = headers.insert(X_FORWARDED_FOR, arrival.peer.clone()) {
        headers.insert(X_ORIGINAL_FORWARDED_FOR, claimed);
    }
    headers.insert(X_REAL_IP, arrival.peer.clone());
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_PORT, arrival.port.clone());
    headers.insert(X_FORWARDED_PROTO, scheme.clone());
    headers.insert(X_FORWARDED_SCHEME, scheme.clone());
    headers.insert(X_SCHEME, scheme);
    headers.entry(X_REQUEST_ID).or_insert_with(request_id::make);
}

/// Also what `Connection` names, but for what tells where a message goes and ends.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if contains(headers, &header::CONNECTION) {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let options = values.flat_map(|value| value.split(',')).map(str::trim);
        let named: Vec<HeaderName> = options
            .filter(|option| !["keep-alive", "close", "upgrade"].contains(option))
            .filter_map(|option| option.parse().ok())
            .collect();
        for name in named.iter().filter(|name| ![header::HOST, header::CONTENT_LENGTH].contains(name)) {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    drop_named(headers, &HOP_BY_HOP);
}

fn drop_named(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if contains(headers, name) {
            headers.remove(name);
        }
    }
}

/// Most messages have few headers, and none of those asked for: to look at all names is cheaper than to hash one.
fn contains(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|known| known == name)
}

/// Whether a request wants to leave HTTP, e.g. for a WebSocket. HTTP/2 behind the proxy's back is not offered: requests
/// on such a connection would not be seen here.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    let Some(protocol) = request.headers().get(header::UPGRADE) else { return false };
    let mut options =
        request.headers().get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    request.version() == Version::HTTP_11
        && !protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2c")
        && options.any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(request: http::request::Builder, upgrade: bool) -> Parts {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let arrival = Arrival::new("192.0.2.7:4711".parse().unwrap(), true, 443);
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
            .header("host", "a.example")
            .header("connection", "close, x-mine")
            .header("connection", "x-second, host")
            .header("x-mine", "1")
            .header("x-second", "1")
            .header("keep-alive", "5")
            .header("expect", "100-continue")
            .header("te", "trailers");
        let parts = prepared(request, false);
        for name in ["connection", "x-mine", "x-second", "keep-alive", "expect", "te"] {
            assert!(!parts.headers.contains_key(name), "{name}");
        }
        assert_eq!(parts.headers["host"], "a.example");
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
    fn the_host_of_the_address_wins() {
        let parts = prepared(Request::get("http://a.example/x").header("host", "b.example"), false);
        assert_eq!(parts.headers["host"], "a.example");
        assert_eq!(parts.uri, "/x");
    }

    #[test]
    fn requests_that_mislead_are_refused() {
        let refused = |request: http::request::Builder| {
            refusal(&request.body(http_body_util::Empty::<&[u8]>::new()).unwrap())
                .map(|status| status.as_u16())
        };
        let get = || Request::get("/").header("host", "a.example");
        assert_eq!(refused(get()), None);
        assert_eq!(refused(get().header("host", "b.example")), Some(400));
        assert_eq!(refused(get().header("content-length", "5")), Some(400));
        assert_eq!(refused(Request::get("/")), Some(400));
        assert_eq!(refused(Request::get("/").version(Version::HTTP_10)), None);
        assert_eq!(refused(get().method("TRACE")), Some(405));
    }

    #[test]
    fn http2_is_not_an_upgrade() {
        let asks = |protocol| {
            is_upgrade(
                &Request::get("/")
                    .header("connection", "upgrade")
                    .header("upgrade", protocol)
                    .body(())
                    .unwrap(),
            )
        };
        assert!(asks("websocket") && !asks("h2c"));
    }

    #[test]
    fn http2_requests_get_a_host_and_a_path() {
        let parts = prepared(Request::get("https://a.example/x?y=1").version(Version::HTTP_2), false);
        assert_eq!(parts.headers["host"], "a.example");
        assert_eq!(parts.uri, "/x?y=1");
    }
}
