//! The node: pods from assignment to removal, with status, probes, volumes and logs.
//!
//! Every pod has one worker (`pod/worker.rs`) around a pure state machine (`pod/plan.rs`). Containers live in shims:
//! they run on when this process ends and are adopted when it starts.

mod access;
mod admission;
mod bookings;
mod clock;
mod dns;
mod env;
mod hooks;
mod images;
mod logs;
mod node;
mod pod;
mod probes;
mod resources;
mod security;
mod shared;
mod shutdown;
mod volumes;

use std::{
    collections::HashMap,
    fs::Permissions,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use coracle_client::EventRecorder;
use coracle_runtime::{Runtime, RuntimeEvent, SandboxInfo, images::ImageStore};
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use node::{capacity, events, lease, register};
use pod::manager::Manager;
use shared::Shared;

pub(crate) use coracle_client::{api_message, chain};
pub use shutdown::{Ending, end_pods};

#[derive(Clone, Debug)]
pub struct Config {
    pub node_name: String,
    pub node_ip: IpAddr,
    /// `data_dir/kubelet`: volumes of pods.
    pub state_dir: PathBuf,
    /// `/var/log/pods` by default: `<ns>_<pod>_<uid>/<container>/<n>.log`
    pub log_dir: PathBuf,
    pub cluster_dns: IpAddr,
    pub cluster_domain: String,
    pub pod_cidr: String,
    pub max_pods: u32,
    /// TCP ports of the node on which Coracle itself listens: no pod gets one.
    pub own_ports: Vec<u16>,
    /// For the node's status: `v1.36.x`
    pub kubelet_version: String,
    /// PEM handed to pods through `kube-root-ca.crt` is in that ConfigMap; nothing else is needed here.
    pub api_server: String,
}

#[derive(Clone, Debug)]
pub struct HostPort {
    pub host_ip: Option<std::net::Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: String,
}

/// What the kubelet asks of the pod network. Implemented over `engine/network` by `bin`.
pub trait PodNetwork: Send + Sync {
    fn attach(
        &self,
        pod_uid: &str,
        netns: &Path,
        host_ports: Vec<HostPort>,
    ) -> BoxFuture<'static, Result<std::net::Ipv4Addr, String>>;
    fn detach(&self, pod_uid: &str) -> BoxFuture<'static, Result<(), String>>;
    fn retain(&self, pod_uids: std::collections::HashSet<String>) -> BoxFuture<'static, Result<(), String>>;
}

#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// The client asked for something the pod has not; the message is the stock one.
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Internal(String),
}

/// Everything the kubelet works with.
pub struct Dependencies {
    pub store: coracle_store::Reader,
    /// Identity `system:node:NAME`, group `system:nodes`.
    pub client: kube::Client,
    pub runtime: Runtime,
    pub runtime_events: mpsc::Receiver<RuntimeEvent>,
    pub images: ImageStore,
    pub network: Arc<dyn PodNetwork>,
}

#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub since_seconds: Option<i64>,
    pub since_time: Option<String>,
    pub tail_lines: Option<i64>,
    pub limit_bytes: Option<i64>,
}

pub struct Kubelet {
    shared: Arc<Shared>,
    /// Taken by `run`.
    start: Mutex<Option<Start>>,
}

/// What `run` goes on from.
struct Start {
    events: mpsc::Receiver<RuntimeEvent>,
    /// What runs already.
    sandboxes: Vec<SandboxInfo>,
    registered: bool,
}

impl Kubelet {
    /// Registers the node (or takes the existing one over), finds running sandboxes.
    pub async fn build(config: Config, dependencies: Dependencies) -> Result<Arc<Kubelet>, KubeletError> {
        let Dependencies { store, client, runtime, runtime_events, images, network } = dependencies;
        for dir in [&config.state_dir, &config.log_dir] {
            let made = tokio::fs::create_dir_all(dir).await;
            made.map_err(|e| KubeletError::Internal(format!("create `{}`: {e}", dir.display())))?;
        }
        // Secrets of pods lie here, readable by the users of their containers: nobody else on the node is to get there.
        let private = tokio::fs::set_permissions(&config.state_dir, Permissions::from_mode(0o700)).await;
        private
            .map_err(|e| KubeletError::Internal(format!("close `{}`: {e}", config.state_dir.display())))?;
        let shared = Arc::new(Shared {
            capacity: capacity::read(&config.state_dir, config.max_pods),
            events: EventRecorder::new(client.clone(), "kubelet", Some(&config.node_name)),
            config,
            store,
            client,
            runtime,
            images,
            network,
            views: RwLock::new(HashMap::new()),
            bookings: Mutex::default(),
            class_shares: tokio::sync::Mutex::default(),
        });
        let sandboxes = shared.runtime.sandboxes().await.map_err(|e| KubeletError::Internal(chain(&e)))?;
        events::starting(&shared);
        // What refuses it may need this node's pods, as a webhook does, or an admin.
        let registered = register::register(&shared).await;
        if let Err(error) = &registered {
            tracing::warn!(%error, "the node is not registered; it is tried again");
        }
        let start = Start { events: runtime_events, sandboxes, registered: registered.is_ok() };
        Ok(Arc::new(Kubelet { shared, start: Mutex::new(Some(start)) }))
    }

    /// Runs until `stop`; pods keep running.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Some(Start { events, sandboxes, registered }) = self.start.lock().take() else { return };
        let images_changed = Arc::new(Notify::new());
        let manager = Manager::new(self.shared.clone(), images_changed.clone(), stop.clone());
        tokio::join!(
            manager.run(sandboxes, events),
            events::enforce_allocatable(&self.shared),
            lease::keep(self.shared.clone(), stop.clone()),
            register::keep(self.shared.clone(), registered, images_changed, stop),
        );
    }
}
