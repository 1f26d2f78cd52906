//! The names at and below one Service.

use std::{net::IpAddr, sync::Arc};

use coracle_store::Snapshot;
use hickory_server::proto::{
    ProtoError,
    rr::{Name, Record},
};
use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};

use super::{
    records::{address, below, service},
    zone::{Found, scope},
};
use crate::service::{SLICES, service_of_slice};

/// An endpoint as names see it.
pub struct Endpoint {
    pub hostname: String,
    pub ip: IpAddr,
    /// Name, protocol, number.
    ports: Arc<[(String, String, u16)]>,
}

/// What `labels` in front of `service.namespace.svc` are. `name` is all of it.
pub fn find_at_service(
    name: &Name,
    snapshot: &Snapshot,
    object: &Service,
    labels: &[&str],
) -> Result<Found, ProtoError> {
    let Some(spec) = &object.spec else { return Ok(Found::Absent) };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Ok(alias(spec));
    }
    let this = name.trim_to(usize::from(name.num_labels()) - labels.len());
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    let (records, additional) = match labels {
        [] | [_, _] if is_headless => headless(name, &this, &endpoints(snapshot, object), labels)?,
        [] | [_, _] => with_cluster_ip(name, &this, spec, labels),
        [label] => {
            let is_protocol = |protocol: &str| service_ports(spec).any(|port| port.1 == protocol);
            if label.strip_prefix('_').is_some_and(is_protocol) {
                return Ok(Found::records(vec![]));
            }
            let endpoints = endpoints(snapshot, object);
            let of_host = endpoints.iter().filter(|endpoint| endpoint.hostname == *label);
            (of_host.map(|endpoint| address(name, endpoint.ip)).collect(), vec![])
        }
        _ => return Ok(Found::Absent),
    };
    if records.is_empty() {
        return Ok(Found::Absent);
    }
    Ok(Found::Records { records, additional })
}

fn alias(spec: &ServiceSpec) -> Found {
    let target = Name::from_ascii(spec.external_name.as_deref().unwrap_or_default());
    target.map_or(Found::Absent, |mut target| {
        target.set_fqdn(true);
        Found::Alias(target)
    })
}

/// SRV records and, for the Service's own name, addresses; and the addresses of the SRV records' target.
fn with_cluster_ip(
    name: &Name,
    this: &Name,
    spec: &ServiceSpec,
    labels: &[&str],
) -> (Vec<Record>, Vec<Record>) {
    let ips = spec.cluster_ips.as_deref().unwrap_or(spec.cluster_ip.as_slice());
    let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let ports: Vec<u16> = service_ports(spec)
        .filter(|(port, protocol, _)| is_asked_for(labels, port, protocol))
        .map(|port| port.2)
        .collect();
    let weight = weight(ports.len());
    let mut records: Vec<Record> = ports.iter().map(|port| service(name, weight, *port, this)).collect();
    if labels.is_empty() {
        records.extend(ips.iter().map(|ip| address(name, *ip)));
    }
    (records, ips.iter().map(|ip| address(this, *ip)).collect())
}

/// The same of a Service without an address: its endpoints stand for it.
fn headless(
    name: &Name,
    this: &Name,
    endpoints: &[Endpoint],
    labels: &[&str],
) -> Result<(Vec<Record>, Vec<Record>), ProtoError> {
    let (mut records, mut additional) = (Vec::new(), Vec::new());
    let weight = weight(endpoints.len());
    for endpoint in endpoints {
        let target = below(this, &[&endpoint.hostname])?;
        let ports = endpoint.ports.iter().filter(|(port, protocol, _)| is_asked_for(labels, port, protocol));
        let before = records.len();
        records.extend(ports.map(|(_, _, port)| service(name, weight, *port, &target)));
        if records.len() > before {
            additional.push(address(&target, endpoint.ip));
        }
    }
    if labels.is_empty() {
        records.extend(endpoints.iter().map(|endpoint| address(name, endpoint.ip)));
    }
    Ok((records, additional))
}

/// `_port._protocol` names one port; the Service's own name all of them.
fn is_asked_for(labels: &[&str], port: &str, protocol: &str) -> bool {
    match labels {
        [wanted_port, wanted_protocol] => {
            wanted_port.strip_prefix('_') == Some(port) && wanted_protocol.strip_prefix('_') == Some(protocol)
        }
        _ => true,
    }
}

/// Name, protocol, number.
fn service_ports(spec: &ServiceSpec) -> impl Iterator<Item = (String, String, u16)> + '_ {
    spec.ports.iter().flatten().filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        Some((port.name.clone().unwrap_or_default(), protocol, u16::try_from(port.port).ok()?))
    })
}

/// SRV weights share 100, as CoreDNS does.
fn weight(count: usize) -> u16 {
    u16::try_from(100 / count.max(1)).unwrap_or(1).max(1)
}

/// The ready endpoints of a Service, without duplicates.
fn endpoints(snapshot: &Snapshot, service: &Service) -> Vec<Endpoint> {
    let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else {
        return Vec::new();
    };
    let mut all: Vec<Endpoint> = Vec::new();
    for object in snapshot.list(&scope(SLICES, Some(namespace))) {
        if service_of_slice(&object.meta.labels) != Some(name) {
            continue;
        }
        let Ok(slice) = object.decode::<EndpointSlice>() else { continue };
        for endpoint in endpoints_in(&slice) {
            if !all.iter().any(|other| other.ip == endpoint.ip && other.ports == endpoint.ports) {
                all.push(endpoint);
            }
        }
    }
    all
}

pub fn endpoints_in(slice: &EndpointSlice) -> impl Iterator<Item = Endpoint> + '_ {
    let ports: Arc<[_]> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
            Some((port.name.clone().unwrap_or_default(), protocol, u16::try_from(port.port?).ok()?))
        })
        .collect();
    let is_ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    slice.endpoints.iter().flatten().filter(is_ready).flat_map(move |endpoint| {
        let ports = ports.clone();
        endpoint.addresses.iter().filter_map(move |text| {
            let ip: IpAddr = text.parse().ok()?;
            let hostname =
                endpoint.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| dashed(ip));
            Some(Endpoint { hostname, ip, ports: ports.clone() })
        })
    })
}

fn dashed(ip: IpAddr) -> String {
    ip.to_string().replace(['.', ':'], "-")
}
