//! The network for real, in private network namespaces: a node, pods on it, a client on the node's uplink.

mod cluster;
mod dns;
mod firewall;
mod host;
mod links;
mod services;
