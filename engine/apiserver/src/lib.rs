//! The Kubernetes API over the store: HTTP, authentication, authorization, admission, patch, watch, subresources,
//! discovery, OpenAPI.
//! CONTRACT: public names and signatures below are what `bin` compiles against.

use std::{net::IpAddr, net::SocketAddr, path::PathBuf, sync::Arc};

use coracle_client::Identity;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug)]
pub struct Config {
    /// Keys and certificates live in `data_dir/pki`.
    pub data_dir: PathBuf,
    pub bind: SocketAddr,
    pub node_ip: IpAddr,
    pub node_name: String,
    /// More names or addresses for the serving certificate.
    pub extra_sans: Vec<String>,
    pub service_cidr: ipnet::Ipv4Net,
    /// `cluster.local`
    pub cluster_domain: String,
    pub node_port_range: std::ops::RangeInclusive<u16>,
}

/// What the API server asks of the node for the pod subresources. Implemented by the kubelet, wired by `bin`.
pub trait PodAccess: Send + Sync {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<ByteStream, PodAccessError>>;
    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>>;
    fn attach(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>>;
    fn port_forward(&self, pod_uid: String, port: u16) -> BoxFuture<'static, Result<Box<dyn Duplex>, PodAccessError>>;
}

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub type ByteStream = futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>;

#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    pub pod_uid: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub since_seconds: Option<i64>,
    /// RFC 3339
    pub since_time: Option<String>,
    pub tail_lines: Option<i64>,
    pub limit_bytes: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    pub pod_uid: String,
    pub container: String,
    /// Empty for attach.
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

pub struct Session {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// (columns, rows)
    pub resize: tokio::sync::mpsc::Sender<(u16, u16)>,
    pub exit: BoxFuture<'static, Result<i32, PodAccessError>>,
}

#[derive(Debug, thiserror::Error)]
pub enum PodAccessError {
    /// 400 with this message.
    #[error("{0}")]
    BadRequest(String),
    /// 500 with this message.
    #[error("{0}")]
    Internal(String),
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{0}")]
    Placeholder(String),
}

/// Built: keys and bootstrap objects exist, the socket is bound, nothing is served over the network yet.
pub struct ApiServer {}

impl ApiServer {
    pub async fn build(_config: Config, _store: &coracle_store::Store) -> Result<ApiServer, BuildError> {
        unimplemented!()
    }
    /// A client straight into this server; works before `serve`.
    pub fn client(&self, _identity: Identity) -> kube::Client {
        unimplemented!()
    }
    pub fn set_pod_access(&self, _access: Arc<dyn PodAccess>) {
        unimplemented!()
    }
    /// A kubeconfig (YAML) with a client certificate of the group `system:masters`. The certificate is valid for
    /// `expiry`, by default a year.
    pub fn admin_kubeconfig(&self, _expiry: Option<std::time::Duration>, _namespace: Option<&str>) -> Result<String, BuildError> {
        unimplemented!()
    }
    /// PEM of the cluster's certificate authority.
    pub fn ca_pem(&self) -> String {
        unimplemented!()
    }
    /// Serves until `stop`, then lets requests in flight end (watches are closed at once).
    pub async fn serve(self: Arc<Self>, _stop: CancellationToken) {
        unimplemented!()
    }
}

/// Makes a kubeconfig for an admin from the keys in `data_dir/pki` alone, without a running server (`coracle kubeconfig`).
pub fn admin_kubeconfig_from(
    _data_dir: &std::path::Path,
    _server: &str,
    _expiry: Option<std::time::Duration>,
    _namespace: Option<&str>,
) -> Result<String, BuildError> {
    unimplemented!()
}
