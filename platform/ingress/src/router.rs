//! Finds the route of a host and path: the exact host, else its wildcard, then routes without a host; of the paths that match, the longest,
//! and of equally long ones the more exact. Pure.
//! Source: <https://kubernetes.io/docs/concepts/services-networking/ingress/#path-types>, and for what these leave to the
//!         implementation <https://kubernetes.github.io/ingress-nginx/user-guide/ingress-path-matching/>

use std::{collections::HashMap, sync::Arc};

use crate::{backend::Backend, paths};

/// The more exact ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathKind {
    Exact,
    /// Element by element, split at `/`.
    Prefix,
    /// Whatever begins with these characters: `ImplementationSpecific`, a location of nginx.
    Beginning,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub path: String,
    pub kind: PathKind,
    pub backend: Arc<Backend>,
    /// Plain HTTP is redirected to HTTPS.
    pub redirect: bool,
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        match self.kind {
            PathKind::Exact => self.path == path,
            PathKind::Prefix => {
                let prefix = self.path.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            PathKind::Beginning => path.starts_with(&self.path),
        }
    }

    /// How much of a path it matches. A slash at the end of a `Prefix` says nothing.
    fn length(&self) -> usize {
        match self.kind {
            PathKind::Prefix => self.path.trim_end_matches('/').len().max(1),
            PathKind::Exact | PathKind::Beginning => self.path.len(),
        }
    }
}

#[derive(Default)]
pub struct Router {
    hosts: HashMap<String, Vec<Route>>,
    /// By the part behind `*.`: one label stands for the star.
    wildcards: HashMap<String, Vec<Route>>,
    /// For any other host.
    anywhere: Vec<Route>,
}

impl Router {
    /// `host` is in lower case, `*.` in front for a wildcard, empty for any. Earlier routes win over later equal ones.
    pub fn add(&mut self, host: &str, route: Route) {
        let routes = match (host, host.strip_prefix("*.")) {
            ("", _) => &mut self.anywhere,
            (_, Some(suffix)) => self.wildcards.entry(suffix.to_string()).or_default(),
            _ => self.hosts.entry(host.to_string()).or_default(),
        };
        routes.push(route);
    }

    /// Brings the routes of each host into the order in which they are tried. Call it once after the last `add`.
    pub fn sort(&mut self) {
        let all = self.hosts.values_mut().chain(self.wildcards.values_mut()).chain([&mut self.anywhere]);
        for routes in all {
            routes.sort_by_key(|route| (std::cmp::Reverse(route.length()), route.kind));
        }
    }

    /// As clients send them: `host` may have a port and upper case letters, `path` escapes, double slashes and dots.
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        let host = without_port(host);
        // Written out to the root, it is the same name.
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find(&host.to_ascii_lowercase(), path);
        }
        let path = &*paths::normal(path);
        let wildcard = || self.wildcards.get(host.split_once('.')?.1);
        let routes = self.hosts.get(host).or_else(wildcard);
        routes.and_then(|routes| first(routes, path)).or_else(|| first(&self.anywhere, path))
    }

    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        let all = self.hosts.values().chain(self.wildcards.values()).chain([&self.anywhere]);
        all.flatten().map(|route| route.backend.as_ref())
    }
}

fn first<'a>(routes: &'a [Route], path: &str) -> Option<&'a Route> {
    routes.iter().find(|route| route.matches(path))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // An IPv6 address in brackets has colons of its own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{annotations::Settings, backend::Target};

    fn router(routes: &[(&str, &str, PathKind)]) -> Router {
        let mut router = Router::default();
        for (index, (host, path, kind)) in routes.iter().enumerate() {
            // The port tells the routes apart.
            let target = Target::Dns { host: String::new(), port: index as u16 };
            let backend = Arc::new(Backend::new(target, Settings::default()));
            router.add(host, Route { path: path.to_string(), kind: *kind, backend, redirect: false });
        }
        router.sort();
        router
    }

    fn found(router: &Router, host: &str, path: &str) -> Option<u16> {
        match router.find(host, path)?.backend.target {
            Target::Dns { port, .. } => Some(port),
            _ => None,
        }
    }

    #[test]
    fn routes_are_found_as_the_ingress_page_says() {
        use PathKind::*;
        let router = router(&[
            ("a.example", "/", Prefix),
            ("a.example", "/foo", Prefix),
            ("a.example", "/foo", Exact),
            ("*.example", "/", Prefix),
            ("", "/any", Prefix),
            ("b.example", "/aaa/bbb/", Prefix),
            ("d.example", "/foo", Beginning),
            ("d.example", "/foo/b", Beginning),
            ("d.example", "/foo/bar/", Prefix),
            ("d.example", "/foo/bar", Exact),
            ("d.example", "/", Beginning),
        ]);
        let cases = [
            ("a.example", "/", Some(0)),
            ("a.example:8080", "/x", Some(0)),
            ("a.example.", "/x", Some(0)),
            ("a.example.:8080", "/x", Some(0)),
            ("A.Example", "/x", Some(0)),
            ("a.example", "/foo", Some(2)),
            ("a.example", "/foo/", Some(1)),
            ("a.example", "/foo/bar", Some(1)),
            ("a.example", "/foobar", Some(0)),
            ("c.example", "/x", Some(3)),
            ("x.c.example", "/x", None),
            ("x.c.example", "/any/x", Some(4)),
            ("b.example", "/aaa/bbb", Some(5)),
            ("b.example", "/aaa/bbbxyz", None),
            ("example", "/", None),
            ("a.example", "/%66oo", Some(2)),
            ("a.example", "/x/../foo", Some(2)),
            ("d.example", "/foo", Some(6)),
            ("d.example", "/foobar", Some(6)),
            ("d.example", "/foo/a", Some(6)),
            ("d.example", "/foo/baz", Some(7)),
            ("d.example", "/foo/barn", Some(7)),
            ("d.example", "/foo/bar", Some(9)),
            ("d.example", "/foo/bar/x", Some(8)),
            ("d.example", "/fo", Some(10)),
        ];
        for (host, path, expected) in cases {
            assert_eq!(found(&router, host, path), expected, "{host}{path}");
        }
    }
}
