//! The rtnetlink messages that the bridge and the pods' links need.
//!
//! Source: https://www.man7.org/linux/man-pages/man7/rtnetlink.7.html, linux/if_link.h

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::netlink::{Batch, Refused, Reply, Socket, attribute, attributes, text};

const CREATE: i32 = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const EXISTS: &[i32] = &[libc::EEXIST];
const IF_OPER_UP: u8 = 6;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_SEND_REDIRECTS: u16 = 6;
const IPV4_DEVCONF_RP_FILTER: u16 = 8;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// The device group of pods' links on the node: what rules know them by.
pub const POD_LINKS_GROUP: u32 = 0x0c0_4ac1;

/// Who made a route: us.
const ROUTE_PROTOCOL: u8 = 124;

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

/// A veth pair: one end on the node, the other, `eth0`, in the pod.
pub struct Veth<'a> {
    pub name: &'a str,
    pub mac: [u8; 6],
    pub peer_name: &'a str,
    pub peer_mac: [u8; 6],
    pub netns_fd: i32,
    pub mtu: u32,
}

pub fn add_veth(batch: &mut Batch, veth: &Veth<'_>) {
    batch.message(("create link", veth.name), libc::RTM_NEWLINK, CREATE, &link_header(0, 0, 0), |a| {
        a.text(libc::IFLA_IFNAME, veth.name).u32(libc::IFLA_MTU, veth.mtu);
        a.bytes(libc::IFLA_ADDRESS, &veth.mac).u32(libc::IFLA_GROUP, POD_LINKS_GROUP);
        a.nest(libc::IFLA_LINKINFO, |a| {
            a.text(libc::IFLA_INFO_KIND, "veth");
            a.nest(libc::IFLA_INFO_DATA, |a| {
                a.nest(VETH_INFO_PEER, |a| {
                    a.raw(&link_header(0, 0, 0));
                    a.text(libc::IFLA_IFNAME, veth.peer_name).u32(libc::IFLA_MTU, veth.mtu);
                    a.bytes(libc::IFLA_ADDRESS, &veth.peer_mac)
                        .u32(libc::IFLA_NET_NS_FD, veth.netns_fd as u32);
                });
            });
        });
    });
}

/// The node's end accepts only the pod's own address as source, tells of no better ways, and takes answers to the
/// node's 127.0.0.1 (host ports; the table drops what pods send there on their own).
pub fn harden_pod_link(batch: &mut Batch, name: &str) {
    batch.message(("configure link", name), libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_header(0, 0, 0), |a| {
        a.text(libc::IFLA_IFNAME, name);
        a.nest(libc::IFLA_AF_SPEC, |a| {
            a.nest(libc::AF_INET as u16, |a| {
                a.nest(IFLA_INET_CONF, |a| {
                    a.u32(IPV4_DEVCONF_SEND_REDIRECTS, 0);
                    a.u32(IPV4_DEVCONF_RP_FILTER, 1);
                    a.u32(IPV4_DEVCONF_ROUTE_LOCALNET, 1);
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
            a.bytes(libc::IFA_LOCAL, &address.addr().octets())
                .bytes(libc::IFA_ADDRESS, &address.addr().octets());
        })
        .tolerate(EXISTS);
}

pub struct Route {
    pub to: Ipv4Net,
    pub via: Via,
    pub source: Option<Ipv4Addr>,
}

pub enum Via {
    /// A neighbour on the link.
    Link(u32),
    Gateway(u32, Ipv4Addr),
    /// Answered with "host unreachable".
    Nowhere,
}

/// An equal route is kept, another one to the same destination is replaced.
pub fn set_route(batch: &mut Batch, route: &Route) {
    let (scope, kind) = match route.via {
        Via::Link(_) => (libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
        Via::Gateway(..) => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST),
        Via::Nowhere => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE),
    };
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    header[1] = route.to.prefix_len();
    header[4..8].copy_from_slice(&[libc::RT_TABLE_MAIN, ROUTE_PROTOCOL, scope, kind]);
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    batch.message(("add route", route.to.to_string()), libc::RTM_NEWROUTE, flags, &header, |a| {
        if route.to.prefix_len() > 0 {
            a.bytes(libc::RTA_DST, &route.to.network().octets());
        }
        match route.via {
            Via::Link(index) => {
                a.u32(libc::RTA_OIF, index);
            }
            Via::Gateway(index, gateway) => {
                a.bytes(libc::RTA_GATEWAY, &gateway.octets()).u32(libc::RTA_OIF, index);
            }
            Via::Nowhere => {}
        }
        if let Some(source) = route.source {
            a.bytes(libc::RTA_PREFSRC, &source.octets());
        }
    });
}

/// What the kernel says of a route, in whichever table.
pub struct Found {
    pub to: Ipv4Net,
    pub is_ours: bool,
    /// To an address of this machine.
    pub is_local: bool,
    /// This machine's own addresses, or neighbours on one of its links.
    pub is_near: bool,
    pub link: Option<u32>,
    header: [u8; 12],
}

pub fn routes(socket: &Socket) -> Result<Vec<Found>, Refused> {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    let mut list = Batch::default();
    list.message(("list routes", ""), libc::RTM_GETROUTE, libc::NLM_F_DUMP, &header, |_| {});
    Ok(socket.execute(&list)?.iter().filter_map(parse_route).collect())
}

fn parse_route(reply: &Reply) -> Option<Found> {
    let header: [u8; 12] = reply.payload.get(..12)?.try_into().ok()?;
    let attribute = |wanted| <[u8; 4]>::try_from(attribute(&reply.payload[12..], wanted)?).ok();
    Some(Found {
        to: Ipv4Net::new(attribute(libc::RTA_DST).unwrap_or_default().into(), header[1]).ok()?,
        is_ours: header[5] == ROUTE_PROTOCOL,
        is_local: header[7] == libc::RTN_LOCAL,
        is_near: header[7] == libc::RTN_LOCAL
            || header[7] == libc::RTN_UNICAST && header[6] == libc::RT_SCOPE_LINK && header[1] > 0,
        link: attribute(libc::RTA_OIF).map(u32::from_ne_bytes),
        header,
    })
}

/// Deletes the routes to nowhere that we made; the others go with their links.
pub fn delete_unreachable_routes(socket: &Socket) -> Result<(), Refused> {
    let mut batch = Batch::default();
    for found in routes(socket)?.iter().filter(|it| it.is_ours && it.header[7] == libc::RTN_UNREACHABLE) {
        delete_route(&mut batch, found);
    }
    socket.execute(&batch).map(drop)
}

pub fn delete_route(batch: &mut Batch, found: &Found) {
    let what = ("delete route", found.to.to_string());
    batch
        .message(what, libc::RTM_DELROUTE, libc::NLM_F_ACK, &found.header, |a| {
            a.bytes(libc::RTA_DST, &found.to.network().octets());
        })
        .tolerate(&[libc::ESRCH]);
}

/// The neighbour's MAC address for good: nobody has to ask for it.
pub fn set_neighbour(batch: &mut Batch, index: u32, address: Ipv4Addr, mac: [u8; 6]) {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    batch.message(("add neighbour", address.to_string()), libc::RTM_NEWNEIGH, flags, &header, |a| {
        a.bytes(libc::NDA_DST, &address.octets()).bytes(libc::NDA_LLADDR, &mac);
    });
}

/// What the kernel says of a link.
#[derive(Debug, PartialEq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub group: u32,
    pub mac: Vec<u8>,
    /// Packets pass: it is up and its queue is active.
    pub is_operational: bool,
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
    let mut link = Link {
        index: word(reply.payload.get(4..8)?)?,
        name: String::new(),
        mtu: 0,
        group: 0,
        mac: Vec::new(),
        is_operational: false,
    };
    for (kind, value) in attributes(reply.payload.get(16..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_MTU => link.mtu = word(value)?,
            libc::IFLA_GROUP => link.group = word(value)?,
            libc::IFLA_ADDRESS => link.mac = value.to_vec(),
            libc::IFLA_OPERSTATE => link.is_operational = value == [IF_OPER_UP],
            _ => {}
        }
    }
    Some(link)
}
