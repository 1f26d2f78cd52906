//! Headers on their way through: what a proxy must drop, and what it tells the backend about the client.
//! Source: RFC 9110, section 7.6.1; the names are those that ingress-nginx sends.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header, request::Parts,
};
use http_body::Body;

use crate::{exchange, request_id};

/// How the client reached the ingress; one for all requests of a connection.
pub struct Arrival {
    pub tls: bool,
    /// What backends are told of it,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// and the same as HTTP/1.1 has it.
    pub lines: Vec<u8>,
}

impl Arrival {
    pub fn new(peer: SocketAddr, tls: bool, port: u16) -> Arrival {
        let peer = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
        let peer = peer.unwrap_or(HeaderValue::from_static("unknown"));
        let scheme = HeaderValue::from_static(if tls { "https" } else { "http" });
        let headers = vec![
            (X_FORWARDED_FOR, peer.clone()),
            (X_REAL_IP, peer),
            (X_FORWARDED_PORT, port.into()),
            (X_FORWARDED_PROTO, scheme.clone()),
            (X_FORWARDED_SCHEME, scheme.clone()),
            (X_SCHEME, scheme),
        ];
        let mut lines = Vec::new();
        for (name, value) in &headers {
            exchange::write_line(&mut lines, name.as_str().as_bytes(), value.as_bytes());
        }
        Arrival { tls, headers, lines }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What concerns one connection, in either direction.
pub fn is_of_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// `Expect` is answered here, when the body is first read. `Proxy` misleads CGI programs (CVE-2016-5385). The length and
/// the host are told anew, and what a client says of itself is told better.
fn is_not_for_backends(name: &str) -> bool {
    matches!(
        name,
        "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "proxy"
            | "te"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-forwarded-scheme"
            | "x-original-forwarded-for"
            | "x-real-ip"
            | "x-scheme"
    )
}

/// What must not come after a body, as it says how to read it, or who may.
/// Source: RFC 9110, section 6.5.1.
pub fn shapes_message(name: &str) -> bool {
    let is_late = matches!(
        name,
        "authorization"
            | "cache-control"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "expect"
            | "host"
            | "max-forwards"
            | "set-cookie"
            | "te"
            | "trailer"
    );
    is_late || is_of_one_hop(name)
}

/// The options in a value of `Connection`.
pub fn options(value: &[u8]) -> impl Iterator<Item = &str> {
    value.split(|byte| *byte == b',').filter_map(|option| std::str::from_utf8(option.trim_ascii()).ok())
}

/// The header that an option names, as one that stays behind: never one that tells where a message goes and ends.
pub fn named(option: &str) -> Option<HeaderName> {
    let stays = ["keep-alive", "close", "upgrade", "host", "content-length"];
    let is_name = !stays.iter().any(|known| option.eq_ignore_ascii_case(known));
    is_name.then(|| option.parse().ok()).flatten()
}

/// What is answered at once: methods that a proxy must not pass on, and requests that two readers may understand
/// differently.
/// Source: RFC 9112, sections 3.2 and 6.3; nginx answers `TRACE` and `CONNECT` the same way.
pub fn refusal<B: Body>(request: &Request<B>) -> Option<StatusCode> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    // hyper takes off `chunked`, and any other coding would be lost with the header.
    let is_unknown = |coding: &HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if contains(request.headers(), &header::TRANSFER_ENCODING)
        && request.headers().get_all(header::TRANSFER_ENCODING).iter().any(is_unknown)
    {
        return Some(StatusCode::NOT_IMPLEMENTED);
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

/// The head of a client's request in the form for the backend. Borrowed, so that a request can be sent again.
pub struct Forwarded<'a> {
    pub parts: &'a Parts,
    pub arrival: &'a Arrival,
    /// It asks for a switch of protocols, and may get it.
    pub upgrade: bool,
}

impl Forwarded<'_> {
    /// HTTP/2 gives the whole address of a request, HTTP/1.1 backends expect its path.
    pub fn target(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// All headers but those of the arrival, and those that frame the body. One with an underscore stays behind, as nginx
    /// has it by default: CGI's rules make the same variable of `x_user` and of `x-user`, which a proxy may vouch for.
    pub fn each(&self, mut put: impl FnMut(&HeaderName, &HeaderValue)) {
        let headers = &self.parts.headers;
        // Where the address names a host, that is the one which was routed: RFC 9112, section 3.2.2.
        let authority = self.parts.uri.authority();
        let authority = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        if let Some(host) = authority.as_ref().or_else(|| headers.get(header::HOST)) {
            put(&header::HOST, host);
            put(&X_FORWARDED_HOST, host);
        }
        let one_hop = self.named_in_connection();
        let (mut has_id, mut cookies) = (false, Vec::new());
        for (name, value) in headers {
            if *name == X_FORWARDED_FOR {
                put(&X_ORIGINAL_FORWARDED_FOR, value);
            } else if *name == header::COOKIE {
                cookies.push(value);
            } else if !name.as_str().as_bytes().contains(&b'_')
                && !is_of_one_hop(name.as_str())
                && !is_not_for_backends(name.as_str())
                && !one_hop.contains(name)
            {
                has_id |= *name == X_REQUEST_ID;
                put(name, value);
            }
        }
        match *cookies {
            [] => {}
            [cookie] => put(&header::COOKIE, cookie),
            // Clients may split it on HTTP/2, but backends take one: RFC 9113, section 8.2.3.
            _ => {
                let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
                if let Ok(cookie) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
                    put(&header::COOKIE, &cookie);
                }
            }
        }
        if !has_id {
            put(&X_REQUEST_ID, &request_id::make());
        }
        if self.upgrade
            && let Some(protocol) = headers.get(header::UPGRADE)
        {
            put(&header::CONNECTION, &HeaderValue::from_static("upgrade"));
            put(&header::UPGRADE, protocol);
        }
    }

    fn named_in_connection(&self) -> Vec<HeaderName> {
        let headers = &self.parts.headers;
        if !contains(headers, &header::CONNECTION) {
            return Vec::new();
        }
        let values = headers.get_all(header::CONNECTION).iter();
        values.flat_map(|value| options(value.as_bytes())).filter_map(named).collect()
    }
}

/// Of an answer over HTTP/2, where none of it has a meaning.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let known: Vec<HeaderName> =
        headers.keys().filter(|name| is_of_one_hop(name.as_str())).cloned().collect();
    for name in known {
        headers.remove(name);
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

    /// `name: value` a line, as the backend gets it, behind the address.
    fn forwarded(request: http::request::Builder, upgrade: bool) -> String {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let arrival = Arrival::new("192.0.2.7:4711".parse().unwrap(), true, 443);
        let forwarded = Forwarded { parts: &parts, arrival: &arrival, upgrade };
        let mut lines = format!("{}\n", forwarded.target());
        forwarded.each(|name, value| lines += &format!("{name}: {}\n", value.to_str().unwrap()));
        lines + &String::from_utf8_lossy(&arrival.lines).replace("\r\n", "\n")
    }

    #[test]
    fn a_client_cannot_claim_another_address() {
        let request = ["x-forwarded-for", "x-real-ip", "x-original-forwarded-for", "x-forwarded-proto"]
            .into_iter()
            .fold(Request::get("/"), |request, name| request.header(name, "10.0.0.1"));
        let seen = forwarded(request.header("host", "a.example"), false);
        let addresses: Vec<_> = seen.lines().filter(|line| line.contains("10.0.0.1")).collect();
        assert_eq!(addresses, ["x-original-forwarded-for: 10.0.0.1"]);
        for line in [
            "x-forwarded-for: 192.0.2.7",
            "x-real-ip: 192.0.2.7",
            "x-forwarded-proto: https",
            "x-forwarded-port: 443",
            "x-forwarded-host: a.example",
        ] {
            assert!(seen.lines().any(|seen| seen == line), "{line} in {seen}");
        }
    }

    #[test]
    fn headers_of_one_hop_stay_behind() {
        let request = Request::get("/")
            .header("host", "a.example")
            .header("connection", "close, X-Mine")
            .header("connection", "x-second, host")
            .header("x-mine", "1")
            .header("x-second", "1")
            .header("keep-alive", "5")
            .header("expect", "100-continue")
            .header("te", "trailers");
        let seen = forwarded(request, false);
        for name in ["connection", "x-mine", "x-second", "keep-alive", "expect", "te"] {
            assert!(!seen.lines().any(|line| line.starts_with(&format!("{name}:"))), "{name} in {seen}");
        }
        assert!(seen.contains("\nhost: a.example\n"), "{seen}");
    }

    #[test]
    fn names_with_underscores_stay_behind() {
        let request = Request::get("/").header("host", "a.example").header("x_user", "root");
        assert!(!forwarded(request, false).contains("root"));
    }

    #[test]
    fn an_upgrade_keeps_its_protocol() {
        let request =
            || Request::get("/").header("connection", "keep-alive, Upgrade").header("upgrade", "websocket");
        let seen = forwarded(request(), true);
        assert!(seen.contains("\nconnection: upgrade\nupgrade: websocket\n"), "{seen}");
        assert!(!forwarded(request(), false).contains("upgrade"));
    }

    #[test]
    fn the_host_of_the_address_wins() {
        let seen = forwarded(Request::get("http://a.example/x").header("host", "b.example"), false);
        assert!(seen.starts_with("/x\nhost: a.example\n") && !seen.contains("b.example"), "{seen}");
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
        assert_eq!(refused(get().header("transfer-encoding", "gzip, chunked")), Some(501));
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
        let seen = forwarded(Request::get("https://a.example/x?y=1").version(Version::HTTP_2), false);
        assert!(seen.starts_with("/x?y=1\nhost: a.example\n"), "{seen}");
    }

    #[test]
    fn a_cookie_in_parts_is_joined() {
        let seen = forwarded(Request::get("/").header("cookie", "a=1").header("cookie", "b=2"), false);
        assert!(seen.contains("\ncookie: a=1; b=2\n"), "{seen}");
    }

    #[test]
    fn a_request_keeps_its_name() {
        let seen = forwarded(Request::get("/").header("x-request-id", "mine"), false);
        let names: Vec<_> = seen.lines().filter(|line| line.starts_with("x-request-id")).collect();
        assert_eq!(names, ["x-request-id: mine"]);
        assert!(forwarded(Request::get("/"), false).contains("\nx-request-id: "));
    }
}
