//! The rtnetlink messages that the bridge and the pods' links need.
//!
//! Source: https://www.man7.org/linux/man-pages/man7/rtnetlink.7.html, linux/if_link.h

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::netlink::{Batch, Refused, Reply, Socket, attributes};

const CREATE: i32 = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const EXISTS: &[i32] = &[libc::EEXIST];
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// `ifinfomsg`
fn link_header(index: u32, flags: i32, change: i32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

pub fn add_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: u32) {
    batch
        .message(("create bridge", name), libc::RTM_NEWLINK, CREATE, &link_header(0, 0, 0), |a| {
            a.text(libc::IFLA_IFNAME, name).bytes(libc::IFLA_ADDRESS, &mac).u32(libc::IFLA_MTU, mtu);
            a.nest(libc::IFLA_LINKINFO, |a| {
                a.text(libc::IFLA_INFO_KIND, "bridge");
                // Pods have no shared segment: nothing to snoop, no queries to send.
                a.nest(libc::IFLA_INFO_DATA, |a| {
                    a.u8(IFLA_BR_MCAST_SNOOPING, 0);
                });
            });
        })
        .tolerate(EXISTS);
}

/// The peer of a veth pair, as it appears in the pod.
pub struct Peer<'a> {
    pub name: &'a str,
    pub mac: [u8; 6],
    pub netns_fd: i32,
}

pub fn add_veth(batch: &mut Batch, name: &str, master: u32, mtu: u32, peer: &Peer<'_>) {
    batch.message(("create link", name), libc::RTM_NEWLINK, CREATE, &link_header(0, 0, 0), |a| {
        a.text(libc::IFLA_IFNAME, name).u32(libc::IFLA_MTU, mtu).u32(libc::IFLA_MASTER, master);
        a.nest(libc::IFLA_LINKINFO, |a| {
            a.text(libc::IFLA_INFO_KIND, "veth");
            a.nest(libc::IFLA_INFO_DATA, |a| {
                a.nest(VETH_INFO_PEER, |a| {
                    a.raw(&link_header(0, 0, 0));
                    a.text(libc::IFLA_IFNAME, peer.name).u32(libc::IFLA_MTU, mtu);
                    a.bytes(libc::IFLA_ADDRESS, &peer.mac).u32(libc::IFLA_NET_NS_FD, peer.netns_fd as u32);
                });
            });
        });
    });
}

/// No IPv6 link-local address: saves duplicate detection and router solicitations of each pod. `::1` stays.
pub fn without_ipv6_addresses(batch: &mut Batch, name: &str) {
    batch
        .message(("configure link", name), libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_header(0, 0, 0), |a| {
            a.text(libc::IFLA_IFNAME, name);
            a.nest(libc::IFLA_AF_SPEC, |a| {
                a.nest(libc::AF_INET6 as u16, |a| {
                    a.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
                });
            });
        })
        // A kernel without IPv6.
        .tolerate(&[libc::EAFNOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL]);
}

pub fn isolate_port(batch: &mut Batch, name: &str) {
    batch.message(("isolate bridge port", name), libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_header(0, 0, 0), |a| {
        a.text(libc::IFLA_IFNAME, name);
        a.nest(libc::IFLA_LINKINFO, |a| {
            a.text(libc::IFLA_INFO_SLAVE_KIND, "bridge");
            a.nest(libc::IFLA_INFO_SLAVE_DATA, |a| {
                a.u8(IFLA_BRPORT_ISOLATED, 1);
            });
        });
    });
}

pub fn set_up(batch: &mut Batch, name: &str) {
    let up = link_header(0, libc::IFF_UP, libc::IFF_UP);
    batch.message(("bring up link", name), libc::RTM_NEWLINK, libc::NLM_F_ACK, &up, |a| {
        a.text(libc::IFLA_IFNAME, name);
    });
}

pub fn delete_link(batch: &mut Batch, name: &str) {
    batch
        .message(("delete link", name), libc::RTM_DELLINK, libc::NLM_F_ACK, &link_header(0, 0, 0), |a| {
            a.text(libc::IFLA_IFNAME, name);
        })
        .tolerate(&[libc::ENODEV]);
}

pub fn add_address(batch: &mut Batch, index: u32, address: Ipv4Net) {
    let mut header = [libc::AF_INET as u8, address.prefix_len(), 0, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    batch
        .message(("add address", address.to_string()), libc::RTM_NEWADDR, CREATE, &header, |a| {
            a.bytes(libc::IFA_LOCAL, &address.addr().octets()).bytes(libc::IFA_ADDRESS, &address.addr().octets());
        })
        .tolerate(EXISTS);
}

#[derive(Default)]
pub struct Route {
    pub to: Ipv4Net,
    pub gateway: Option<Ipv4Addr>,
    pub source: Option<Ipv4Addr>,
}

pub fn add_route(batch: &mut Batch, index: u32, route: &Route) {
    let scope = if route.gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let header = [
        libc::AF_INET as u8,
        route.to.prefix_len(),
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
        scope,
        libc::RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    batch
        .message(("add route", route.to.to_string()), libc::RTM_NEWROUTE, CREATE, &header, |a| {
            if route.to.prefix_len() > 0 {
                a.bytes(libc::RTA_DST, &route.to.network().octets());
            }
            if let Some(gateway) = route.gateway {
                a.bytes(libc::RTA_GATEWAY, &gateway.octets());
            }
            if let Some(source) = route.source {
                a.bytes(libc::RTA_PREFSRC, &source.octets());
            }
            a.u32(libc::RTA_OIF, index);
        })
        .tolerate(EXISTS);
}

/// What the kernel says of a link.
#[derive(Debug, PartialEq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub master: Option<u32>,
    pub mac: Vec<u8>,
}

/// `None` when there is no link of that name.
pub fn link(socket: &Socket, name: &str) -> Result<Option<Link>, Refused> {
    let mut batch = Batch::default();
    batch
        .message(("look up link", name), libc::RTM_GETLINK, 0, &link_header(0, 0, 0), |a| {
            a.text(libc::IFLA_IFNAME, name);
        })
        .tolerate(&[libc::ENODEV]);
    Ok(socket.execute(&batch)?.iter().find_map(parse_link))
}

pub fn links(socket: &Socket) -> Result<Vec<Link>, Refused> {
    let mut batch = Batch::default();
    batch.message(("list links", ""), libc::RTM_GETLINK, libc::NLM_F_DUMP, &link_header(0, 0, 0), |_| {});
    Ok(socket.execute(&batch)?.iter().filter_map(parse_link).collect())
}

/// The link that carries `address`.
pub fn link_of_address(socket: &Socket, address: Ipv4Addr) -> Result<Option<u32>, Refused> {
    let mut batch = Batch::default();
    let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0];
    batch.message(("list addresses", ""), libc::RTM_GETADDR, libc::NLM_F_DUMP, &header, |_| {});
    Ok(socket.execute(&batch)?.iter().find_map(|reply| {
        let index = u32::from_ne_bytes(reply.payload.get(4..8)?.try_into().ok()?);
        attributes(reply.payload.get(8..)?)
            .any(|(kind, value)| kind == libc::IFA_LOCAL && value == address.octets())
            .then_some(index)
    }))
}

fn parse_link(reply: &Reply) -> Option<Link> {
    if reply.kind != libc::RTM_NEWLINK {
        return None;
    }
    let word = |value: &[u8]| value.try_into().map(u32::from_ne_bytes).ok();
    let mut link = Link { index: word(reply.payload.get(4..8)?)?, name: String::new(), mtu: 0, master: None, mac: vec![] };
    for (kind, value) in attributes(reply.payload.get(16..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            libc::IFLA_MTU => link.mtu = word(value)?,
            libc::IFLA_MASTER => link.master = word(value),
            libc::IFLA_ADDRESS => link.mac = value.to_vec(),
            _ => {}
        }
    }
    Some(link)
}

