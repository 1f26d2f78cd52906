//! What the API server asks of the node for the pod subresources. Implemented by the kubelet, wired by `bin`.

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub trait PodAccess: Send + Sync {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<ByteStream, PodAccessError>>;
    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>>;
    fn attach(&self, request: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>>;
    fn port_forward(
        &self,
        pod_uid: String,
        port: u16,
    ) -> BoxFuture<'static, Result<Box<dyn Duplex>, PodAccessError>>;
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
