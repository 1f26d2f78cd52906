//! Layer 2 and 3: one veth pair, one address and one route per pod, and the device `coracle0`.
//!
//! Pods share no segment. Each has a /32 address and a link of its own to the node, which routes between them. So every packet
//! passes the node's IP stack, where Services and policies are, and so does every reply: connection tracking sees both
//! directions, also when a pod reaches itself or its neighbour through a Service.
//!
//! Why not ports of the bridge: a bridge forwards between its ports below that stack. A reply between two pods would
//! bypass the translation; with br_netfilter it would not, but then translated packets are bridged around port isolation
//! and policies, and whether br_netfilter is there is decided by others (Docker loads it). `coracle0` is
//! a bridge without ports: the one kind of virtual device that every kernel has that can run containers.

pub mod bridge;
mod lease;
mod netns;
mod pod;
mod rtnl;

pub use lease::{Lease, Leases};
pub use pod::{Attachment, attach, detach, link_name};
pub use rtnl::POD_LINKS_GROUP;

use std::net::Ipv4Addr;

/// A MAC address derived from the IPv4 address: an address that is given again never meets a stale ARP entry.
/// `0a:58` is locally administered; the CNI bridge plugin uses the same scheme.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}
