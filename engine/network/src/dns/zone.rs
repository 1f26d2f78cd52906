//! The cluster's zone and its reverse: what the store says about a name.
//!
//! Reads: Services, EndpointSlices, Namespaces. Keeps nothing: the store is the only copy.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use coracle_store::{Key, Reader, Resource, Scope, Snapshot};
use hickory_server::proto::{
    ProtoError,
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, NS, PTR, TXT},
    },
};
use ipnet::Ipv4Net;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::records::{address, below, record, service, start_of_authority};
use crate::service::{SERVICES, SLICES, service_of_slice};

/// Version of the DNS specification that we follow.
const SCHEMA_VERSION: &str = "1.1.0";

pub struct Zone {
    pub origin: Name,
    pub store: Reader,
    pub dns_ip: Ipv4Addr,
    /// Networks whose reverse names nobody else can know.
    pub networks: [Ipv4Net; 2],
}

#[derive(Debug, Default)]
pub struct Answer {
    pub code: ResponseCode,
    pub records: Vec<Record>,
    pub additional: Vec<Record>,
    pub authority: Option<Record>,
    /// The records end with an alias to this name: go on there.
    pub alias: Option<Name>,
}

/// An endpoint as names see it.
struct Endpoint {
    hostname: String,
    ip: IpAddr,
    /// Name, protocol, number.
    ports: Arc<[(String, String, u16)]>,
}

/// What a name is.
enum Found {
    Absent,
    /// There is something at or below this name; these are its records, of all types.
    Records {
        records: Vec<Record>,
        additional: Vec<Record>,
    },
    Alias(Name),
}

impl Found {
    fn records(records: Vec<Record>) -> Found {
        Found::Records { records, additional: Vec::new() }
    }
}

impl Zone {
    /// `None` when the name is not ours to answer.
    pub fn lookup(&self, name: &Name, kind: RecordType) -> Result<Option<Answer>, ProtoError> {
        if self.origin.zone_of(name) {
            let found = self.find(name)?;
            return Ok(Some(self.answer(name, kind, found, &self.origin)?));
        }
        let Ok(net) = name.to_lowercase().parse_arpa_name() else { return Ok(None) };
        if net.prefix_len() != net.max_prefix_len() {
            return Ok(None);
        }
        let found = self.find_reverse(name, net.addr())?;
        let is_ours =
            matches!(net.addr(), IpAddr::V4(ip) if self.networks.iter().any(|net| net.contains(&ip)));
        if matches!(found, Found::Absent) && !is_ours {
            return Ok(None);
        }
        let origin = name.trim_to(2);
        Ok(Some(self.answer(name, kind, found, &origin)?))
    }

    fn answer(
        &self,
        name: &Name,
        kind: RecordType,
        found: Found,
        origin: &Name,
    ) -> Result<Answer, ProtoError> {
        let mut answer = Answer::default();
        match found {
            Found::Absent => answer.code = ResponseCode::NXDomain,
            Found::Records { mut records, additional } => {
                records.retain(|record| kind == RecordType::ANY || record.record_type() == kind);
                answer.records = records;
                if kind == RecordType::SRV {
                    answer.additional = additional;
                }
            }
            Found::Alias(target) => {
                answer.records.push(record(name, RData::CNAME(CNAME(target.clone()))));
                answer.alias = (kind != RecordType::CNAME).then_some(target);
            }
        }
        if answer.records.is_empty() {
            answer.authority = Some(start_of_authority(origin, &self.origin)?);
        }
        Ok(answer)
    }

    fn find(&self, name: &Name) -> Result<Found, ProtoError> {
        let depth = usize::from(name.num_labels() - self.origin.num_labels());
        let labels: Vec<String> =
            name.iter().take(depth).map(|label| String::from_utf8_lossy(label).to_lowercase()).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let snapshot = self.store.snapshot();
        Ok(match labels[..] {
            [] => Found::records(vec![
                start_of_authority(name, &self.origin)?,
                record(name, RData::NS(NS(below(&self.origin, &["ns", "dns"])?))),
            ]),
            ["dns-version"] => {
                Found::records(vec![record(name, RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()])))])
            }
            ["ns", "dns"] => Found::records(vec![address(name, self.dns_ip.into())]),
            ["dns" | "svc" | "pod"] => Found::records(vec![]),
            [namespace, "svc" | "pod"] if namespace_exists(&snapshot, namespace) => Found::records(vec![]),
            [dashed, namespace, "pod"] if namespace_exists(&snapshot, namespace) => match ip_of(dashed) {
                Some(ip) => Found::records(vec![address(name, ip)]),
                None => Found::Absent,
            },
            [.., service, namespace, "svc"] if labels.len() <= 5 => {
                let below_service = &labels[..labels.len() - 3];
                match read_service(&snapshot, namespace, service) {
                    Some(object) => self.find_at_service(name, &snapshot, &object, below_service)?,
                    None => Found::Absent,
                }
            }
            _ => Found::Absent,
        })
    }

    /// Names at and below `service.namespace.svc`.
    fn find_at_service(
        &self,
        name: &Name,
        snapshot: &Snapshot,
        object: &Service,
        labels: &[&str],
    ) -> Result<Found, ProtoError> {
        let Some(spec) = &object.spec else { return Ok(Found::Absent) };
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = Name::from_ascii(spec.external_name.as_deref().unwrap_or_default());
            return Ok(target.map_or(Found::Absent, |mut target| {
                target.set_fqdn(true);
                Found::Alias(target)
            }));
        }
        let this = name.trim_to(usize::from(name.num_labels()) - labels.len());
        let is_headless = spec.cluster_ip.as_deref() == Some("None");
        let cluster_ips: Vec<IpAddr> = match &spec.cluster_ips {
            Some(ips) => ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            None => spec.cluster_ip.iter().filter_map(|ip| ip.parse().ok()).collect(),
        };
        let endpoints = || endpoints(snapshot, object);
        let service_ports = || {
            spec.ports.iter().flatten().filter_map(|port| {
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
                Some((port.name.clone().unwrap_or_default(), protocol, u16::try_from(port.port).ok()?))
            })
        };
        match labels {
            [] | [_, _] => {
                let wanted = |port: &str, protocol: &str| match labels {
                    [wanted_port, wanted_protocol] => {
                        wanted_port.strip_prefix('_') == Some(port)
                            && wanted_protocol.strip_prefix('_') == Some(protocol)
                    }
                    _ => true,
                };
                let mut found = if is_headless {
                    self.headless(name, &this, &endpoints(), wanted)?
                } else {
                    let ports: Vec<u16> = service_ports()
                        .filter(|(port, protocol, _)| wanted(port, protocol))
                        .map(|port| port.2)
                        .collect();
                    let weight = weight(ports.len());
                    let records = ports.iter().map(|port| service(name, weight, *port, &this)).collect();
                    (records, cluster_ips.iter().map(|ip| address(&this, *ip)).collect::<Vec<_>>())
                };
                if labels.is_empty() {
                    let ips: Vec<IpAddr> = if is_headless {
                        endpoints().iter().map(|endpoint| endpoint.ip).collect()
                    } else {
                        cluster_ips
                    };
                    found.0.extend(ips.into_iter().map(|ip| address(name, ip)));
                }
                if found.0.is_empty() {
                    return Ok(Found::Absent);
                }
                Ok(Found::Records { records: found.0, additional: found.1 })
            }
            [label] => {
                let protocol_is_used = |protocol: &str| service_ports().any(|port| port.1 == protocol);
                if label.strip_prefix('_').is_some_and(protocol_is_used) {
                    return Ok(Found::records(vec![]));
                }
                let records: Vec<Record> = endpoints()
                    .iter()
                    .filter(|endpoint| endpoint.hostname == *label)
                    .map(|endpoint| address(name, endpoint.ip))
                    .collect();
                Ok(if records.is_empty() { Found::Absent } else { Found::records(records) })
            }
            _ => Ok(Found::Absent),
        }
    }

    /// SRV records of a headless Service's endpoints, and the addresses of their targets.
    fn headless(
        &self,
        name: &Name,
        this: &Name,
        endpoints: &[Endpoint],
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<(Vec<Record>, Vec<Record>), ProtoError> {
        let (mut records, mut additional) = (Vec::new(), Vec::new());
        let weight = weight(endpoints.len());
        for endpoint in endpoints {
            let target = below(this, &[&endpoint.hostname])?;
            let ports = endpoint.ports.iter().filter(|(port, protocol, _)| wanted(port, protocol));
            let before = records.len();
            records.extend(ports.map(|(_, _, port)| service(name, weight, *port, &target)));
            if records.len() > before {
                additional.push(address(&target, endpoint.ip));
            }
        }
        Ok((records, additional))
    }

    fn find_reverse(&self, name: &Name, ip: IpAddr) -> Result<Found, ProtoError> {
        let snapshot = self.store.snapshot();
        let text = ip.to_string();
        let full_name = |labels: &[&str]| below(&self.origin, labels);
        for object in snapshot.list(&scope(SERVICES, None)) {
            let Ok(service) = object.decode::<Service>() else { continue };
            let Some(spec) = &service.spec else { continue };
            if spec.cluster_ip.as_ref() == Some(&text)
                || spec.cluster_ips.iter().flatten().any(|ip| *ip == text)
            {
                let target = full_name(&[&object.key.name, &object.key.namespace, "svc"])?;
                return Ok(Found::records(vec![record(name, RData::PTR(PTR(target)))]));
            }
        }
        let mut records = Vec::new();
        for object in snapshot.list(&scope(SLICES, None)) {
            let (Some(service), Ok(slice)) =
                (service_of_slice(&object.meta.labels), object.decode::<EndpointSlice>())
            else {
                continue;
            };
            for endpoint in endpoints_in(&slice).filter(|endpoint| endpoint.ip == ip) {
                let target = full_name(&[&endpoint.hostname, service, &object.key.namespace, "svc"])?;
                records.push(record(name, RData::PTR(PTR(target))));
            }
        }
        Ok(if records.is_empty() { Found::Absent } else { Found::records(records) })
    }
}

/// SRV weights share 100, as CoreDNS does.
fn weight(count: usize) -> u16 {
    u16::try_from(100 / count.max(1)).unwrap_or(1).max(1)
}

fn scope(resource: &str, namespace: Option<&str>) -> Scope {
    Scope { resource: Resource(resource.into()), namespace: namespace.map(Into::into), name: None }
}

fn namespace_exists(snapshot: &Snapshot, name: &str) -> bool {
    let key = Key { resource: Resource("namespaces".into()), namespace: "".into(), name: name.into() };
    snapshot.get(&key).is_some()
}

fn read_service(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Arc<Service>> {
    let key = Key { resource: Resource(SERVICES.into()), namespace: namespace.into(), name: name.into() };
    snapshot.get(&key)?.decode().ok()
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

fn endpoints_in(slice: &EndpointSlice) -> impl Iterator<Item = Endpoint> + '_ {
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

fn ip_of(dashed: &str) -> Option<IpAddr> {
    dashed.replace('-', ".").parse().or_else(|_| dashed.replace('-', ":").parse()).ok()
}
