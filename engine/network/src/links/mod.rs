//! Layer 2 and 3: the bridge, one veth pair and one address per pod.
//!
//! Every pod has a /32 address and reaches everything, its neighbours too, through the bridge's own address; bridge ports are
//! isolated from each other. So every packet passes the node's IP stack, where Services and policies are, and every
//! reply passes it again: connection tracking sees both directions without br_netfilter, also when a pod reaches
//! itself or its neighbour through a Service.

pub mod bridge;
mod lease;
mod netns;
mod pod;
mod rtnl;

pub use lease::{Lease, Leases};
pub use pod::{Attachment, attach, detach, link_name};

use std::net::Ipv4Addr;

/// A MAC address derived from the IPv4 address: an address that is given again never meets a stale ARP entry.
/// `0a:58` is locally administered; the CNI bridge plugin uses the same scheme.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}
