//! The node's own name and address, as this machine knows them.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, bail};
use nix::ifaddrs::getifaddrs;

/// The interface that pods are behind.
pub const POD_BRIDGE: &str = "coracle0";

/// The source address of the default route; without one, the first IPv4 address that is not loopback nor the pods'.
pub fn detect() -> Result<Ipv4Addr> {
    default_route_source().or_else(first_address).context(
        "find the node's address: no interface has an IPv4 address besides loopback\nhint: name it with --node-ip",
    )
}

/// Services and certificates of an address that the machine does not have would reach nobody.
pub fn of_this_machine(address: Ipv4Addr) -> Result<Ipv4Addr> {
    if let Some(kind) = no_node_has(address) {
        bail!(
            "setting `node-ip` is `{address}`, {kind}, expected an address at which others reach this machine\n\
             hint: `ip -4 address` lists them"
        );
    }
    // Not told by a socket: it would also take the broadcast address of a network.
    let own = getifaddrs().context("list the addresses of this machine")?;
    let mut own = own.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    if !own.any(|one| one == address) {
        bail!(
            "setting `node-ip` ({address}) is no address of this machine\nhint: `ip -4 address` lists them"
        );
    }
    Ok(address)
}

/// What no stock node takes as its address either.
/// Source: https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/kubelet_node_status.go (`validateNodeIP`)
fn no_node_has(address: Ipv4Addr) -> Option<&'static str> {
    let kinds = [
        (address.is_unspecified(), "the unspecified address"),
        (address.is_loopback(), "a loopback address"),
        (address.is_multicast(), "a multicast address"),
        (address.is_broadcast(), "the broadcast address"),
        (address.is_link_local(), "a link-local address"),
    ];
    kinds.into_iter().find_map(|(is_one, kind)| is_one.then_some(kind))
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
    // What an earlier Coracle left for the pods is there before the uplink has its address.
    let others = getifaddrs().ok()?.filter(|interface| interface.interface_name != POD_BRIDGE);
    let addresses = others.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses.into_iter().find(|address| !address.is_loopback() && !address.is_link_local())
}

/// The host name in lower case, as node names are.
pub fn host_name() -> Result<String> {
    let name = nix::sys::utsname::uname().context("read the host name")?;
    Ok(name.nodename().to_string_lossy().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_an_address_that_others_reach() {
        for (address, kind) in [
            ("0.0.0.0", "the unspecified address"),
            ("127.0.0.1", "a loopback address"),
            ("224.0.0.1", "a multicast address"),
            ("255.255.255.255", "the broadcast address"),
            ("169.254.1.1", "a link-local address"),
        ] {
            let said = of_this_machine(address.parse().unwrap()).unwrap_err().to_string();
            assert!(
                said.starts_with(&format!("setting `node-ip` is `{address}`, {kind}, expected")),
                "{said}"
            );
        }
        assert_eq!(no_node_has(Ipv4Addr::new(192, 0, 2, 1)), None);
    }
}
