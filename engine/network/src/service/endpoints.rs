//! The endpoints of one Service port, out of its EndpointSlices.
//!
//! Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/,
//!         https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/1669-proxy-terminating-endpoints

use std::net::Ipv4Addr;

use k8s_openapi::api::discovery::v1 as discovery;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const DEFAULT_PROTOCOL: &str = "TCP";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
    /// Runs on this node: the only one there is, so that naming any node is enough.
    pub local: bool,
}

/// The Service a slice belongs to.
pub fn service_of_slice(labels: &[(Box<str>, Box<str>)]) -> Option<&str> {
    labels.iter().find(|(key, _)| **key == *SERVICE_NAME_LABEL).map(|(_, value)| &**value)
}

/// The endpoints of one Service port, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// For new connections: those that are ready; when there is none, those that still serve while they terminate.
    pub usable: Vec<Endpoint>,
    /// Flows that go there may stay: those that are ready or serve.
    pub serving: Vec<Endpoint>,
}

pub fn endpoints_of<'a>(
    slices: impl Iterator<Item = &'a discovery::EndpointSlice>,
    port_name: &str,
    protocol: &str,
) -> Endpoints {
    let (mut ready, mut draining, mut serving) = (Vec::new(), Vec::new(), Vec::new());
    for slice in slices.filter(|slice| slice.address_type == "IPv4") {
        for number in port_numbers(slice, port_name, protocol) {
            for endpoint in slice.endpoints.iter().flatten() {
                let Some(address) = endpoint.addresses.first().and_then(|text| text.parse().ok()) else {
                    continue;
                };
                let found = Endpoint { address, port: number, local: endpoint.node_name.is_some() };
                let conditions = endpoint.conditions.as_ref();
                let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
                let is_serving = conditions.and_then(|c| c.serving).unwrap_or(is_ready);
                let is_terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
                if is_ready {
                    ready.push(found);
                } else if is_serving && is_terminating {
                    draining.push(found);
                }
                if is_ready || is_serving {
                    serving.push(found);
                }
            }
        }
    }
    let mut usable = if ready.is_empty() { draining } else { ready };
    for list in [&mut usable, &mut serving] {
        list.sort_unstable();
        list.dedup();
    }
    Endpoints { usable, serving }
}

fn port_numbers<'a>(
    slice: &'a discovery::EndpointSlice,
    port_name: &'a str,
    protocol: &'a str,
) -> impl Iterator<Item = u16> + 'a {
    slice
        .ports
        .iter()
        .flatten()
        .filter(move |port| port.name.as_deref().unwrap_or_default() == port_name)
        .filter(move |port| port.protocol.as_deref().unwrap_or(DEFAULT_PROTOCOL) == protocol)
        .filter_map(|port| u16::try_from(port.port?).ok())
}
