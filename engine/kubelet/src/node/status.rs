//! `status` of the Node.
//!
//! Invariant: pure but for what is passed in; conditions keep the time of their last change.
//! Source:    https://kubernetes.io/docs/reference/node/node-status/

use std::collections::BTreeMap;

use coracle_runtime::images::ImageConfig;
use k8s_openapi::api::core::v1::{
    ContainerImage, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::capacity::{self, Capacity};
use crate::Config;
use crate::clock::{Millis, to_time};

/// As many images as a stock node lists.
const MAX_IMAGES: usize = 50;

const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

fn conditions(before: &NodeStatus, now: Millis) -> Vec<NodeCondition> {
    let old = before.conditions.as_deref().unwrap_or_default();
    CONDITIONS
        .iter()
        .map(|(type_, status, reason, message)| {
            let same = old.iter().find(|c| c.type_ == *type_ && c.status == *status);
            NodeCondition {
                type_: (*type_).to_owned(),
                status: (*status).to_owned(),
                reason: Some((*reason).to_owned()),
                message: Some((*message).to_owned()),
                last_heartbeat_time: Some(to_time(now)),
                last_transition_time: same
                    .and_then(|c| c.last_transition_time.clone())
                    .or_else(|| Some(to_time(now))),
            }
        })
        .collect()
}

fn images(mut images: Vec<ImageConfig>) -> Vec<ContainerImage> {
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    images.truncate(MAX_IMAGES);
    let listed = images.into_iter().map(|image| ContainerImage {
        names: Some(image.repo_digests.into_iter().chain(image.repo_tags).collect()),
        size_bytes: i64::try_from(image.size_bytes).ok(),
    });
    listed.collect()
}

pub fn build(
    config: &Config,
    capacity: &Capacity,
    info: &NodeSystemInfo,
    present: Vec<ImageConfig>,
    before: &NodeStatus,
    now: Millis,
) -> NodeStatus {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        capacity: Some(with_extended(&capacity.capacity, before)),
        allocatable: Some(with_extended(&capacity.allocatable, before)),
        conditions: Some(conditions(before, now)),
        // Pods are reached through the API server alone: no port is served by the node itself.
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        images: Some(images(present)),
        node_info: Some(info.clone()),
        features: Some(NodeFeatures { supplemental_groups_policy: Some(true) }),
        ..NodeStatus::default()
    }
}

/// All of an extended resource can be had: nothing of it is kept for the machine.
fn with_extended(own: &BTreeMap<String, Quantity>, before: &NodeStatus) -> BTreeMap<String, Quantity> {
    let extended = capacity::extended(before.capacity.as_ref());
    own.clone().into_iter().chain(extended.map(|(name, count)| (name.clone(), count.clone()))).collect()
}

/// Equal but for heartbeats.
pub fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let strip = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    strip(a) == strip(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heartbeats_change_in_a_quiet_node() {
        let config = crate::Config {
            node_name: "n".into(),
            node_ip: "192.0.2.1".parse().unwrap(),
            state_dir: "/".into(),
            log_dir: "/".into(),
            cluster_dns: "10.43.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".into(),
            pod_cidr: "10.42.0.0/24".into(),
            max_pods: 110,
            own_ports: vec![],
            kubelet_version: "v1.36.0".into(),
            api_server: String::new(),
        };
        let info = NodeSystemInfo::default();
        let first = build(&config, &Capacity::default(), &info, vec![], &NodeStatus::default(), 1000);
        let second = build(&config, &Capacity::default(), &info, vec![], &first, 9_000_000);
        assert!(same(&first, &second) && first != second);
        let mut told = second.clone();
        told.capacity.get_or_insert_default().extend([
            ("example.com/x".to_owned(), Quantity("4".into())),
            ("attachable-volumes-x.kubernetes.io/y".to_owned(), Quantity("1".into())),
        ]);
        let third = build(&config, &Capacity::default(), &info, vec![], &told, 9_000_000);
        let expected = BTreeMap::from([("example.com/x".to_owned(), Quantity("4".into()))]);
        assert_eq!([third.capacity, third.allocatable], [Some(expected.clone()), Some(expected)]);
        let transitions = |s: &NodeStatus| s.conditions.clone().unwrap()[3].last_transition_time.clone();
        assert_eq!(transitions(&first), transitions(&second));
    }
}
