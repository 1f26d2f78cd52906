//! Host ports: one pod each, per address and protocol; none that Coracle itself listens on.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::Rejection;
use crate::cluster::{Cluster, NodeState};

const ANY: &str = "0.0.0.0";

pub fn free(_: &Pod, spec: &PodSpec, node: &NodeState, cluster: &Cluster) -> Result<(), Rejection> {
    let wanted = host_ports(spec);
    // Coracle listens at all addresses.
    let own = cluster.own_ports.iter().map(|port| (ANY, "TCP", i32::from(*port)));
    let taken = node.pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(host_ports);
    for (address, protocol, port) in own.chain(taken) {
        let clash = wanted.iter().any(|(mine, other_protocol, other_port)| {
            port == *other_port
                && protocol == *other_protocol
                && (*mine == address || *mine == ANY || address == ANY)
        });
        if clash {
            return Err(Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
    }
    Ok(())
}

/// (address, protocol, port)
fn host_ports(spec: &PodSpec) -> Vec<(&str, &str, i32)> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.as_deref().filter(|address| !address.is_empty()).unwrap_or(ANY);
            Some((address, port.protocol.as_deref().unwrap_or("TCP"), number))
        })
        .collect()
}
