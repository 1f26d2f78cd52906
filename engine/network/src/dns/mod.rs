//! Cluster DNS, on the cluster DNS address: names of Services and pods straight from the store, everything else from upstream.
//!
//! Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md; where that is silent, what CoreDNS with
//!         kubeadm's Corefile answers.

mod names;
mod records;
mod server;
mod upstream;
mod zone;

pub use server::Server;
