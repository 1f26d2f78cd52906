//! Connections of clients: HTTP/1.1 in plain, HTTP/1.1 and HTTP/2 over TLS.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{forward::Forwarder, table::Table};

/// As nginx's `client_header_timeout`; also bounds a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// After a failed accept (no file descriptors left): others may free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
pub struct Frontend {
    pub table: Arc<ArcSwap<Table>>,
    pub tls: Arc<rustls::ServerConfig>,
    pub forwarder: Forwarder,
    pub connections: TaskTracker,
}

pub async fn plain(frontend: Arc<Frontend>, listener: TcpListener, stop: CancellationToken) {
    accept(listener, stop, |stream, peer, stop| {
        let shared = frontend.clone();
        frontend.connections.spawn(connection(shared, TokioIo::new(stream), peer, false, stop));
    })
    .await;
}

pub async fn tls(frontend: Arc<Frontend>, listener: TcpListener, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(frontend.tls.clone());
    accept(listener, stop, |stream, peer, stop| {
        let (shared, acceptor) = (frontend.clone(), acceptor.clone());
        frontend.connections.spawn(async move {
            match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(shared, TokioIo::new(stream), peer, true, stop).await,
                Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => debug!(%peer, "TLS handshake took too long"),
            }
        });
    })
    .await;
}

async fn accept(
    listener: TcpListener,
    stop: CancellationToken,
    mut serve: impl FnMut(TcpStream, SocketAddr, CancellationToken),
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Only a matter of latency.
                let _ = stream.set_nodelay(true);
                serve(stream, peer, stop.clone());
            }
            Err(error) => {
                warn!(%error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S>(
    frontend: Arc<Frontend>,
    stream: S,
    peer: SocketAddr,
    tls: bool,
    stop: CancellationToken,
) where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let frontend = frontend.clone();
        async move {
            let table = frontend.table.load_full();
            Ok::<_, Infallible>(frontend.forwarder.handle(&table, request, peer, tls).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    // Without TLS there is no agreement on HTTP/2.
    let builder = if tls { builder } else { builder.http1_only() };
    let serving = builder.serve_connection_with_upgrades(stream, service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, error, "connection ended");
    }
}
