//! A pod's link: `vethXXXXXXXX` on the node, `eth0` in the pod.

use std::{
    fs::File,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ipnet::Ipv4Net;

use super::{
    bridge::Bridge,
    mac_of, netns,
    rtnl::{self, Via},
};
use crate::{
    NetworkError,
    netlink::{Batch, Family, Socket},
};

const POD_LINK: &str = "eth0";
const LOOPBACK: &str = "lo";
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// Where a pod's link goes.
pub struct Attachment<'a> {
    pub link: &'a str,
    pub netns: &'a Path,
    pub address: Ipv4Addr,
}

/// Idempotent: a link that already has the address is left as it is.
pub fn attach(bridge: &Bridge, pod: &Attachment<'_>) -> Result<(), NetworkError> {
    let path = pod.netns.display().to_string();
    let file = File::open(pod.netns).map_err(|source| NetworkError::Failed {
        action: "open network namespace",
        subject: path.clone(),
        source,
    })?;
    let host = Socket::open(Family::Route)?;
    let inside = netns::socket_in(&file, &path)?;
    let mac = mac_of(pod.address);
    let existing = rtnl::link(&inside, POD_LINK)?;
    if existing.as_ref().is_none_or(|link| link.mac != mac) || rtnl::link(&host, pod.link)?.is_none() {
        let mut batch = Batch::default();
        // Of an earlier sandbox of this pod.
        rtnl::delete_link(&mut batch, pod.link);
        let veth = rtnl::Veth {
            name: pod.link,
            mac: mac_of(bridge.gateway),
            peer_name: POD_LINK,
            peer_mac: mac,
            netns_fd: file.as_raw_fd(),
            mtu: bridge.mtu,
        };
        rtnl::add_veth(&mut batch, &veth);
        rtnl::without_ipv6_addresses(&mut batch, pod.link);
        rtnl::harden_pod_link(&mut batch, pod.link);
        rtnl::set_up(&mut batch, pod.link);
        host.execute(&batch)?;
    }
    route_to(&host, bridge.gateway, pod)?;
    configure(&inside, bridge.gateway, pod.address)?;
    wait_until_operational(&host, pod.link)
}

/// The node's way to the pod.
fn route_to(host: &Socket, gateway: Ipv4Addr, pod: &Attachment<'_>) -> Result<(), NetworkError> {
    let index = existing_index(host, pod.link)?;
    let mut batch = Batch::default();
    let route = rtnl::Route { to: Ipv4Net::from(pod.address), via: Via::Link(index), source: Some(gateway) };
    rtnl::set_route(&mut batch, &route);
    rtnl::set_neighbour(&mut batch, index, pod.address, mac_of(pod.address));
    host.execute(&batch)?;
    Ok(())
}

/// The kernel activates the queue of the end that came up first a moment later; until then it drops what goes to
/// the pod, and a pod's first DNS answer with it. A pod that waited for long is better off with a lost packet.
fn wait_until_operational(host: &Socket, name: &str) -> Result<(), NetworkError> {
    let deadline = Instant::now() + LONGEST_WAIT;
    while rtnl::link(host, name)?.is_some_and(|link| !link.is_operational) && Instant::now() < deadline {
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The pod's own side.
fn configure(inside: &Socket, gateway: Ipv4Addr, address: Ipv4Addr) -> Result<(), NetworkError> {
    let index = existing_index(inside, POD_LINK)?;
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, LOOPBACK);
    rtnl::without_ipv6_addresses(&mut batch, POD_LINK);
    rtnl::set_up(&mut batch, POD_LINK);
    rtnl::add_address(&mut batch, index, Ipv4Net::from(address));
    rtnl::set_neighbour(&mut batch, index, gateway, mac_of(gateway));
    let to_gateway = rtnl::Route { to: Ipv4Net::from(gateway), via: Via::Link(index), source: None };
    rtnl::set_route(&mut batch, &to_gateway);
    let default = rtnl::Route { to: Ipv4Net::default(), via: Via::Gateway(index, gateway), source: None };
    rtnl::set_route(&mut batch, &default);
    inside.execute(&batch)?;
    Ok(())
}

fn existing_index(socket: &Socket, name: &str) -> Result<u32, NetworkError> {
    rtnl::link(socket, name)?.map(|link| link.index).ok_or_else(|| NetworkError::Failed {
        action: "find link",
        subject: name.to_owned(),
        source: std::io::Error::from_raw_os_error(libc::ENODEV),
    })
}

/// Deletes the link; the pod's side goes with it.
pub fn detach(link: &str) -> Result<(), NetworkError> {
    let mut batch = Batch::default();
    rtnl::delete_link(&mut batch, link);
    Socket::open(Family::Route)?.execute(&batch)?;
    Ok(())
}

/// `veth` and the first eight hexadecimal digits of the pod's uid.
pub fn link_name(pod_uid: &str) -> String {
    let digits: String = pod_uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    format!("veth{:0>8}", digits.to_ascii_lowercase())
}
