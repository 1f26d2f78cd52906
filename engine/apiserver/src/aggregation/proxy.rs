//! Passes a request for an aggregated group on.
//!
//! Source: https://github.com/kubernetes/kube-aggregator/blob/master/pkg/apiserver/handler_proxy.go

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Remote;
use crate::{
    outbound::{
        Peer,
        forward::{Route, forward},
    },
    types::{Request, Response, State, UserInfo, body_from},
};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");

pub async fn serve(state: &State, user: &UserInfo, remote: &Remote, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    pass(state, user, remote, path, request).await
}

/// Its `/openapi/v3` document.
pub async fn openapi(state: &State, user: &UserInfo, remote: &Remote, request: Request) -> Response {
    pass(state, user, remote, format!("/openapi/v3{}", remote.path()), request).await
}

async fn pass(state: &State, user: &UserInfo, remote: &Remote, path: String, request: Request) -> Response {
    if !remote.available {
        return unavailable("service unavailable");
    }
    let mut headers = HeaderMap::new();
    identify(user, &mut headers);
    let route = Route {
        peer: Peer { trust: remote.trust.clone(), front_proxy: true },
        base: remote.base(),
        path,
        prefix: String::new(),
        own_host: true,
        refuse_redirects: true,
        headers,
    };
    match forward(&state.outbound, &state.stop, route, request).await {
        Ok(response) => response,
        Err(error) => unavailable(&format!("error trying to reach service: {error}")),
    }
}

/// Says who asks.
pub fn identify(user: &UserInfo, headers: &mut HeaderMap) {
    let mut add = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.append(name, value);
        }
    };
    add(USER, &user.name);
    if !user.uid.is_empty() {
        add(UID, &user.uid);
    }
    for group in &user.groups {
        add(GROUP, group);
    }
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", escaped(key));
        if let Ok(name) = HeaderName::try_from(name) {
            values.iter().for_each(|value| add(name.clone(), value));
        }
    }
}

/// A key as a part of a header's name: what is no letter, digit or one of a few signs becomes `%xx`.
fn escaped(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if plain(byte) { out.push(char::from(byte)) } else { out.push_str(&format!("%{byte:02X}")) }
    }
    out.to_ascii_lowercase()
}

/// As Go's `http.Error` writes it.
fn unavailable(text: &str) -> Response {
    let mut response = Response::new(body_from(format!("{text}\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_said_in_headers() {
        let user = UserInfo {
            name: "jane".into(),
            uid: "42".into(),
            groups: vec!["devs".into(), "system:authenticated".into()],
            extra: [("example.com/Team x".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
        };
        let mut headers = HeaderMap::new();
        identify(&user, &mut headers);
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "x-remote-extra-example.com%2fteam%20x: a",
                "x-remote-extra-example.com%2fteam%20x: b",
                "x-remote-group: devs",
                "x-remote-group: system:authenticated",
                "x-remote-uid: 42",
                "x-remote-user: jane",
            ]
        );
    }
}
