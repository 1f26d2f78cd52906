//! UDP has no connections that end: a client that keeps its port keeps its connection tracking entry, and with it an endpoint
//! that may be gone. Such entries are deleted when endpoints change.
//!
//! Source: linux/netfilter/nfnetlink_conntrack.h

use std::net::Ipv4Addr;

use super::plan::UdpFront;
use crate::netlink::{Attributes, Batch, Refused, Reply, Socket, attributes};

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const HEADER: [u8; 4] = [libc::AF_INET as u8, libc::NFNETLINK_V0 as u8, 0, 0];

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    protocol: u8,
}

/// Deletes the entries of clients of `fronts` that go to none of its endpoints.
pub fn forget_stale(socket: &Socket, fronts: &[UdpFront], node_ip: Option<Ipv4Addr>) -> Result<(), Refused> {
    if fronts.is_empty() {
        return Ok(());
    }
    let mut list = Batch::default();
    list.message(("list connection tracking entries", ""), GET, libc::NLM_F_DUMP, &HEADER, |_| {});
    let mut deletions = Batch::default();
    for (original, reply) in socket.execute(&list)?.iter().filter_map(parse) {
        if fronts.iter().any(|front| is_stale(front, node_ip, &original, &reply)) {
            let subject = format!("{}:{}", original.destination.0, original.destination.1);
            deletions
                .message(("forget flow to", subject), DELETE, libc::NLM_F_ACK, &HEADER, |a| {
                    a.nest(CTA_TUPLE_ORIG, |a| encode(a, &original));
                })
                .tolerate(&[libc::ENOENT]);
        }
    }
    socket.execute(&deletions).map(drop)
}

fn is_stale(front: &UdpFront, node_ip: Option<Ipv4Addr>, original: &Tuple, reply: &Tuple) -> bool {
    let (address, port) = original.destination;
    let is_translated = reply.source != original.destination;
    let of_front = front.addresses.contains(&address) && port == front.port
        || Some(port) == front.node_port && (is_translated || Some(address) == node_ip);
    i32::from(original.protocol) == libc::IPPROTO_UDP && of_front && !front.endpoints.contains(&reply.source)
}

fn parse(reply: &Reply) -> Option<(Tuple, Tuple)> {
    let (mut original, mut answer) = (None, None);
    for (kind, value) in attributes(reply.payload.get(4..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = parse_tuple(value),
            CTA_TUPLE_REPLY => answer = parse_tuple(value),
            _ => {}
        }
    }
    Some((original?, answer?))
}

fn parse_tuple(bytes: &[u8]) -> Option<Tuple> {
    let unset = (Ipv4Addr::UNSPECIFIED, 0);
    let mut tuple = Tuple { source: unset, destination: unset, protocol: 0 };
    for (kind, value) in attributes(bytes) {
        for (inner, value) in attributes(value) {
            match (kind, inner) {
                (CTA_TUPLE_IP, 1) => tuple.source.0 = <[u8; 4]>::try_from(value).ok()?.into(),
                (CTA_TUPLE_IP, 2) => tuple.destination.0 = <[u8; 4]>::try_from(value).ok()?.into(),
                (CTA_TUPLE_PROTO, 1) => tuple.protocol = *value.first()?,
                (CTA_TUPLE_PROTO, 2) => tuple.source.1 = u16::from_be_bytes(value.try_into().ok()?),
                (CTA_TUPLE_PROTO, 3) => tuple.destination.1 = u16::from_be_bytes(value.try_into().ok()?),
                _ => {}
            }
        }
    }
    Some(tuple)
}

fn encode(a: &mut Attributes<'_>, tuple: &Tuple) {
    a.nest(CTA_TUPLE_IP, |a| {
        a.bytes(1, &tuple.source.0.octets()).bytes(2, &tuple.destination.0.octets());
    });
    a.nest(CTA_TUPLE_PROTO, |a| {
        a.u8(1, tuple.protocol);
        a.bytes(2, &tuple.source.1.to_be_bytes()).bytes(3, &tuple.destination.1.to_be_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 42, 0, 9), 4000);
    const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn flow(to: (Ipv4Addr, u16), answered_by: (Ipv4Addr, u16)) -> (Tuple, Tuple) {
        let protocol = libc::IPPROTO_UDP as u8;
        (
            Tuple { source: CLIENT, destination: to, protocol },
            Tuple { source: answered_by, destination: CLIENT, protocol },
        )
    }

    #[test]
    fn only_flows_of_the_front_to_no_endpoint_are_stale() {
        let service: Ipv4Addr = [10, 43, 0, 5].into();
        let (pod, gone): (Ipv4Addr, Ipv4Addr) = ([10, 42, 0, 2].into(), [10, 42, 0, 3].into());
        let front = UdpFront {
            addresses: [service].into(),
            port: 53,
            node_port: Some(30053),
            endpoints: [(pod, 5353)].into(),
        };
        for (to, answered_by, stale) in [
            ((service, 53), (pod, 5353), false),
            ((service, 53), (gone, 5353), true),
            ((service, 53), (service, 53), true),
            ((service, 54), (gone, 5353), false),
            ((NODE, 30053), (gone, 5353), true),
            ((NODE, 30053), (pod, 5353), false),
            ((NODE, 30053), (NODE, 30053), true),
            (([203, 0, 113, 1].into(), 30053), ([203, 0, 113, 1].into(), 30053), false),
        ] {
            let (original, reply) = flow(to, answered_by);
            assert_eq!(is_stale(&front, Some(NODE), &original, &reply), stale, "{to:?} → {answered_by:?}");
        }
    }
}
