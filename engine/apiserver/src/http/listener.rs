//! The one socket: TLS, HTTP/1.1 and HTTP/2, bounded connections, an orderly end.
//!
//! Invariant: a connection that does nothing useful (no handshake, no request) is closed; at stop every connection ends
//! within [`GRACE`].

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{PeerCertificate, call::PeerAddress};
use crate::types::{Body, State};

/// Clients of one machine and its users; beyond it new ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// How often an idle HTTP/2 peer is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// As on a stock server.
const MAX_STREAMS: u32 = 250;
/// What requests in flight have left at stop: of the five seconds until the process must have ended, what the other roles
/// and the store's last sync do not need.
const GRACE: Duration = Duration::from_secs(4);
/// After an error of accept (too many open files), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub async fn serve(state: Arc<State>, listener: TcpListener, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(state.pki.server_tls());
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = slots.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let (state, acceptor, stop) = (state.clone(), acceptor.clone(), stop.clone());
                connections.spawn(connection(state, acceptor, (stream, address), stop, permit));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::debug!("connections did not end in time");
        connections.shutdown().await;
    }
}

async fn connection(
    state: Arc<State>,
    acceptor: TlsAcceptor,
    (stream, address): (TcpStream, SocketAddr),
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE, async {
        match speaks_http(&stream).await? {
            true => Err(refuse_http(stream).await),
            false => acceptor.accept(stream).await,
        }
    });
    let Some(handshake) = stop.run_until_cancelled(handshake).await else { return };
    let tls = match handshake {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            state.metrics.tls_handshake_errors.fetch_add(1, Relaxed);
            return tracing::debug!(%error, "TLS handshake failed");
        }
        Err(_) => {
            state.metrics.tls_handshake_errors.fetch_add(1, Relaxed);
            return tracing::debug!("TLS handshake timed out");
        }
    };
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = certificate.map(|certificate| PeerCertificate(certificate.clone().into_owned()));
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let (state, peer) = (state.clone(), peer.clone());
        async move {
            let mut request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
            request.extensions_mut().insert(PeerAddress(address));
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            Ok::<_, Infallible>(super::handle(state, request).await)
        }
    });
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

/// A TLS record begins with a byte below 32, an HTTP request with the letter of a method.
async fn speaks_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase())
}

/// Tells a client that speaks no TLS so, in a stock server's words; gives what the log says.
async fn refuse_http(mut stream: TcpStream) -> io::Error {
    // What is unread when the socket is closed takes the answer with it.
    let _ = stream.read(&mut [0; 4096]).await;
    let answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let _ = stream.write_all(answer.as_bytes()).await;
    io::Error::new(io::ErrorKind::InvalidData, "client sent an HTTP request to an HTTPS server")
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(64 * 1024);
    builder
}
