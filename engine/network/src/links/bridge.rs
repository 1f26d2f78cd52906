//! The bridge `coracle0`: the pods' gateway, the home of the DNS address, and the way of everything that goes to the
//! service network, so that none of it ever finds the uplink.
//!
//! Reads:  the uplink's MTU.
//! Writes: one link, its addresses, the route to the service network, `net.ipv4.ip_forward`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::{mac_of, rtnl};
use crate::{
    Config, NetworkError,
    netlink::{Batch, Family, Refused, Socket},
    sysctl,
};

const ETHERNET_MTU: u32 = 1500;

#[derive(Clone, Debug)]
pub struct Bridge {
    pub name: String,
    pub index: u32,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
}

/// The first address of the pod network.
pub fn gateway(pod_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(pod_cidr.network().to_bits() + 1)
}

/// Idempotent: an existing bridge is kept with its ports.
pub fn ensure(config: &Config) -> Result<Bridge, NetworkError> {
    let socket = Socket::open(Family::Route)?;
    let gateway = gateway(config.pod_cidr);
    let mtu = uplink_mtu(&socket, config.node_ip)?;
    let mut batch = Batch::default();
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
    rtnl::add_address(&mut batch, index, net(gateway, config.pod_cidr.prefix_len()));
    rtnl::add_address(&mut batch, index, net(config.dns_ip, 32));
    let services = rtnl::Route { to: config.service_cidr, gateway: None, source: Some(gateway) };
    rtnl::add_route(&mut batch, index, &services);
    socket.execute(&batch)?;

    sysctl::set("net/ipv4/ip_forward", "1")?;
    // Replies to connections from the node's 127.0.0.1 to a host port; the table drops what pods send to 127.0.0.0/8.
    sysctl::set(&format!("net/ipv4/conf/{}/route_localnet", config.bridge), "1")?;
    Ok(Bridge { name: config.bridge.clone(), index, gateway, mtu })
}

/// Deletes the bridge and the links of all pods.
pub fn remove(config: &Config) -> Result<(), NetworkError> {
    let socket = Socket::open(Family::Route)?;
    let Some(bridge) = rtnl::link(&socket, &config.bridge)? else { return Ok(()) };
    let mut batch = Batch::default();
    for port in rtnl::links(&socket)?.iter().filter(|link| link.master == Some(bridge.index)) {
        rtnl::delete_link(&mut batch, &port.name);
    }
    rtnl::delete_link(&mut batch, &config.bridge);
    socket.execute(&batch)?;
    Ok(())
}

/// Names of the links on the bridge.
pub fn ports(bridge: &Bridge) -> Result<Vec<String>, NetworkError> {
    let links = rtnl::links(&Socket::open(Family::Route)?)?;
    Ok(links.into_iter().filter(|link| link.master == Some(bridge.index)).map(|link| link.name).collect())
}

fn uplink_mtu(socket: &Socket, node_ip: IpAddr) -> Result<u32, NetworkError> {
    let IpAddr::V4(node_ip) = node_ip else { return Ok(ETHERNET_MTU) };
    let index = rtnl::link_of_address(socket, node_ip)?;
    let mtu = rtnl::links(socket)?.into_iter().find(|link| Some(link.index) == index).map(|link| link.mtu);
    // The loopback's 64 KiB is no uplink's.
    Ok(mtu.filter(|mtu| *mtu < 65_536).unwrap_or(ETHERNET_MTU))
}

fn net(address: Ipv4Addr, prefix_len: u8) -> Ipv4Net {
    Ipv4Net::new(address, prefix_len).unwrap_or_else(|_| Ipv4Net::from(address))
}
