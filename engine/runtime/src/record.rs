//! What lies on disk for a sandbox: the durable records and where everything is.
//!
//! Kept true: a record is replaced as a whole (written beside, then renamed), so a reader sees the old or the new one.
//! Layout:    `<state_dir>/pods/<uid>/sandbox.json`, `…/containers/<id>/{container,config,running,exit}.json`, `upper`,
//!            `work`, `rootfs`; `<run_dir>/pods/<uid>/{shim.sock,ns/,shm/,oci/}` does not outlive a reboot.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::{ContainerSpec, Exit, SandboxSpec};

/// All that a shim has to know, so that it needs no daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub spec: SandboxSpec,
    /// The pod's directory below `run_dir`.
    pub run: PathBuf,
    /// Absolute inside the cgroup hierarchies.
    pub cgroup: String,
    /// Where the shims themselves live, so that they outlive the daemon's unit.
    pub shim_cgroup: String,
    pub log_max_bytes: u64,
    pub log_max_files: usize,
}

/// All that `coracle create` has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub id: String,
    pub spec: ContainerSpec,
    /// Lowest first.
    pub layers: Vec<PathBuf>,
    pub log: PathBuf,
    pub created_at_unix_ms: i64,
}

/// Written when the container's process runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningRecord {
    pub pid: i32,
    pub started_at_unix_ms: i64,
}

/// A pod's directory below `state_dir`.
#[derive(Clone, Debug)]
pub struct PodDirectory(pub PathBuf);

impl PodDirectory {
    pub fn sandbox(&self) -> io::Result<SandboxRecord> {
        read(&self.0.join("sandbox.json"))
    }
    pub fn container(&self, id: &str) -> ContainerDirectory {
        ContainerDirectory(self.0.join("containers").join(id))
    }
    pub fn containers(&self) -> io::Result<Vec<ContainerDirectory>> {
        let entries = match fs::read_dir(self.0.join("containers")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        entries.map(|entry| Ok(ContainerDirectory(entry?.path()))).collect()
    }
}

/// A container's directory, which is also its OCI bundle.
#[derive(Clone, Debug)]
pub struct ContainerDirectory(pub PathBuf);

impl ContainerDirectory {
    pub fn record(&self) -> io::Result<ContainerRecord> {
        read(&self.0.join("container.json"))
    }
    pub fn pod(&self) -> io::Result<PodDirectory> {
        let pod = self.0.parent().and_then(Path::parent);
        pod.map(|path| PodDirectory(path.to_owned()))
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
    pub fn running(&self) -> Option<RunningRecord> {
        read(&self.0.join("running.json")).ok()
    }
    pub fn exit(&self) -> Option<Exit> {
        read(&self.0.join("exit.json")).ok()
    }
    pub fn write_running(&self, record: &RunningRecord) -> io::Result<()> {
        write(&self.0.join("running.json"), record)
    }
    pub fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        write(&self.0.join("exit.json"), exit)
    }
}

/// Where `libcontainer` keeps a container's state and start socket.
pub fn oci_root(run: &Path) -> PathBuf {
    run.join("oci")
}

/// The pinned namespace of a kind (`net`, `ipc`, `uts`, `pid`).
pub fn namespace(run: &Path, kind: &str) -> PathBuf {
    run.join("ns").join(kind)
}

pub fn container_cgroup(pod: &str, id: &str) -> String {
    format!("{pod}/{id}")
}

pub fn now_unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// Containers below `state_dir` whose image is `image_id`, as `namespace/pod/container`: its layers are their root.
pub fn users_of_image(state_dir: &Path, image_id: &str) -> io::Result<Vec<String>> {
    let pods = match fs::read_dir(state_dir.join("pods")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut users = Vec::new();
    for pod in pods {
        let pod = PodDirectory(pod?.path());
        // What has no record is being made or removed.
        let Ok(sandbox) = pod.sandbox() else { continue };
        for container in pod.containers()?.iter().filter_map(|directory| directory.record().ok()) {
            if container.spec.image_id == image_id {
                let (namespace, name) = (&sandbox.spec.namespace, &sandbox.spec.name);
                users.push(format!("{namespace}/{name}/{}", container.spec.name));
            }
        }
    }
    Ok(users)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    fs::write(&beside, serde_json::to_vec(value)?)?;
    fs::rename(beside, path)
}
