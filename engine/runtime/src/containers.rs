//! Sandboxes and containers: the daemon's side of the shims.

use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::api::*;
use crate::images::ImageStore;

#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Durable state: bundles, exit codes, overlay upper directories.
    pub state_dir: PathBuf,
    /// Sockets and pinned namespaces; emptied by a reboot (`/run/coracle`).
    pub run_dir: PathBuf,
    /// The cgroup below which all pods live: `/coracle` gives `/coracle/burstable/pod<uid>/<container>`.
    pub cgroup_root: String,
    /// Log files are rotated at this size, and this many are kept.
    pub log_max_bytes: u64,
    pub log_max_files: usize,
}

#[derive(Clone)]
pub struct Runtime {}

impl Runtime {
    /// Opens the state, reconnects to the shims that still live and collects what ended meanwhile.
    /// Events go to `events` from then on.
    pub async fn open(
        _config: RuntimeConfig,
        _images: ImageStore,
        _events: mpsc::Sender<RuntimeEvent>,
    ) -> Result<Runtime, RuntimeError> {
        unimplemented!()
    }
    pub async fn sandboxes(&self) -> Result<Vec<SandboxInfo>, RuntimeError> {
        unimplemented!()
    }
    /// Makes cgroup and namespaces, starts the shim. Idempotent for the same uid.
    pub async fn create_sandbox(&self, _spec: SandboxSpec) -> Result<SandboxInfo, RuntimeError> {
        unimplemented!()
    }
    /// Kills what still runs, ends the shim, removes namespaces, cgroups, mounts and state (not the logs). Idempotent.
    pub async fn remove_sandbox(&self, _pod: &PodUid) -> Result<(), RuntimeError> {
        unimplemented!()
    }
    /// Updates the pod's cgroup, e.g. when its containers' limits are known or changed.
    pub async fn update_resources(&self, _pod: &PodUid, _resources: &Resources) -> Result<(), RuntimeError> {
        unimplemented!()
    }
    /// Mounts the root file system and creates the container, not started.
    pub async fn create_container(&self, _spec: ContainerSpec) -> Result<ContainerInfo, RuntimeError> {
        unimplemented!()
    }
    pub async fn start_container(&self, _id: &ContainerId) -> Result<(), RuntimeError> {
        unimplemented!()
    }
    /// To the container's first process; SIGKILL to all of its processes.
    pub async fn signal_container(&self, _id: &ContainerId, _signal: i32) -> Result<(), RuntimeError> {
        unimplemented!()
    }
    /// Of a stopped (or never started) container: unmounts and forgets it. Logs stay.
    pub async fn remove_container(&self, _id: &ContainerId) -> Result<(), RuntimeError> {
        unimplemented!()
    }
    pub async fn exec(&self, _id: &ContainerId, _spec: ExecSpec) -> Result<Session, RuntimeError> {
        unimplemented!()
    }
    pub async fn attach(&self, _id: &ContainerId, _stdin: bool, _tty: bool) -> Result<Session, RuntimeError> {
        unimplemented!()
    }
    /// A TCP connection to `127.0.0.1:port` (then `::1`) inside the pod's network namespace.
    pub async fn connect(&self, _pod: &PodUid, _port: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        unimplemented!()
    }
    pub async fn container_usage(&self, _id: &ContainerId) -> Result<Usage, RuntimeError> {
        unimplemented!()
    }
    pub async fn pod_usage(&self, _pod: &PodUid) -> Result<Usage, RuntimeError> {
        unimplemented!()
    }
}

/// Entry points of the re-executed binary, called first thing in `main` before any other initialisation:
/// returns `Some(exit code)` when the arguments are those of `coracle shim …` or `coracle create …`.
pub fn dispatch(_args: &[std::ffi::OsString]) -> Option<i32> {
    None
}
