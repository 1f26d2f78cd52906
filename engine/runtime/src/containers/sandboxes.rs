//! Making, finding again and removing sandboxes.
//!
//! Kept true: removal takes away whatever of a sandbox is there, in any state, as often as it is asked.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering},
};

use nix::mount::{MntFlags, umount2};

use super::{
    Runtime, RuntimeConfig, blocking, failed, link,
    pods::{Container, Pod, state},
};
use crate::api::*;
use crate::cgroup::Cgroups;
use crate::protocol::Request;
use crate::record::{self, ContainerDirectory, PodDirectory, SandboxRecord};

impl Runtime {
    /// Makes cgroup and namespaces, starts the shim. Idempotent for the same uid.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<SandboxInfo, RuntimeError> {
        let uid = PodUid(spec.pod_uid.as_str().into());
        if let Ok(Some(info)) = self.with_pod(&uid, |pod| pod.alive.then(|| pod.info())) {
            return Ok(info);
        }
        // What a reboot or a lost shim left of it.
        self.remove_sandbox(&uid).await?;
        let config = &self.0.config;
        let directory = PodDirectory(config.state_dir.join("pods").join(&*uid.0));
        let root = config.cgroup_root.trim_end_matches('/');
        let record = SandboxRecord {
            run: config.run_dir.join("pods").join(&*uid.0),
            cgroup: format!("{root}/{}", spec.cgroup.trim_matches('/')),
            shim_cgroup: format!("{root}/shims"),
            log_max_bytes: config.log_max_bytes,
            log_max_files: config.log_max_files,
            spec,
        };
        let containers = BTreeMap::new();
        let pod = Pod { directory, record, alive: false, removing: Arc::default(), containers };
        let (inner, directory, record) = (self.0.clone(), pod.directory.clone(), pod.record.clone());
        self.0.pods.lock().insert(uid.clone(), pod);
        let made = blocking(move || make(&inner.cgroups, &inner.config, &directory, &record)).await;
        let watched = match made {
            Ok(()) => self.watch(&uid).await,
            Err(error) => Err(error),
        };
        if let Err(error) = watched {
            self.remove_sandbox(&uid).await?;
            return Err(failed("create sandbox of pod", &uid.0)(error));
        }
        self.with_pod(&uid, |pod| pod.info())
    }

    /// Kills what still runs, ends the shim, removes namespaces, cgroups, mounts and state (not the logs). Idempotent.
    pub async fn remove_sandbox(&self, pod: &PodUid) -> Result<(), RuntimeError> {
        let Ok((directory, record, alive)) = self.with_pod(pod, |pod| {
            pod.removing.store(true, Ordering::Release);
            (pod.directory.clone(), pod.record.clone(), pod.alive)
        }) else {
            return Ok(());
        };
        if alive {
            // A shim that does not answer is ended below.
            let _ = link::request(&record.run, &Request::Shutdown).await;
        }
        let inner = self.0.clone();
        let removed = blocking(move || remove(&inner.cgroups, &directory, Some(&record), &record.run)).await;
        removed.map_err(failed("remove sandbox of pod", &pod.0))?;
        self.0.pods.lock().remove(pod);
        Ok(())
    }

    /// Limits the pods of a group together: all of the node where `group` is empty, else those of a cgroup below.
    pub async fn limit_group(&self, group: &str, resources: &Resources) -> Result<(), RuntimeError> {
        let path = format!("{}/{group}", self.0.config.cgroup_root);
        let (inner, resources) = (self.0.clone(), resources.clone());
        let limited = path.clone();
        let limit = move || {
            inner.cgroups.create(&limited)?;
            inner.cgroups.apply(&limited, &resources)
        };
        blocking(limit).await.map_err(failed("limit cgroup", path.trim_end_matches('/')))
    }

    /// Removes the cgroups of the whole node, and so ends whatever is left in them. For when the node is taken down.
    pub async fn remove_cgroups(&self) -> Result<(), RuntimeError> {
        let (inner, root) = (self.0.clone(), self.0.config.cgroup_root.clone());
        blocking(move || inner.cgroups.remove(&root))
            .await
            .map_err(failed("remove cgroup", &self.0.config.cgroup_root))
    }

    /// Finds the sandboxes of an earlier process.
    pub(super) async fn recover(&self) -> Result<(), RuntimeError> {
        let pods = self.0.config.state_dir.join("pods");
        let list = |path: &Path| list(path).map_err(failed("list", &path.to_string_lossy()));
        for name in list(&pods)? {
            let directory = PodDirectory(pods.join(&name));
            let uid = PodUid(name.as_str().into());
            let Ok(record) = directory.sandbox() else {
                // This process ended while it made or removed the sandbox.
                let run = self.0.config.run_dir.join("pods").join(&name);
                let removed = remove(&self.0.cgroups, &directory, None, &run);
                removed.map_err(failed("remove remains of pod", &name))?;
                continue;
            };
            let containers = containers(&directory).map_err(failed("read containers of pod", &name))?;
            let pod = Pod { directory, record, alive: false, removing: Arc::default(), containers };
            self.0.pods.lock().insert(uid.clone(), pod);
            if let Err(error) = self.watch(&uid).await {
                tracing::info!(pod = %uid.0, %error, "a pod's shim is gone, its sandbox must be made anew");
                let cgroup = self.with_pod(&uid, |pod| pod.record.cgroup.clone())?;
                let cgroups = self.0.cgroups.clone();
                let _ = blocking(move || {
                    cgroups.kill(&cgroup);
                    Ok(())
                })
                .await;
                self.with_pod(&uid, |pod| pod.end_all())?;
            }
        }
        for name in list(&self.0.config.run_dir.join("pods"))? {
            if !pods.join(&name).exists() {
                let _ = remove_run(&self.0.config.run_dir.join("pods").join(name));
            }
        }
        Ok(())
    }
}

fn make(
    cgroups: &Cgroups,
    config: &RuntimeConfig,
    pod: &PodDirectory,
    record: &SandboxRecord,
) -> io::Result<()> {
    for directory in [&pod.0, &record.run] {
        private_directory(directory)?;
    }
    record::write(&pod.0.join("sandbox.json"), record)?;
    cgroups.create(&record.cgroup)?;
    cgroups.apply(&record.cgroup, &record.spec.resources)?;
    cgroups.create(&record.shim_cgroup)?;
    let output = Command::new(&config.executable)
        .arg("shim")
        .arg(&pod.0)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the shim did not start: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Secrets may lie below: for root only.
fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove(
    cgroups: &Cgroups,
    pod: &PodDirectory,
    record: Option<&SandboxRecord>,
    run: &Path,
) -> io::Result<()> {
    if let Some(record) = record {
        cgroups.kill(&record.cgroup);
    }
    end_shim(run);
    if let Some(record) = record {
        cgroups.remove(&record.cgroup)?;
    }
    remove_run(run)?;
    remove_tree(&pod.0)
}

/// One that did not end on request. Its number is checked: it could belong to another process by now.
fn end_shim(run: &Path) {
    let Some(pid) = fs::read_to_string(run.join("shim.pid")).ok().and_then(|text| text.parse::<i32>().ok())
    else {
        return;
    };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() == "coracle-shim" {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

fn remove_run(run: &Path) -> io::Result<()> {
    let pinned = ["net", "ipc", "uts", "pid"].map(|kind| record::namespace(run, kind));
    for path in pinned.iter().chain([&run.join("shm")]) {
        // Until it is no mount any more: made twice, it is mounted twice.
        while umount2(path, MntFlags::MNT_DETACH).is_ok() {}
    }
    remove_tree(run)
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes away what a container has outside of its shim.
pub fn delete_container(
    cgroups: &Cgroups,
    pod: &PodDirectory,
    sandbox: &SandboxRecord,
    id: &str,
) -> io::Result<()> {
    cgroups.remove(&record::container_cgroup(&sandbox.cgroup, id))?;
    remove_tree(&record::oci_root(&sandbox.run).join(id))?;
    remove_tree(&pod.container(id).0)
}

fn containers(pod: &PodDirectory) -> io::Result<BTreeMap<ContainerId, Container>> {
    let known = |directory: ContainerDirectory| {
        // Without a record the container was never created.
        let record = directory.record().ok()?;
        let state = state(&directory);
        Some((ContainerId(record.id.as_str().into()), Container { record, state }))
    };
    Ok(pod.containers()?.into_iter().filter_map(known).collect())
}

fn list(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
