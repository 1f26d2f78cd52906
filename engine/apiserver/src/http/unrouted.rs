//! Which paths and methods the stock server has routes for. Its router answers for those in JSON; what is under none of
//! its roots gets the words of Go's HTTP library.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/apiserver/pkg/server/handler.go
//!         (`director`), …/pkg/util/notfoundhandler/not_found_handler.go (JSON for all of them only came later) and
//!         https://github.com/emicklei/go-restful/blob/v3/jsr311.go (a route has one method, HEAD is not GET)

use http::StatusCode;

use super::nonresource::text;
use crate::{registry::Resources, status::Status, types::Response};

/// Besides those of the API's own groups.
const ROOTS: [&str; 4] = ["/api", "/version", "/openid/v1/jwks", "/.well-known/openid-configuration"];

/// The answer to a path that is not served, when it is not JSON.
pub fn answer(resources: &Resources, path: &str, status: &Status) -> Option<Response> {
    if !status.is_unknown_path() || is_routed(resources, path) {
        return None;
    }
    let mut response = text("404 page not found\n".into());
    *response.status_mut() = StatusCode::NOT_FOUND;
    Some(response)
}

/// Below a root of the router.
pub fn is_routed(resources: &Resources, path: &str) -> bool {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let group = path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next());
    ROOTS.into_iter().any(below) || group.is_some_and(|group| resources.is_builtin_group(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apis_own_groups_are_routed_and_custom_ones_are_not() {
        let resources = Resources::new(coracle_schema::Registry::builtin());
        for (path, routed) in [
            ("/api", true),
            ("/api/v1/nothings", true),
            ("/api/v7", true),
            ("/apis", false),
            ("/apis/apps/v7/x", true),
            ("/apis/apps", true),
            ("/apis/apps.x", false),
            ("/apis/unknown.group/v1", false),
            ("/version/x", true),
            ("/versions", false),
            ("/foo", false),
            ("/healthz/foo", false),
            ("/metrics/foo", false),
        ] {
            assert_eq!(is_routed(&resources, path), routed, "{path}");
        }
    }
}
