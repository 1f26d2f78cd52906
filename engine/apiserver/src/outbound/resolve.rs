//! From a Service and a port to the endpoints behind it, as the store knows them.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/util/proxy/proxy.go (texts) and
//! https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/

use std::net::{IpAddr, SocketAddr};

use coracle_store::{Key, Object, Reader, Scope};
use serde_json::Value;

use crate::{registry::store_resource, verbs};

/// Where a Service is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    Addresses(Vec<SocketAddr>),
    /// `type: ExternalName`
    Name(String, u16),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("service \"{0}\" not found")]
    NotFound(String),
    #[error("no service port {port} found for service \"{service}\"")]
    NoPort { service: String, port: u16 },
    #[error("no endpoints available for service \"{0}\"")]
    NoEndpoints(String),
}

pub fn service(reader: &Reader, namespace: &str, name: &str) -> Option<Value> {
    let key = Key::new(store_resource("", "services"), namespace, name);
    verbs::decode(&*reader.get(&key)?).ok()
}

pub fn resolve(reader: &Reader, namespace: &str, name: &str, port: u16) -> Result<Place, ResolveError> {
    let service = service(reader, namespace, name).ok_or_else(|| ResolveError::NotFound(name.to_owned()))?;
    if service["spec"]["type"] == "ExternalName" {
        let external = service["spec"]["externalName"].as_str().unwrap_or_default();
        return Ok(Place::Name(external.to_owned(), port));
    }
    let port_name =
        port_name(&service, port).ok_or_else(|| ResolveError::NoPort { service: name.to_owned(), port })?;
    let endpoints = ready(reader, namespace, name, &port_name);
    if endpoints.is_empty() {
        return Err(ResolveError::NoEndpoints(name.to_owned()));
    }
    Ok(Place::Addresses(endpoints.into_iter().map(|endpoint| endpoint.address).collect()))
}

/// The name of the Service's port with this number.
pub fn port_name(service: &Value, port: u16) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let own = ports.iter().find(|own| own["port"] == port)?;
    Some(own["name"].as_str().unwrap_or_default().to_owned())
}

pub struct Endpoint {
    pub address: SocketAddr,
    /// The Pod behind it: namespace and name.
    pub pod: Option<(String, String)>,
}

/// The slices of a Service.
pub fn slices(reader: &Reader, namespace: &str, name: &str) -> Vec<Value> {
    let resource = store_resource("discovery.k8s.io", "endpointslices");
    let snapshot = reader.snapshot();
    let own = |slice: &&std::sync::Arc<Object>| slice.meta.label("kubernetes.io/service-name") == Some(name);
    let all = snapshot.list(&Scope::namespace(resource, namespace)).filter(own);
    all.filter_map(|slice| verbs::decode(slice).ok()).collect()
}

/// The ready endpoints of a Service's port.
pub fn ready(reader: &Reader, namespace: &str, name: &str, port_name: &str) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for slice in slices(reader, namespace, name) {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let mut ports = ports.filter(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let port = ports.find_map(|port| u16::try_from(port["port"].as_u64()?).ok());
        let Some(port) = port else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            let address = endpoint["addresses"][0].as_str().and_then(|text| text.parse::<IpAddr>().ok());
            let Some(address) = address else { continue };
            let target = &endpoint["targetRef"];
            let pod = (target["kind"] == "Pod").then(|| {
                let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
                (text("namespace"), text("name"))
            });
            found.push(Endpoint { address: SocketAddr::new(address, port), pod });
        }
    }
    found
}
