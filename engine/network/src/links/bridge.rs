//! The device `coracle0`: home of the pods' gateway address and of the DNS address, and the way of everything that goes to the
//! service network, so that none of it ever finds the uplink.
//!
//! Reads:  the uplink's MTU.
//! Writes: one link, its addresses, the routes of the service and pod networks, `net.ipv4.ip_forward`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipnet::Ipv4Net;

use super::{
    mac_of,
    rtnl::{self, Via},
};
use crate::{
    Config, NetworkError,
    netlink::{Batch, Family, Refused, Socket},
    service::Environment,
    sysctl,
};

const ETHERNET_MTU: u32 = 1500;

/// What links of pods need to know.
#[derive(Clone, Debug)]
pub struct Bridge {
    pub gateway: Ipv4Addr,
    pub mtu: u32,
}

/// The first address of the pod network.
pub fn gateway(pod_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(pod_cidr.network().to_bits() + 1)
}

/// Fails when the machine itself lives in the pod or service network: its routes would be taken away, or pods would get
/// the addresses of its neighbours.
pub fn check_free(config: &Config) -> Result<(), NetworkError> {
    [config.pod_cidr, config.service_cidr]
        .into_iter()
        .try_for_each(|network| check_network(network, &config.bridge))
}

/// Fails when the machine has an address in the network, or a route to it by another link than `own`.
pub fn check_network(network: Ipv4Net, own: &str) -> Result<(), NetworkError> {
    let socket = Socket::open(Family::Route)?;
    let links = rtnl::links(&socket)?;
    let name =
        |found: &rtnl::Found| links.iter().find(|link| Some(link.index) == found.link).map(|l| &*l.name);
    let taken = |found: &&rtnl::Found| {
        let inside = found.is_local && network.contains(&found.to);
        !found.is_ours && (inside || found.to == network) && name(found) != Some(own)
    };
    match rtnl::routes(&socket)?.iter().find(taken) {
        None => Ok(()),
        Some(found) => {
            let link = name(found).unwrap_or("no link").to_owned();
            Err(NetworkError::Taken { network, route: found.to, link })
        }
    }
}

/// Fails when any part of the network is this machine's or its neighbours'.
pub fn check_apart(network: Ipv4Net) -> Result<(), NetworkError> {
    let overlaps = |found: &&rtnl::Found| {
        !found.is_ours && found.is_near && (found.to.contains(&network) || network.contains(&found.to))
    };
    match rtnl::routes(&Socket::open(Family::Route)?)?.iter().find(overlaps) {
        None => check_network(network, ""),
        Some(found) => Err(NetworkError::Taken { network, route: found.to, link: "one of its links".into() }),
    }
}

/// Idempotent. A device of another configuration is replaced.
pub fn ensure(config: &Config) -> Result<Bridge, NetworkError> {
    let socket = Socket::open(Family::Route)?;
    let gateway = gateway(config.pod_cidr);
    let mtu = uplink_mtu(&socket, config.node_ip)?;
    let mut batch = Batch::default();
    if rtnl::link(&socket, &config.bridge)?.is_some_and(|link| link.mac != mac_of(gateway)) {
        rtnl::delete_link(&mut batch, &config.bridge);
        rtnl::delete_unreachable_routes(&socket)?;
    }
    rtnl::add_bridge(&mut batch, &config.bridge, mac_of(gateway), mtu);
    rtnl::without_ipv6_addresses(&mut batch, &config.bridge);
    rtnl::set_up(&mut batch, &config.bridge);
    socket.execute(&batch)?;
    let index = rtnl::link(&socket, &config.bridge)?.map(|link| link.index).ok_or_else(|| Refused {
        action: "find bridge",
        subject: config.bridge.clone(),
        source: std::io::Error::from_raw_os_error(libc::ENODEV),
    })?;

    let mut batch = Batch::default();
    rtnl::add_address(&mut batch, index, Ipv4Net::from(gateway));
    rtnl::add_address(&mut batch, index, Ipv4Net::from(config.dns_ip));
    // Services are translated before they would go there; what is left is rejected.
    let services = rtnl::Route { to: config.service_cidr, via: Via::Link(index), source: Some(gateway) };
    rtnl::set_route(&mut batch, &services);
    // Pods have longer routes. Addresses of no pod are answered at once, also to the node's own clients.
    rtnl::set_route(&mut batch, &rtnl::Route { to: config.pod_cidr, via: Via::Nowhere, source: None });
    socket.execute(&batch)?;

    forward_packets(&config.state_dir)?;
    Ok(Bridge { gateway, mtu })
}

/// Routes exactly these further networks of Services as the configured one is.
pub fn route_services(env: &Environment) -> Result<(), NetworkError> {
    let socket = Socket::open(Family::Route)?;
    let Some(link) = rtnl::link(&socket, &env.bridge)? else { return Ok(()) };
    let mut batch = Batch::default();
    for found in rtnl::routes(&socket)? {
        let is_known = found.to == env.service_cidr || env.more_services.contains(&found.to);
        if found.is_ours && found.link == Some(link.index) && !is_known {
            rtnl::delete_route(&mut batch, &found);
        }
    }
    for network in &env.more_services {
        let source = Some(gateway(env.pod_cidr));
        rtnl::set_route(&mut batch, &rtnl::Route { to: *network, via: Via::Link(link.index), source });
    }
    socket.execute(&batch)?;
    Ok(())
}

/// Deletes the device and the links of all pods, and forwards no more if that was so before us.
pub fn remove(config: &Config) -> Result<(), NetworkError> {
    let socket = Socket::open(Family::Route)?;
    let mut batch = Batch::default();
    for link in rtnl::links(&socket)?.iter().filter(|link| link.group == rtnl::POD_LINKS_GROUP) {
        rtnl::delete_link(&mut batch, &link.name);
    }
    rtnl::delete_link(&mut batch, &config.bridge);
    socket.execute(&batch)?;
    rtnl::delete_unreachable_routes(&socket)?;
    let was_off = config.state_dir.join(FORWARDING_WAS_OFF);
    if was_off.exists() {
        sysctl::set(IP_FORWARD, "0")?;
        let _ = fs::remove_file(was_off);
    }
    Ok(())
}

/// Remembers that forwarding was off, for [`remove`].
const FORWARDING_WAS_OFF: &str = "ip-forward-was-off";
const IP_FORWARD: &str = "net/ipv4/ip_forward";

fn forward_packets(state_dir: &Path) -> Result<(), NetworkError> {
    if sysctl::set(IP_FORWARD, "1")? {
        let path = state_dir.join(FORWARDING_WAS_OFF);
        fs::create_dir_all(state_dir).and_then(|()| fs::write(&path, "")).map_err(|source| {
            NetworkError::Failed { action: "write", subject: path.display().to_string(), source }
        })?;
    }
    Ok(())
}

/// Names of the pods' links.
pub fn pod_links() -> Result<Vec<String>, NetworkError> {
    let links = rtnl::links(&Socket::open(Family::Route)?)?;
    Ok(links.into_iter().filter(|link| link.group == rtnl::POD_LINKS_GROUP).map(|link| link.name).collect())
}

fn uplink_mtu(socket: &Socket, node_ip: IpAddr) -> Result<u32, NetworkError> {
    let IpAddr::V4(node_ip) = node_ip else { return Ok(ETHERNET_MTU) };
    let index = rtnl::link_of_address(socket, node_ip)?;
    let mtu = rtnl::links(socket)?.into_iter().find(|link| Some(link.index) == index).map(|link| link.mtu);
    // The loopback's 64 KiB is no uplink's.
    Ok(mtu.filter(|mtu| *mtu < 65_536).unwrap_or(ETHERNET_MTU))
}
