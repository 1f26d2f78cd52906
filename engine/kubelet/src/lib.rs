//! The node: pods from assignment to removal, with status, probes, volumes and logs.
//! CONTRACT: public names and signatures below are what `bin` compiles against.

use std::{net::IpAddr, path::Path, path::PathBuf, sync::Arc};

use coracle_runtime::{Runtime, RuntimeEvent, Session, images::ImageStore};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
    fn attach(&self, pod_uid: &str, netns: &Path, host_ports: Vec<HostPort>) -> BoxFuture<'static, Result<std::net::Ipv4Addr, String>>;
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

pub struct Kubelet {}

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

impl Kubelet {
    /// Registers the node (or takes the existing one over), adopts running sandboxes.
    pub async fn build(_config: Config, _dependencies: Dependencies) -> Result<Arc<Kubelet>, KubeletError> {
        unimplemented!()
    }
    /// Runs until `stop`; pods keep running.
    pub async fn run(self: Arc<Self>, _stop: CancellationToken) {
        unimplemented!()
    }
    pub async fn logs(
        &self,
        _pod_uid: &str,
        _container: &str,
        _options: LogOptions,
    ) -> Result<futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>, KubeletError> {
        unimplemented!()
    }
    pub async fn exec(&self, _pod_uid: &str, _container: &str, _command: Vec<String>, _stdin: bool, _tty: bool) -> Result<Session, KubeletError> {
        unimplemented!()
    }
    pub async fn attach(&self, _pod_uid: &str, _container: &str, _stdin: bool, _tty: bool) -> Result<Session, KubeletError> {
        unimplemented!()
    }
    pub async fn port_forward(&self, _pod_uid: &str, _port: u16) -> Result<tokio::net::TcpStream, KubeletError> {
        unimplemented!()
    }
}
