//! The types that the kubelet and the runtime exchange. Names follow the CRI and the OCI runtime specification.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(pub Arc<str>);

/// 64 hexadecimal digits, as users see it behind `containerd://`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub Arc<str>);

/// The namespaces, the cgroup and the shim of one pod.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    pub pod_uid: String,
    pub namespace: String,
    pub name: String,
    pub hostname: String,
    /// `None` with hostNetwork: the node's own network namespace.
    pub private_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    /// `net.*`, `kernel.shm*` …
    pub sysctls: BTreeMap<String, String>,
    /// Below the node's pods cgroup, e.g. `burstable/pod<uid>`; the QoS class is part of it.
    pub cgroup: String,
    pub resources: Resources,
    /// Where containers' CRI logs lie: `<log_dir>/<container>/<restart>.log`.
    pub log_dir: PathBuf,
}

/// Limits as cgroups take them. `None`: no limit.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    pub memory_limit_bytes: Option<i64>,
    /// cgroup v1 units; converted to weights on v2.
    pub cpu_shares: Option<u64>,
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i32>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    pub pod_uid: String,
    /// The container's name in the pod spec.
    pub name: String,
    /// The restart count: part of the log's name.
    pub attempt: u32,
    /// The image as the pod spec names it; empty in records of older versions.
    #[serde(default)]
    pub image: String,
    /// The image's config digest as `images::ImageStore::resolve` gave it.
    pub image_id: String,
    /// Already merged from image and pod; never empty.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    pub mounts: Vec<Mount>,
    /// What the image declares with `VOLUME`: there, and writable also under a read-only root.
    #[serde(default)]
    pub image_volumes: Vec<String>,
    pub devices_all: bool,
    pub user: User,
    pub capabilities: Vec<String>,
    pub privileged: bool,
    pub no_new_privileges: bool,
    pub read_only_root: bool,
    pub seccomp: Seccomp,
    /// Empty unless the pod asks for `procMount: Unmasked` or is privileged; else the defaults apply.
    pub unmasked_proc: bool,
    pub tty: bool,
    pub stdin: bool,
    /// stdin closes when the first attach ends.
    pub stdin_once: bool,
    pub resources: Resources,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub read_only: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// Numeric: names are resolved against the image by `images::ImageStore::resolve_user`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile file on the node (the JSON that Docker and the kubelet read).
    Localhost(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running { pid: i32, started_at: jiff_timestamp::Timestamp },
    Exited(Exit),
}

/// How a container ended. Kept on disk by the shim, so that it is known after a restart of this process.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exit {
    /// 128 + signal when killed by one.
    pub code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    pub started_at_unix_ms: i64,
    pub finished_at_unix_ms: i64,
    /// Why the container could not start (`code` is 128 then), in the words a stock node uses.
    pub start_error: Option<String>,
}

/// Milliseconds since the Unix epoch.
pub mod jiff_timestamp {
    pub type Timestamp = i64;
}

#[derive(Clone, Debug)]
pub struct ContainerInfo {
    pub id: ContainerId,
    pub pod_uid: PodUid,
    pub name: String,
    pub attempt: u32,
    /// As in [`ContainerSpec::image`].
    pub image: String,
    pub image_id: String,
    pub user: User,
    pub state: ContainerState,
    pub log_path: PathBuf,
}

impl ContainerInfo {
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }
}

/// What `Runtime::sandboxes` finds on disk, after a restart too.
#[derive(Clone, Debug)]
pub struct SandboxInfo {
    pub spec: SandboxSpec,
    /// False when the shim is gone (a reboot, or it was killed): the sandbox must be made anew.
    pub alive: bool,
    /// Pinned network namespace, to be handed to the pod network. Absent with hostNetwork.
    pub netns: Option<PathBuf>,
    pub containers: Vec<ContainerInfo>,
}

#[derive(Clone, Debug)]
pub enum RuntimeEvent {
    Exited {
        pod_uid: PodUid,
        container: ContainerId,
        exit: Exit,
    },
    /// The shim is gone.
    SandboxLost {
        pod_uid: PodUid,
    },
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ExecSpec {
    pub argv: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    /// Dropping the session kills the process. Else it goes on without its streams; a terminal hangs up.
    #[serde(default)]
    pub ends_with_session: bool,
}

/// The streams of an exec or attach. With a TTY everything comes on `stdout`.
pub struct Session {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// (columns, rows)
    pub resize: mpsc::Sender<(u16, u16)>,
    /// The exit code; of an attach when the container ends.
    pub exit: futures::future::BoxFuture<'static, Result<i32, RuntimeError>>,
}

/// CPU and memory of a container or a whole pod, from its cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_usage_ns: u64,
    pub memory_working_set_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("{action} `{subject}`")]
    Failed { action: &'static str, subject: String, source: std::io::Error },
    /// The shim or `coracle create` said why, in words for the pod's owner.
    #[error("{message}")]
    Refused { message: String },
    #[error("no such container `{0}`")]
    NoSuchContainer(String),
    #[error("no such sandbox `{0}`")]
    NoSuchSandbox(String),
}
