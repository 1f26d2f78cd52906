//! The node's own name and address, as this machine knows them.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;

/// The source address of the default route; without one, the first IPv4 address that is not loopback.
pub fn detect() -> Result<Ipv4Addr> {
    default_route_source().or_else(first_address).context(
        "find the node's address: no interface has an IPv4 address besides loopback\nhint: name it with --node-ip",
    )
}

/// Services and certificates of an address that the machine does not have would reach nobody.
pub fn of_this_machine(address: Ipv4Addr) -> Result<Ipv4Addr> {
    UdpSocket::bind((address, 0)).with_context(|| {
        format!(
            "setting `node-ip` ({address}) is no address of this machine\nhint: `ip -4 address` lists them"
        )
    })?;
    Ok(address)
}

/// Asks the kernel which source address it would use. Connecting a UDP socket sends nothing.
fn default_route_source() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() && !address.is_unspecified() => Some(address),
        _ => None,
    }
}

fn first_address() -> Option<Ipv4Addr> {
    let addresses =
        getifaddrs().ok()?.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses.into_iter().find(|address| !address.is_loopback() && !address.is_link_local())
}

/// The host name in lower case, as node names are.
pub fn host_name() -> Result<String> {
    let name = nix::sys::utsname::uname().context("read the host name")?;
    Ok(name.nodename().to_string_lossy().to_lowercase())
}
