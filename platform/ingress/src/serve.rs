//! Connections of clients: HTTP/1.1 in plain, HTTP/1.1 and HTTP/2 over TLS.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::{
    alarm::ConnectionTimer, forward::Forwarder, headers::Arrival, joined::Joined, respond::AnswerBody, tasks,
};

/// As nginx's `client_header_timeout`; also bounds a TLS handshake, and the rest between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// As nginx's `large_client_header_buffers`, 4 of 8 KiB. More is answered 431.
const HEAD_LIMIT: usize = 32 << 10;
/// As many as a head of that size can hold.
const MOST_HEADERS: usize = 1024;

/// Read at once of a client's connection.
const READ_BUFFER: usize = 64 << 10;

/// As nginx's `http2_max_concurrent_streams`.
const MAX_STREAMS: u32 = 128;

/// A client on HTTP/2 that is gone is noticed after this.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// After a failed accept (no file descriptors left): others may free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests under way may take once the ingress stops. The whole daemon has 5 seconds.
pub const DRAIN: Duration = Duration::from_secs(3);

pub async fn plain(forwarder: Arc<Forwarder>, listener: TcpListener, port: u16) {
    accept(&forwarder, listener, |stream, peer| {
        let visit = Visit { forwarder: forwarder.clone(), arrival: Arrival::new(peer, false, port) };
        forwarder.tasks.spawn(http1(Arc::new(visit), stream));
    })
    .await;
}

pub async fn tls(forwarder: Arc<Forwarder>, listener: TcpListener, port: u16, acceptor: TlsAcceptor) {
    accept(&forwarder, listener, |stream, peer| {
        let visit = Visit { forwarder: forwarder.clone(), arrival: Arrival::new(peer, true, port) };
        forwarder.tasks.spawn(handshake(Arc::new(visit), stream, acceptor.clone()));
    })
    .await;
}

async fn accept(forwarder: &Forwarder, listener: TcpListener, mut serve: impl FnMut(TcpStream, SocketAddr)) {
    loop {
        let accepted = tokio::select! {
            () = forwarder.tasks.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => serve(stream, peer),
            Err(error) => {
                warn!(%error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One client's connection.
struct Visit {
    forwarder: Arc<Forwarder>,
    arrival: Arrival,
}

async fn answer(visit: Arc<Visit>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    Ok(visit.forwarder.handle(request, &visit.arrival).await)
}

async fn handshake(visit: Arc<Visit>, stream: TcpStream, acceptor: TlsAcceptor) {
    let stopping = visit.forwarder.tasks.stopping.clone();
    let accepted = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream));
    let stream = match stopping.run_until_cancelled_owned(accepted).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => return debug!(%error, "TLS handshake failed"),
        Some(Err(_)) => return debug!("TLS handshake took too long"),
        None => return,
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(visit, stream).await;
    } else {
        http1(visit, stream).await;
    }
}

async fn http1<S>(visit: Arc<Visit>, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(ConnectionTimer::default())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        .max_header_size(HEAD_LIMIT)
        .max_headers(MOST_HEADERS);
    let shared = visit.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let serving = builder.serve_connection(TokioIo::new(Joined(stream)), service).with_upgrades();
    until_stopped(&visit, serving, |serving| serving.graceful_shutdown()).await;
}

async fn http2<S>(visit: Arc<Visit>, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(visit.forwarder.tasks.clone());
    builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
    builder.max_concurrent_streams(MAX_STREAMS).max_header_list_size(HEAD_LIMIT as u32);
    let shared = visit.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    until_stopped(&visit, serving, |serving| serving.graceful_shutdown()).await;
}

/// Serves until the client leaves. When the ingress stops, requests under way may still end.
async fn until_stopped<F>(visit: &Visit, serving: F, shut_down: impl FnOnce(Pin<&mut F>))
where
    F: Future<Output = hyper::Result<()>>,
{
    let mut serving = pin!(serving);
    let ended = match tasks::until(&visit.forwarder.tasks.stopping, serving.as_mut()).await {
        Some(ended) => ended,
        None => {
            shut_down(serving.as_mut());
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection of a client ended");
    }
}
