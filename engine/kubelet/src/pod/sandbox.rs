//! A pod's sandbox and network: made before its containers, removed after them.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_runtime::{PodUid, SandboxSpec};
use k8s_openapi::api::core::v1::{ContainerPort, Pod, PodSpec};

use crate::shared::Shared;
use crate::{HostPort, dns, resources, volumes};

fn spec(shared: &Shared, pod: &Pod) -> SandboxSpec {
    let spec = pod.spec.clone().unwrap_or_default();
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let (uid, namespace, name) =
        (text(&pod.metadata.uid), text(&pod.metadata.namespace), text(&pod.metadata.name));
    let host_network = spec.host_network == Some(true);
    let sysctls: BTreeMap<String, String> = spec
        .security_context
        .iter()
        .flat_map(|s| s.sysctls.iter().flatten())
        .map(|s| (s.name.clone(), s.value.clone()))
        .collect();
    SandboxSpec {
        hostname: if host_network {
            shared.config.node_name.clone()
        } else {
            dns::kernel_hostname(pod, &shared.config.cluster_domain)
        },
        private_network: !host_network,
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        share_process_namespace: spec.share_process_namespace == Some(true),
        sysctls,
        cgroup: resources::qos_class(&spec).cgroup(&uid),
        resources: resources::pod_cgroup(&spec),
        log_dir: shared.pod_log_dir(&namespace, &name, &uid),
        pod_uid: uid,
        namespace,
        name,
    }
}

/// Of the containers that run as long as the pod does.
pub fn ports(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| resources::is_sidecar(c));
    spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten())
}

pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    ports(spec)
        .filter_map(|port| {
            let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
            Some(HostPort {
                host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: number(port.host_port?)?,
                container_port: number(port.container_port)?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            })
        })
        .collect()
}

/// Makes the sandbox; gives the pod's address unless it uses the node's network. `lost`: an earlier one died.
pub async fn create(shared: Arc<Shared>, pod: Arc<Pod>, lost: bool) -> Result<Option<String>, String> {
    pod.spec.as_ref().map_or(Ok(()), super::unsupported::check)?;
    super::runtime_class::check(&shared.store, &pod)?;
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    if lost {
        shared.runtime.remove_sandbox(&PodUid(uid.as_str().into())).await.map_err(|e| crate::chain(&e))?;
    }
    let sandbox = shared.runtime.create_sandbox(spec(&shared, &pod)).await.map_err(|e| crate::chain(&e))?;
    attach(&shared, &pod, sandbox.netns.as_deref()).await
}

/// Gives the sandbox its place in the pod network. Idempotent.
pub async fn attach(
    shared: &Shared,
    pod: &Pod,
    netns: Option<&std::path::Path>,
) -> Result<Option<String>, String> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match netns.filter(|_| pod.spec.as_ref().is_none_or(|s| s.host_network != Some(true))) {
        Some(netns) => {
            shared.network.attach(uid, netns, host_ports(pod)).await.map(|ip| Some(ip.to_string()))
        }
        None => Ok(None),
    }
}

/// Removes everything of a pod from the node but its logs, and its directory, now empty: that is how a later start knows
/// that the logs are ours. Idempotent.
pub async fn tear_down(shared: Arc<Shared>, uid: String) -> Result<(), String> {
    shared.runtime.remove_sandbox(&PodUid(uid.as_str().into())).await.map_err(|e| crate::chain(&e))?;
    shared.network.detach(&uid).await?;
    let dir = volumes::pod_dir(&shared.config.state_dir, &uid);
    volumes::tear_down(dir.clone()).await.map_err(|e| e.to_string())?;
    tokio::fs::create_dir_all(&dir).await.map_err(|e| format!("cannot make {}: {e}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn host_ports_are_those_of_containers_outside_the_host_network() {
        let containers =
            json!([{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]);
        let pod = |host: bool| -> Pod {
            serde_json::from_value(json!({"spec": {"hostNetwork": host, "containers": containers}})).unwrap()
        };
        let found: Vec<_> = host_ports(&pod(false)).iter().map(|p| (p.host_port, p.container_port)).collect();
        assert_eq!(found, [(8080, 80)]);
        assert!(host_ports(&pod(true)).is_empty());
    }
}
