//! The labels of requests, as the stock server cleans them.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/metrics/metrics.go

use crate::request_info::RequestInfo;

/// What all series of one kind of request share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub scope: &'static str,
    pub verb: &'static str,
}

/// Paths that are no resources but counted by themselves, as the label `subresource`.
const PATHS: [&str; 9] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/version",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
];

impl<'a> Labels<'a> {
    pub fn of(info: &'a RequestInfo, applies: bool) -> Labels<'a> {
        if !info.is_resource {
            let path = PATHS.into_iter().find(|path| info.path.starts_with(path)).unwrap_or_default();
            return Labels { subresource: path, verb: method_label(&info.verb), ..Labels::default() };
        }
        Labels {
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            scope: scope(info),
            verb: verb_label(&info.verb, &info.subresource, applies),
        }
    }

    /// Without what came from outside.
    pub fn anonymous(self) -> Labels<'static> {
        Labels { verb: self.verb, ..Labels::default() }
    }

    /// Nothing in it came from outside.
    pub fn is_empty(&self) -> bool {
        self.resource.is_empty()
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if !info.name.is_empty() || info.verb == "create" {
        "resource"
    } else if !info.namespace.is_empty() {
        "namespace"
    } else {
        "cluster"
    }
}

/// `verb` is that of authorization.
fn verb_label(verb: &str, subresource: &str, applies: bool) -> &'static str {
    if matches!(subresource, "exec" | "attach" | "portforward" | "proxy" | "log") {
        return "CONNECT";
    }
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" if applies => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

fn method_label(method: &str) -> &'static str {
    match method {
        "get" => "GET",
        "head" => "HEAD",
        "post" => "POST",
        "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "options" => "OPTIONS",
        _ => "other",
    }
}
