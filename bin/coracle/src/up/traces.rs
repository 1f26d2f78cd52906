//! What a run leaves on the node outside its data: where it lies, and its removal for `coracle down`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use coracle_kubelet::Ending;
use coracle_network::Network;
use coracle_runtime::{
    ContainerInfo, PodUid, SandboxInfo,
    containers::{Runtime, RuntimeConfig},
    images::{ImageStore, RegistryConfig},
    mountinfo::mounts_below,
};
use coracle_store::{Resource, Scope};
use k8s_openapi::api::core::v1::Pod;
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};
use tokio::sync::mpsc;

use super::run_owner;
use crate::{node_address::POD_BRIDGE, settings::DataOptions};

/// As the kubelet: 10 MiB, 5 files a container.
const LOG_MAX_BYTES: u64 = 10 << 20;
const LOG_MAX_FILES: usize = 5;

/// The cgroup below which all pods live, one for each data directory: taking one Coracle down ends the processes in
/// its own alone. `/var/lib/coracle` gives `/coracle-var-lib-coracle`.
fn cgroup_root(data_dir: &Path) -> String {
    format!("/coracle{}", data_dir.to_string_lossy().replace('/', "-"))
}

pub fn runtime_config(options: &DataOptions) -> RuntimeConfig {
    RuntimeConfig {
        state_dir: options.data_dir.join("containers"),
        run_dir: options.run_dir.clone(),
        cgroup_root: cgroup_root(&options.data_dir),
        log_max_bytes: LOG_MAX_BYTES,
        log_max_files: LOG_MAX_FILES,
        executable: PathBuf::from("/proc/self/exe"),
    }
}

pub fn kubelet_dir(options: &DataOptions) -> PathBuf {
    options.data_dir.join("kubelet")
}

/// The parts of the network's configuration that its removal needs; the rest has its defaults.
pub fn network_config(options: &DataOptions) -> coracle_network::Config {
    coracle_network::Config {
        node_ip: std::net::Ipv4Addr::UNSPECIFIED.into(),
        pod_cidr: "10.42.0.0/16".parse().expect("a network"),
        service_cidr: "10.43.0.0/16".parse().expect("a network"),
        dns_ip: std::net::Ipv4Addr::new(10, 43, 0, 10),
        cluster_domain: "cluster.local".into(),
        bridge: POD_BRIDGE.into(),
        state_dir: options.data_dir.join("network"),
        upstream_dns: Vec::new(),
        own_ports: Vec::new(),
    }
}

/// Ends all pods, within `grace`, and removes what they and the node left in network, mounts, cgroups and the run
/// directory.
pub async fn remove_traces(options: &DataOptions, grace: Duration) -> Result<()> {
    remove_pods(options, grace).await?;
    Network::remove(&network_config(options)).await.context("remove the pod network")?;
    unmount_below(&kubelet_dir(options))?;
    unmount_below(&run_owner::pods(options))?;
    run_owner::remove(options)
}

async fn remove_pods(options: &DataOptions, grace: Duration) -> Result<()> {
    let images =
        ImageStore::open(options.images_dir(), RegistryConfig::default()).await.context("open the images")?;
    // Nobody waits for room in it: it is read while pods end, and afterwards closed.
    let (events, ended) = mpsc::channel(256);
    let runtime = Runtime::open(runtime_config(options), images.clone(), events)
        .await
        .context("open the container runtime")?;
    let sandboxes = runtime.sandboxes().await.context("list the pods' sandboxes")?;
    let running = running(options, &sandboxes).await;
    if !running.is_empty() && !grace.is_zero() {
        let names: Vec<String> = running.iter().map(|it| name(&it.sandbox)).collect();
        println!("ending pods, at most {} s: {}", grace.as_secs(), names.join(", "));
        coracle_kubelet::end_pods(&runtime, &images, &running, ended, grace).await;
    }
    for sandbox in sandboxes {
        let uid = PodUid(sandbox.spec.pod_uid.as_str().into());
        runtime.remove_sandbox(&uid).await.with_context(|| format!("remove pod `{}`", name(&sandbox)))?;
    }
    runtime.remove_cgroups().await.context("remove the pods' cgroups")
}

fn name(sandbox: &SandboxInfo) -> String {
    format!("{}/{}", sandbox.spec.namespace, sandbox.spec.name)
}

/// The pods that have running containers, with what the store knows of them. Without a store that can be read they end
/// without preStop hooks.
async fn running(options: &DataOptions, sandboxes: &[SandboxInfo]) -> Vec<Ending> {
    let runs = |it: &&SandboxInfo| it.containers.iter().any(ContainerInfo::is_running);
    let running: Vec<&SandboxInfo> = sandboxes.iter().filter(runs).collect();
    if running.is_empty() {
        return Vec::new();
    }
    let mut pods = known_pods(options).await.unwrap_or_else(|error| {
        eprintln!("preStop hooks do not run: {error:#}");
        HashMap::new()
    });
    let ending = |it: &SandboxInfo| Ending { sandbox: it.clone(), pod: pods.remove(&it.spec.pod_uid) };
    running.into_iter().map(ending).collect()
}

/// By UID.
async fn known_pods(options: &DataOptions) -> Result<HashMap<String, Pod>> {
    let store = super::open_store(options).await?;
    let scope = Scope { resource: Resource("pods".into()), namespace: None, name: None };
    let snapshot = store.reader().snapshot();
    let pods = snapshot.list(&scope).filter_map(|object| object.decode::<Pod>().ok());
    let pods = pods.map(|pod| (pod.metadata.uid.clone().unwrap_or_default(), Pod::clone(&pod))).collect();
    store.close().await;
    Ok(pods)
}

/// Unmounts whatever is mounted at or below `dir`, the last mounted first.
fn unmount_below(dir: &Path) -> Result<()> {
    for mount in mounts_below(dir).context("read the mount table")?.into_iter().rev() {
        match umount2(&mount.point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Gone with another one, or hidden under one that was mounted over it.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("unmount `{}`", mount.point.display()));
            }
        }
    }
    Ok(())
}
