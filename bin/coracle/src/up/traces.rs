//! What a run leaves on the node outside its data: where it lies, and its removal for `coracle down`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use coracle_network::Network;
use coracle_runtime::{
    PodUid,
    containers::{Runtime, RuntimeConfig},
    images::{ImageStore, RegistryConfig},
};
use tokio::sync::mpsc;

use crate::settings::DataOptions;

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
        bridge: "coracle0".into(),
        state_dir: options.data_dir.join("network"),
        upstream_dns: Vec::new(),
        own_ports: Vec::new(),
    }
}

/// Stops all pods and removes what they and the node left in network, mounts, cgroups and the run directory.
pub async fn remove_traces(options: &DataOptions) -> Result<()> {
    remove_pods(options).await?;
    Network::remove(&network_config(options)).await.context("remove the pod network")?;
    unmount_below(&kubelet_dir(options))?;
    unmount_below(&options.run_dir)?;
    match std::fs::remove_dir_all(&options.run_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove `{}`", options.run_dir.display()))
        }
        _ => Ok(()),
    }
}

async fn remove_pods(options: &DataOptions) -> Result<()> {
    let images =
        ImageStore::open(options.images_dir(), RegistryConfig::default()).await.context("open the images")?;
    let (events, mut ignored) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while ignored.recv().await.is_some() {} });
    let runtime =
        Runtime::open(runtime_config(options), images, events).await.context("open the container runtime")?;
    for sandbox in runtime.sandboxes().await.context("list the pods' sandboxes")? {
        let uid = PodUid(sandbox.spec.pod_uid.as_str().into());
        let name = format!("{}/{}", sandbox.spec.namespace, sandbox.spec.name);
        runtime.remove_sandbox(&uid).await.with_context(|| format!("remove pod `{name}`"))?;
    }
    runtime.remove_cgroups().await.context("remove the pods' cgroups")?;
    drain.abort();
    Ok(())
}

/// Unmounts whatever is mounted at or below `dir`, innermost first.
fn unmount_below(dir: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("read the mount table")?;
    let mut below: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(dir))
        .collect();
    below.sort();
    for path in below.iter().rev() {
        nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH)
            .with_context(|| format!("unmount `{}`", path.display()))?;
    }
    Ok(())
}
