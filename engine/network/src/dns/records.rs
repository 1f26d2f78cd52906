//! Small helpers around DNS names and records.

use std::net::IpAddr;

use hickory_server::proto::{
    ProtoError,
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, SOA, SRV},
    },
};

/// As kubeadm's Corefile sets it.
pub const TTL_SECONDS: u32 = 30;

pub fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL_SECONDS, data)
}

pub fn address(name: &Name, ip: IpAddr) -> Record {
    match ip {
        IpAddr::V4(ip) => record(name, RData::A(A(ip))),
        IpAddr::V6(ip) => record(name, RData::AAAA(AAAA(ip))),
    }
}

pub fn service(name: &Name, weight: u16, port: u16, target: &Name) -> Record {
    record(name, RData::SRV(SRV::new(0, weight, port, target.clone())))
}

/// Negative answers carry it, so that clients may remember them.
pub fn start_of_authority(origin: &Name, zone: &Name) -> Result<Record, ProtoError> {
    let (server, mailbox) = (below(zone, &["ns", "dns"])?, below(zone, &["hostmaster"])?);
    let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86_400, TTL_SECONDS);
    Ok(record(origin, RData::SOA(soa)))
}

/// `labels` and then `zone`.
pub fn below(zone: &Name, labels: &[&str]) -> Result<Name, ProtoError> {
    Name::from_labels(labels.iter().map(|label| label.as_bytes()))?.append_domain(zone)
}
