//! The objects that routes are made of, and how a backend of an Ingress becomes addresses. Pure.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::{Endpoint, EndpointSlice},
    networking::v1::{Ingress, IngressBackend, IngressClass, ServiceBackendPort},
};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::backend::Target;

/// Set on an EndpointSlice to the Service it belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An ExternalName may point to another one; a circle ends here.
const MAX_HOPS: usize = 4;

/// Everything a table is built from, as last seen.
#[derive(Default)]
pub struct Objects {
    pub ingresses: Vec<Arc<Ingress>>,
    pub classes: Vec<Arc<IngressClass>>,
    pub services: Vec<Arc<Service>>,
    pub slices: Vec<Arc<EndpointSlice>>,
    pub secrets: Vec<Arc<Secret>>,
}

/// Services and their slices by namespace and name.
pub struct Index<'a> {
    services: HashMap<(&'a str, &'a str), &'a Service>,
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
    cluster_suffix: String,
}

impl<'a> Index<'a> {
    pub fn new(objects: &'a Objects, cluster_domain: &str) -> Index<'a> {
        let mut slices: HashMap<_, Vec<&EndpointSlice>> = HashMap::new();
        for slice in &objects.slices {
            let labels = slice.metadata.labels.as_ref();
            let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) else { continue };
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            slices.entry((namespace, service.as_str())).or_default().push(slice.as_ref());
        }
        let services = objects.services.iter().map(|service| {
            let metadata = &service.metadata;
            let key = (
                metadata.namespace.as_deref().unwrap_or_default(),
                metadata.name.as_deref().unwrap_or_default(),
            );
            (key, service.as_ref())
        });
        Index { services: services.collect(), slices, cluster_suffix: format!(".svc.{cluster_domain}") }
    }

    /// The cluster's DNS has the same name in every cluster, for the sake of older clients.
    pub fn dns(&self) -> Option<IpAddr> {
        let service = self.services.get(&("kube-system", "kube-dns"))?;
        service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
    }

    /// Where a backend in `namespace` leads.
    pub fn target(&self, namespace: &str, backend: &IngressBackend) -> Target {
        let Some(service) = &backend.service else { return Target::Absent };
        let Some(port) = &service.port else { return Target::Absent };
        self.resolve(namespace, &service.name, port, MAX_HOPS)
    }

    /// Of a target that is absent: the reason of an Event, and its message.
    pub fn why_absent(&self, namespace: &str, backend: &IngressBackend) -> (&'static str, String) {
        let Some(service) = &backend.service else {
            return ("BackendNotSupported", "a backend that is no Service has no effect".into());
        };
        let name = &service.name;
        let Some(found) = self.services.get(&(namespace, name.as_str())) else {
            return ("ServiceNotFound", format!("Service `{namespace}/{name}` does not exist"));
        };
        let spec = found.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let lacks = |wanted: &String| !ports.iter().any(|port| port.name.as_ref() == Some(wanted));
        let is_external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        if is_external && !service.port.as_ref().and_then(|port| port.name.as_ref()).is_some_and(lacks) {
            let external = spec.and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
            let message = format!("externalName `{external}` of Service `{namespace}/{name}` leads nowhere");
            return ("ServiceNotFound", message);
        }
        let port = service.port.as_ref();
        let port = port.and_then(|port| port.name.clone().or(port.number.map(|number| number.to_string())));
        let port = port.unwrap_or_default();
        ("PortNotFound", format!("Service `{namespace}/{name}` has no port `{port}`"))
    }

    fn resolve(&self, namespace: &str, name: &str, port: &ServiceBackendPort, hops: usize) -> Target {
        let Some(spec) = self.services.get(&(namespace, name)).and_then(|service| service.spec.as_ref())
        else {
            return Target::Absent;
        };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let found = ports.iter().find(|known| match (&port.name, port.number) {
            (Some(name), _) => known.name.as_ref() == Some(name),
            (None, number) => Some(known.port) == number,
        });
        if spec.type_.as_deref() == Some("ExternalName") {
            // Such a Service need not list ports: the number of the Ingress is then taken as it stands.
            let target = found.and_then(|port| match &port.target_port {
                Some(IntOrString::Int(number)) if *number != 0 => Some(*number),
                _ => None,
            });
            let number = target.or(found.map(|port| port.port)).or(port.number);
            let Some(number) = number else { return Target::Absent };
            return self.external(spec.external_name.as_deref().unwrap_or_default(), number, hops);
        }
        match found {
            Some(found) => {
                let port_name = found.name.as_deref().unwrap_or_default();
                Target::Endpoints(self.endpoints(namespace, name, |slice| port_of(slice, port_name)))
            }
            None => Target::Absent,
        }
    }

    /// The name of a Service leads to it, any other one to DNS: one outside the cluster, or a pod's of a headless Service.
    fn external(&self, host: &str, number: i32, hops: usize) -> Target {
        let host = host.trim_end_matches('.');
        // As a pod's search list completes it.
        let domain = self.cluster_suffix.strip_prefix(".svc").unwrap_or_default();
        let completed = host.ends_with(".svc").then(|| format!("{host}{domain}"));
        let host = completed.as_deref().unwrap_or(host);
        let inside = host.strip_suffix(&self.cluster_suffix).and_then(|name| name.split_once('.'));
        match inside {
            // Such a name stands for pods: their port is meant.
            Some((service, namespace)) if self.is_headless(namespace, service) => {
                Target::Endpoints(self.endpoints(namespace, service, |_| Some(number)))
            }
            Some((service, namespace)) if !namespace.contains('.') => match hops.checked_sub(1) {
                Some(hops) => {
                    let port = ServiceBackendPort { name: None, number: Some(number) };
                    self.resolve(namespace, service, &port, hops)
                }
                None => Target::Absent,
            },
            _ => match u16::try_from(number) {
                Ok(port) if !host.is_empty() => Target::Dns { host: host.to_string(), port },
                _ => Target::Absent,
            },
        }
    }

    fn is_headless(&self, namespace: &str, name: &str) -> bool {
        let spec = self.services.get(&(namespace, name)).and_then(|service| service.spec.as_ref());
        spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
    }

    fn endpoints(
        &self,
        namespace: &str,
        service: &str,
        port: impl Fn(&EndpointSlice) -> Option<i32>,
    ) -> Box<[SocketAddr]> {
        let mut addresses = Vec::new();
        for slice in self.slices.get(&(namespace, service)).into_iter().flatten() {
            let Some(number) = port(slice).and_then(|port| u16::try_from(port).ok()) else { continue };
            let ready = slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint));
            let parsed =
                ready.flat_map(|endpoint| &endpoint.addresses).filter_map(|address| address.parse().ok());
            addresses.extend(parsed.map(|address: IpAddr| SocketAddr::new(address, number)));
        }
        addresses.sort();
        addresses.dedup();
        addresses.into()
    }
}

fn port_of(slice: &EndpointSlice, name: &str) -> Option<i32> {
    let ports = slice.ports.as_deref().unwrap_or_default();
    ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name)?.port
}

/// Absent means ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}
