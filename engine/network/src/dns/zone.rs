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

use super::{
    names::{endpoints_in, find_at_service},
    records::{address, below, record, start_of_authority},
};
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

/// What a name is.
pub(super) enum Found {
    Absent,
    /// There is something at or below this name; these are its records, of all types.
    Records {
        records: Vec<Record>,
        additional: Vec<Record>,
    },
    Alias(Name),
}

impl Found {
    pub fn records(records: Vec<Record>) -> Found {
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
                    Some(object) => find_at_service(name, &snapshot, &object, below_service)?,
                    None => Found::Absent,
                }
            }
            _ => Found::Absent,
        })
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

pub(super) fn scope(resource: &str, namespace: Option<&str>) -> Scope {
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

fn ip_of(dashed: &str) -> Option<IpAddr> {
    dashed.replace('-', ".").parse().or_else(|_| dashed.replace('-', ":").parse()).ok()
}
