//! Opens connections: finds the address behind a name, dials, and speaks TLS where the scheme says so.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use coracle_store::Reader;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    resolve::{Place, ResolveError, resolve},
    tls::go_text,
};
use crate::Duplex;

const DIAL: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why there is no connection, in the words of a stock server.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error(transparent)]
    Service(#[from] ResolveError),
    #[error("dial tcp: lookup {name}: {why}")]
    Lookup { name: String, why: &'static str },
    #[error("dial tcp {address}: {why}")]
    Dial { address: SocketAddr, why: String },
    #[error("{0}")]
    Tls(String),
    #[error("net/http: TLS handshake timeout")]
    HandshakeTimeout,
}

/// Resolves names outside of the cluster. Set up at the first one.
#[derive(Clone, Default)]
pub struct Names(Arc<OnceLock<Option<TokioResolver>>>);

impl Names {
    async fn lookup(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)]);
        }
        let failed = |why| DialError::Lookup { name: name.to_owned(), why };
        let resolver = self.0.get_or_init(|| TokioResolver::builder_tokio().ok()?.build().ok());
        let resolver =
            resolver.as_ref().ok_or_else(|| failed("no name server: /etc/resolv.conf is not usable"))?;
        let found = resolver.lookup_ip(name).await.map_err(|_| failed("no such host"))?;
        Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

#[derive(Clone)]
pub struct Connector {
    pub reader: Reader,
    pub names: Names,
    pub tls: TlsConnector,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Link, Arc<DialError>> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = dial(&self.addresses(&host, port).await?).await?;
        let _ = stream.set_nodelay(true);
        if !secure {
            return Ok(Link(TokioIo::new(Box::new(stream))));
        }
        let name = ServerName::try_from(host.clone())
            .map_err(|_| DialError::Tls(format!("tls: `{host}` is no name of a server")))?;
        match tokio::time::timeout(HANDSHAKE, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Link(TokioIo::new(Box::new(stream)))),
            Ok(Err(error)) => Err(Arc::new(handshake_failed(&error, &host))),
            Err(_) => Err(Arc::new(DialError::HandshakeTimeout)),
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let place = match host.split('.').collect::<Vec<_>>()[..] {
            [name, namespace, "svc"] => resolve(&self.reader, namespace, name, port)?,
            _ => Place::Name(host.to_owned(), port),
        };
        match place {
            Place::Addresses(addresses) => Ok(addresses),
            Place::Name(name, port) => match name.parse::<IpAddr>() {
                Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
                Err(_) => self.names.lookup(&name, port).await,
            },
        }
    }
}

/// Tries each address once; begins with another one each time, so that endpoints share the load.
async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut failed = None;
    for turn in 0..addresses.len() {
        let address = addresses[first.wrapping_add(turn) % addresses.len()];
        let why = match tokio::time::timeout(DIAL, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => format!("connect: {}", errno_text(&error)),
            Err(_) => "i/o timeout".to_owned(),
        };
        failed = Some(DialError::Dial { address, why });
    }
    Err(failed.unwrap_or(DialError::Tls("no address".into())))
}

fn errno_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        io::ErrorKind::HostUnreachable => "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        _ => error.to_string(),
    }
}

fn handshake_failed(error: &io::Error, host: &str) -> DialError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(cause) => DialError::Tls(go_text(cause, host)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => DialError::Tls("EOF".into()),
        None => DialError::Tls(errno_text(error)),
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Link;
    type Error = Arc<DialError>;
    type Future = BoxFuture<'static, Result<Link, Arc<DialError>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Arc<DialError>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// An open connection, plain or not.
pub struct Link(TokioIo<Box<dyn Duplex>>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
