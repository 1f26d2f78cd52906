//! What is mounted into a container: its volumes, and the files that every container gets.
//!
//! Writes:    `<pod dir>/etc/{hosts,hostname,resolv.conf}`, `<pod dir>/containers/<name>/<attempt>` (termination message).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle_runtime::{Mount, Propagation};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use crate::dns::{self, Cluster, ResolvConf};
use crate::env::expand;
use crate::volumes;

pub struct Inputs<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub attempt: u32,
    pub pod_dir: &'a Path,
    pub pod_ip: &'a str,
    pub node_name: &'a str,
    pub cluster: Cluster<'a>,
    pub env: &'a [(String, String)],
}

pub fn termination_file(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join("containers").join(container).join(attempt.to_string())
}

const HOSTS: &str = "/etc/hosts";
fn propagation(mount: &VolumeMount) -> Propagation {
    match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        _ => Propagation::Private,
    }
}

fn write_if_changed(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|have| have == text) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn volume_mount(inputs: &Inputs, index: usize, mount: &VolumeMount) -> Result<Mount, String> {
    let spec = inputs.pod.spec.as_ref().ok_or("the pod has no spec")?;
    let volume = spec.volumes.iter().flatten().find(|v| v.name == mount.name).ok_or_else(|| {
        format!("volume \"{}\" of mount \"{}\" does not exist", mount.name, mount.mount_path)
    })?;
    if mount.recursive_read_only.as_deref() == Some("Enabled") {
        return Err(format!(
            "failed to resolve recursive read-only mode: volume \"{}\" requested recursive read-only mode, but it is not supported by the runtime",
            mount.name
        ));
    }
    let mut host_path = volumes::host_path(inputs.pod_dir, volume)?;
    if volume.host_path.is_some() && !host_path.exists() {
        fs::create_dir_all(&host_path).map_err(|e| format!("create `{}`: {e}", host_path.display()))?;
    }
    let expression = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty());
    let sub_path = match (mount.sub_path.as_deref().filter(|s| !s.is_empty()), expression) {
        (Some(path), _) => Some(path.to_owned()),
        (None, Some(expression)) => {
            let missing = std::cell::Cell::new(false);
            let path = expand(expression, |name| {
                let value = inputs.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                missing.set(missing.get() || value.is_none());
                value
            });
            if missing.get() {
                return Err(format!("missing value for \"{expression}\" in subPathExpr"));
            }
            Some(path)
        }
        (None, None) => None,
    };
    if let Some(sub_path) = sub_path {
        let target = inputs.pod_dir.join("volume-subpaths").join(&volume.name).join(&inputs.container.name);
        host_path =
            volumes::sub_path::bind(&host_path, &sub_path, &target.join(index.to_string())).map_err(|e| {
                format!(
                    "failed to prepare subPath for volumeMount \"{}\" of container \"{}\": {e}",
                    mount.name, inputs.container.name
                )
            })?;
    }
    Ok(Mount {
        host_path,
        container_path: PathBuf::from(&mount.mount_path),
        read_only: mount.read_only == Some(true) || volumes::always_read_only(volume),
        propagation: propagation(mount),
    })
}

/// The pod's resolver, and what was left out of it.
fn resolver(inputs: &Inputs) -> (ResolvConf, Vec<String>) {
    let systemd = fs::read_to_string("/run/systemd/resolve/resolv.conf").ok();
    let etc_resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let node = ResolvConf::of_node(&etc_resolv, systemd.as_deref());
    let namespace = inputs.pod.metadata.namespace.as_deref().unwrap_or_default();
    let spec = inputs.pod.spec.clone().unwrap_or_default();
    dns::resolv_conf(namespace, &spec, &inputs.cluster, &node)
}

/// hosts, hostname and resolv.conf of the pod.
fn etc_files(inputs: &Inputs, resolver: &ResolvConf) -> io::Result<Vec<(PathBuf, &'static str)>> {
    let etc = inputs.pod_dir.join("etc");
    let host_network = inputs.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let node_hosts =
        if host_network { fs::read_to_string("/etc/hosts").unwrap_or_default() } else { String::new() };
    let hosts = dns::hosts_file(inputs.pod, inputs.pod_ip, inputs.cluster.domain, &node_hosts);
    let hostname = if host_network {
        inputs.node_name.to_owned()
    } else {
        dns::kernel_hostname(inputs.pod, inputs.cluster.domain)
    };
    let files = [
        ("hosts", hosts, HOSTS),
        ("hostname", format!("{hostname}\n"), "/etc/hostname"),
        ("resolv.conf", resolver.render(), "/etc/resolv.conf"),
    ];
    let mut out = Vec::new();
    for (name, text, target) in files {
        let path = etc.join(name);
        write_if_changed(&path, &text)?;
        out.push((path, target));
    }
    Ok(out)
}

pub struct Prepared {
    pub mounts: Vec<Mount>,
    /// What of the pod's DNS settings was left out, in words for its owner.
    pub dns_cut: Vec<String>,
}

/// Everything a container mounts, prepared on the node. Blocks.
pub fn prepare(inputs: &Inputs, read_only_root: bool) -> Result<Prepared, String> {
    let mut mounts = Vec::new();
    for (index, mount) in inputs.container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(volume_mount(inputs, index, mount)?);
    }
    let text = |e: io::Error| e.to_string();
    let taken = |mounts: &[Mount], path: &str| mounts.iter().any(|m| m.container_path == Path::new(path));
    let own = |host_path: PathBuf, path: &str| Mount {
        host_path,
        container_path: PathBuf::from(path),
        read_only: false,
        propagation: Propagation::Private,
    };
    let (resolver, dns_cut) = resolver(inputs);
    for (host_path, target) in etc_files(inputs, &resolver).map_err(text)? {
        if !taken(&mounts, target) {
            // As by a stock kubelet: containers may write their names for others.
            let read_only = read_only_root && target != HOSTS;
            mounts.push(Mount { read_only, ..own(host_path, target) });
        }
    }
    let message_path = inputs.container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    let file = termination_file(inputs.pod_dir, &inputs.container.name, inputs.attempt);
    fs::create_dir_all(file.parent().unwrap_or(&file)).map_err(text)?;
    fs::write(&file, "").map_err(text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).map_err(text)?;
    mounts.push(own(file, message_path));
    Ok(Prepared { mounts, dns_cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Of the first container of a pod, at its first attempt.
    fn inputs<'a>(pod: &'a Pod, pod_dir: &'a Path) -> Inputs<'a> {
        Inputs {
            pod,
            container: &pod.spec.as_ref().unwrap().containers[0],
            attempt: 0,
            pod_dir,
            pod_ip: "10.42.0.7",
            node_name: "n",
            cluster: Cluster { dns: "10.43.0.10", domain: "cluster.local" },
            env: &[],
        }
    }

    #[test]
    fn a_container_gets_its_volumes_and_the_files_of_the_pod() {
        let dir = tempfile::tempdir().unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "x"}}],
                "containers": [{"name": "a", "terminationMessagePath": "/tmp/why",
                    "volumeMounts": [{"name": "v", "mountPath": "/data"}, {"name": "c", "mountPath": "/etc/hostname"}]}]}
        }))
        .unwrap();
        let inputs = Inputs { attempt: 2, ..inputs(&pod, dir.path()) };
        let mounts = prepare(&inputs, true).unwrap().mounts;
        let list: Vec<_> = mounts
            .iter()
            .map(|m| {
                let host = m.host_path.strip_prefix(dir.path()).unwrap().display().to_string();
                format!("{host} {}{}", m.container_path.display(), if m.read_only { " ro" } else { "" })
            })
            .collect();
        assert_eq!(
            list,
            [
                "volumes/kubernetes.io~empty-dir/v /data",
                "volumes/kubernetes.io~configmap/c /etc/hostname ro",
                "etc/hosts /etc/hosts",
                "etc/resolv.conf /etc/resolv.conf ro",
                "containers/a/2 /tmp/why",
            ]
        );
        assert!(fs::read_to_string(dir.path().join("etc/hosts")).unwrap().contains("10.42.0.7\tp\n"));
    }

    #[test]
    fn what_the_runtime_cannot_make_read_only_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mount =
            json!({"name": "v", "mountPath": "/data", "readOnly": true, "recursiveReadOnly": "Enabled"});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "a", "volumeMounts": [mount]}]}
        }))
        .unwrap();
        let why = prepare(&inputs(&pod, dir.path()), true).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            why,
            "failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode, but it is not supported by the runtime"
        );
    }
}
