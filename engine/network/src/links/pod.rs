//! A pod's link: `vethXXXXXXXX` on the bridge, `eth0` in the pod.

use std::{fs::File, net::Ipv4Addr, os::fd::AsRawFd, path::Path};

use ipnet::Ipv4Net;

use super::{bridge::Bridge, mac_of, netns, rtnl};
use crate::{
    NetworkError,
    netlink::{Batch, Family, Socket},
};

const POD_LINK: &str = "eth0";
const LOOPBACK: &str = "lo";

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
        let peer = rtnl::Peer { name: POD_LINK, mac, netns_fd: file.as_raw_fd() };
        rtnl::add_veth(&mut batch, pod.link, bridge.index, bridge.mtu, &peer);
        rtnl::without_ipv6_addresses(&mut batch, pod.link);
        rtnl::isolate_port(&mut batch, pod.link);
        rtnl::set_up(&mut batch, pod.link);
        host.execute(&batch)?;
    }
    configure(&inside, bridge.gateway, pod.address)
}

/// The pod's own side.
fn configure(inside: &Socket, gateway: Ipv4Addr, address: Ipv4Addr) -> Result<(), NetworkError> {
    let Some(link) = rtnl::link(inside, POD_LINK)? else {
        return Err(NetworkError::Failed {
            action: "find link of pod",
            subject: POD_LINK.to_owned(),
            source: std::io::Error::from_raw_os_error(libc::ENODEV),
        });
    };
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, LOOPBACK);
    rtnl::without_ipv6_addresses(&mut batch, POD_LINK);
    rtnl::set_up(&mut batch, POD_LINK);
    rtnl::add_address(&mut batch, link.index, Ipv4Net::from(address));
    rtnl::add_route(&mut batch, link.index, &rtnl::Route { to: Ipv4Net::from(gateway), ..Default::default() });
    rtnl::add_route(&mut batch, link.index, &rtnl::Route { gateway: Some(gateway), ..Default::default() });
    inside.execute(&batch)?;
    Ok(())
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
