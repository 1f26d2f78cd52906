//! `pods/proxy`, `services/proxy`, `nodes/proxy`: HTTP to what runs in the cluster, with the rights of the API.
//!
//! Kept true: only addresses of the network are reached, never this machine's own loopback.
//! Reads:     Pods, Services and their EndpointSlices, Nodes.
//! Source:    https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls and
//! https://github.com/kubernetes/kubernetes/tree/master/pkg/registry/core (`ResourceLocation` of pod, service and node)

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::{
    http::reads,
    outbound::{
        Peer, Trust,
        forward::{Route, forward},
        resolve,
    },
    registry::store_resource,
    status::{GroupResource, Status, quote},
    types::{Request, Response, State, body_from},
    verbs::{self, Target},
};

/// The name in a proxy path: `NAME`, `NAME:PORT`, `SCHEME:NAME:PORT`, where the port may be empty.
#[derive(Debug, PartialEq, Eq)]
struct Id<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Id<'a> {
    fn parse(id: &'a str) -> Option<Id<'a>> {
        let (scheme, name, port) = match id.split(':').collect::<Vec<_>>()[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let good =
            !name.is_empty() && matches!(scheme, "" | "http" | "https") && (port.is_empty() || is_port(port));
        good.then_some(Id { scheme, name, port })
    }
}

/// A number, or the name of a port.
fn is_port(port: &str) -> bool {
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        return port.parse::<u16>().is_ok_and(|port| port > 0);
    }
    crate::kinds::checks::port_name_problems(port).is_empty()
}

pub async fn serve(state: &State, target: &Target, request: Request) -> Result<Response, Status> {
    let plural = &*target.served.api.plural;
    let (prefix, path) = split(request.uri().path(), if target.served.api.namespaced { 7 } else { 5 });
    let (prefix, path) = (prefix.to_owned(), path.to_owned());
    let id = Id::parse(&target.name).ok_or_else(|| {
        let kind = plural.trim_end_matches('s');
        Status::bad_request(format!("invalid {kind} request {}", quote(&target.name)))
    })?;
    let base = match plural {
        "pods" => pod(state, target, &id)?,
        "services" => service(state, target, &id)?,
        _ => node(state, &id)?,
    };
    if path.is_empty() && reads(request.method()) {
        return Ok(with_slash(&request));
    }
    let route = Route {
        peer: Peer { trust: Trust::Anyone, front_proxy: false },
        base,
        path: if path.is_empty() { "/".into() } else { path },
        prefix,
        own_host: false,
        refuse_redirects: false,
        headers: HeaderMap::new(),
    };
    forward(&state.outbound, &state.stop, route, request)
        .await
        .map_err(|error| Status::service_unavailable(format!("error trying to reach service: {error}")))
}

/// Splits a path after so many segments.
fn split(path: &str, segments: usize) -> (&str, &str) {
    let mut slashes = path.match_indices('/').map(|(at, _)| at).skip(segments);
    path.split_at(slashes.next().unwrap_or(path.len()))
}

/// Relative links of a page only work below a path that ends with a slash.
fn with_slash(request: &Request) -> Response {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(body_from(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", request.uri().path())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn location(scheme: &str, address: IpAddr, port: &str) -> String {
    let scheme = if scheme.is_empty() { "http" } else { scheme };
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    if port.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}

/// What may be reached through the proxy: Go's `IsGlobalUnicast`.
fn proxyable(address: &str) -> Result<IpAddr, Status> {
    let allowed = |address: &IpAddr| match address {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_link_local()
                || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_unicast_link_local())
        }
    };
    let address = address.parse().ok().map(|address: IpAddr| address.to_canonical()).filter(allowed);
    address.ok_or_else(|| Status::bad_request("address not allowed"))
}

fn get(state: &State, target: &Target, name: &str) -> Result<Value, Status> {
    let key = target.served.key(&target.namespace, name);
    let object = state.reader.get(&key);
    let object = object.ok_or_else(|| Status::not_found(target.served.group_resource(), name))?;
    verbs::decode(&object)
}

fn pod(state: &State, target: &Target, id: &Id<'_>) -> Result<String, Status> {
    let pod = get(state, target, id.name)?;
    let address = proxyable(pod["status"]["podIP"].as_str().unwrap_or_default())?;
    let first = || {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let port = containers.filter_map(|container| container["ports"][0]["containerPort"].as_u64()).next();
        port.map(|port| port.to_string()).unwrap_or_default()
    };
    let port = if id.port.is_empty() { first() } else { id.port.to_owned() };
    Ok(location(id.scheme, address, &port))
}

fn service(state: &State, target: &Target, id: &Id<'_>) -> Result<String, Status> {
    let service = get(state, target, id.name)?;
    let port = match id.port.parse::<u16>() {
        Ok(port) => resolve::port_name(&service, port).ok_or_else(|| {
            let why = format!("no service port {port} found for service {}", quote(id.name));
            Status::service_unavailable(why)
        })?,
        Err(_) => id.port.to_owned(),
    };
    let endpoints = resolve::ready(&state.reader, &target.namespace, id.name, &port);
    let first = usize::from(uuid::Uuid::new_v4().as_bytes()[0]);
    for turn in 0..endpoints.len() {
        let endpoint = &endpoints[(first + turn) % endpoints.len()];
        let address = endpoint.address.ip().to_string();
        if let Some((namespace, pod)) = &endpoint.pod
            && *namespace == target.namespace
            && has_address(state, namespace, pod, &address)
            && let Ok(address) = proxyable(&address)
        {
            return Ok(location(id.scheme, address, &endpoint.address.port().to_string()));
        }
    }
    let why = format!("no endpoints available for service {}", quote(&target.name));
    Err(Status::service_unavailable(why))
}

/// An endpoint is only believed when its Pod says so too.
fn has_address(state: &State, namespace: &str, name: &str, address: &str) -> bool {
    let key = coracle_store::Key::new(store_resource("", "pods"), namespace, name);
    let Some(pod) = state.reader.get(&key).and_then(|pod| verbs::decode(&pod).ok()) else { return false };
    let addresses = pod["status"]["podIPs"].as_array().into_iter().flatten();
    pod["status"]["podIP"] == address || addresses.map(|one| &one["ip"]).any(|own| own == address)
}

fn node(state: &State, id: &Id<'_>) -> Result<String, Status> {
    let key = coracle_store::Key::new(store_resource("", "nodes"), "", id.name);
    let node = state.reader.get(&key);
    let node = node.ok_or_else(|| Status::not_found(GroupResource::new("", "nodes"), id.name))?;
    let node = verbs::decode(&node)?;
    let kubelet = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().unwrap_or(10250);
    if id.port.is_empty() || id.port == kubelet.to_string() {
        let why = format!(
            "the kubelet of node {} serves no HTTP of its own, it runs inside of this server; name a port of the node, as in {}:9100",
            quote(id.name),
            id.name
        );
        return Err(Status::new(501, "NotImplemented", why));
    }
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let internal =
        addresses.filter(|one| one["type"] == "InternalIP").find_map(|one| one["address"].as_str());
    Ok(location(id.scheme, proxyable(internal.unwrap_or_default())?, id.port))
}

/// Whether the subresource takes the method: beside what discovery names, HEAD and OPTIONS pass too.
pub fn takes(method: &Method) -> bool {
    *method != Method::CONNECT && *method != Method::TRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_scheme_and_port() {
        let id = |scheme, name, port| Some(Id { scheme, name, port });
        for (text, expected) in [
            ("web", id("", "web", "")),
            ("web:80", id("", "web", "80")),
            ("web:metrics", id("", "web", "metrics")),
            ("https:web:", id("https", "web", "")),
            ("https:web:443", id("https", "web", "443")),
            ("ftp:web:21", None),
            (":80", None),
            ("web:0", None),
            ("web:70000", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(Id::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_split_behind_the_subresource() {
        for (path, segments, expected) in [
            ("/api/v1/namespaces/a/pods/b/proxy", 7, ("/api/v1/namespaces/a/pods/b/proxy", "")),
            ("/api/v1/namespaces/a/pods/b/proxy/", 7, ("/api/v1/namespaces/a/pods/b/proxy", "/")),
            ("/api/v1/nodes/n:80/proxy/x/%2f/", 5, ("/api/v1/nodes/n:80/proxy", "/x/%2f/")),
        ] {
            assert_eq!(split(path, segments), expected);
        }
    }

    #[test]
    fn this_machine_itself_is_out_of_reach() {
        for address in ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::ffff:127.0.0.1", ""]
        {
            assert_eq!(proxyable(address).expect_err(address).message, "address not allowed");
        }
        assert!(proxyable("10.42.0.7").is_ok());
    }
}
