//! What a request is about, read from its method, path and query, as authorization and routing need it.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/request/requestinfo.go

use std::borrow::Cow;

use http::Method;

use crate::options::is_true;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create` …; the lower-case method for non-resource paths.
    pub verb: String,
    pub is_resource: bool,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub path: String,
    /// What follows the subresource (`proxy` paths).
    pub rest: String,
    /// Of what is read or deleted many at a time.
    pub field_selector: String,
}

const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Decodes `%xx`.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

/// The values of a query string, in order.
pub fn query_pairs(query: Option<&str>) -> Vec<(String, String)> {
    query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode(&text.replace('+', " ")).into_owned();
            (decode(key), decode(value))
        })
        .collect()
}

fn query_value(query: &[(String, String)], key: &str) -> Option<String> {
    query.iter().find(|(own, _)| own == key).map(|(_, value)| value.clone())
}

impl RequestInfo {
    pub fn parse(method: &Method, uri: &http::Uri) -> RequestInfo {
        let query = query_pairs(uri.query());
        let path = uri.path();
        let mut info = RequestInfo {
            path: percent_decode(path).into_owned(),
            verb: method.as_str().to_ascii_lowercase(),
            ..RequestInfo::default()
        };
        let segments: Vec<Cow<'_, str>> =
            path.split('/').filter(|segment| !segment.is_empty()).map(percent_decode).collect();
        let mut segments: &[Cow<'_, str>] = &segments;
        match segments {
            [api, version, rest @ ..] if api == "api" && !rest.is_empty() => {
                info.version = version.to_string();
                segments = rest;
            }
            [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
                info.group = group.to_string();
                info.version = version.to_string();
                segments = rest;
            }
            _ => return info,
        }
        info.is_resource = true;
        let mut watch_prefix = false;
        if segments.len() > 1 && segments[0] == "watch" {
            watch_prefix = true;
            segments = &segments[1..];
        }
        info.take_segments(segments);
        info.verb = verb_of(method, &info.name, &query);
        if watch_prefix && info.verb != "delete" {
            info.verb = "watch".into();
        }
        if matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
            info.field_selector = query_value(&query, "fieldSelector").unwrap_or_default();
            if info.name.is_empty() {
                info.name = name_of(&info.field_selector);
            }
        }
        info
    }

    fn take_segments(&mut self, segments: &[Cow<'_, str>]) {
        let mut segments = segments;
        if segments[0] == "namespaces" && segments.len() > 1 {
            self.namespace = segments[1].to_string();
            // `/namespaces/NS` and its own subresources are about the Namespace; longer paths are inside of it.
            if segments.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&&*segments[2]) {
                segments = &segments[2..];
            }
        }
        let mut next = segments.iter().map(|segment| segment.to_string());
        self.resource = next.next().unwrap_or_default();
        self.name = next.next().unwrap_or_default();
        self.subresource = next.next().unwrap_or_default();
        self.rest = next.collect::<Vec<_>>().join("/");
    }

    /// The namespace that objects of the resource live in: a Namespace's own path carries its name there.
    pub fn object_namespace(&self) -> &str {
        if self.resource == "namespaces" && self.group.is_empty() { "" } else { &self.namespace }
    }
}

fn verb_of(method: &Method, name: &str, query: &[(String, String)]) -> String {
    let watch = query_value(query, "watch").is_some_and(|text| is_true(&text));
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD if !name.is_empty() => "get",
        Method::GET | Method::HEAD if watch => "watch",
        Method::GET | Method::HEAD => "list",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
    .into()
}

fn name_of(field_selector: &str) -> String {
    field_selector
        .split(',')
        .find_map(|term| {
            term.strip_prefix("metadata.name=").map(|name| name.trim_start_matches('=').to_owned())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_read_as_the_stock_server_reads_them() {
        let rows = [
            ("GET", "/api/v1/namespaces", "list | namespaces |  |  | "),
            ("GET", "/api/v1/namespaces/a", "get | namespaces | a | a | "),
            ("PUT", "/api/v1/namespaces/a/finalize", "update | namespaces | a | a | finalize"),
            ("GET", "/api/v1/namespaces/a/pods?watch=1", "watch | pods | a |  | "),
            ("GET", "/api/v1/namespaces/a/pods?watch=yes", "watch | pods | a |  | "),
            ("GET", "/api/v1/namespaces/a/pods?watch", "watch | pods | a |  | "),
            ("GET", "/api/v1/namespaces/a/pods?watch=False", "list | pods | a |  | "),
            ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list | pods |  | x | "),
            ("POST", "/apis/apps/v1/namespaces/a/deployments", "create | deployments | a |  | "),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "patch | deployments | a | b | scale",
            ),
            ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection | pods | a |  | "),
            ("GET", "/api/v1/watch/namespaces/a/pods", "watch | pods | a |  | "),
            (
                "GET",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "get | clusterroles |  | system:node | ",
            ),
        ];
        for (method, path, expected) in rows {
            let info = RequestInfo::parse(&method.parse().expect("method"), &path.parse().expect("uri"));
            let seen =
                [&*info.verb, &info.resource, &info.namespace, &info.name, &info.subresource].join(" | ");
            assert_eq!(seen, expected, "{method} {path}");
        }
        let info = RequestInfo::parse(&Method::GET, &"/version".parse().expect("uri"));
        assert!(!info.is_resource);
    }
}
