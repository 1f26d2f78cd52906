//! Connections to backends, kept open between requests.
//!
//! Invariant: at most [`MAX_IDLE`] connections rest for one address, none longer than [`MAX_REST`].
//! HTTP/1.1 connections carry one request at a time; one HTTP/2 connection an address carries all.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tracing::debug;

use crate::forward::UpstreamBody;

/// As ingress-nginx's `upstream-keepalive-timeout`.
const MAX_REST: Duration = Duration::from_secs(60);

/// Enough for the concurrency of one small server; more would only hold memory.
const MAX_IDLE: usize = 64;

/// As nginx's `proxy_connect_timeout` in ingress-nginx.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub type Http1 = http1::SendRequest<UpstreamBody>;
pub type Http2 = http2::SendRequest<UpstreamBody>;

#[derive(Default)]
pub struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    shared: Mutex<HashMap<SocketAddr, Http2>>,
}

struct Idle {
    sender: Http1,
    since: Instant,
}

/// The connection a request uses; goes back to the pool when its answer has been read to the end.
pub struct Lease {
    pub sender: Http1,
    pub address: SocketAddr,
    /// It carried requests before: its peer may have closed it meanwhile.
    pub reused: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[error("connect")]
    Io(#[from] std::io::Error),
    #[error("open an HTTP connection")]
    Handshake(#[from] hyper::Error),
}

impl Pool {
    /// A connection that rested, else a new one.
    pub async fn http1(&self, address: SocketAddr) -> Result<Lease, ConnectError> {
        while let Some(mut sender) = self.take_idle(address) {
            // Waits for the end of the previous exchange's bookkeeping; fails when the peer has closed.
            if sender.ready().await.is_ok() {
                return Ok(Lease { sender, address, reused: true });
            }
        }
        self.connect_http1(address).await
    }

    pub async fn connect_http1(&self, address: SocketAddr) -> Result<Lease, ConnectError> {
        let stream = connect(address).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when sender and exchange are gone, or the peer closes.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%address, %error, "connection to backend ended");
            }
        });
        Ok(Lease { sender, address, reused: false })
    }

    /// The HTTP/2 connection to this address, made when there is none that works.
    pub async fn http2(&self, address: SocketAddr) -> Result<Http2, ConnectError> {
        let known = self.shared.lock().get(&address).cloned();
        if let Some(mut sender) = known
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = connect(address).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%address, %error, "connection to backend ended");
            }
        });
        self.shared.lock().insert(address, sender.clone());
        Ok(sender)
    }

    pub fn give_back(&self, lease: Lease) {
        if lease.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        let resting = idle.entry(lease.address).or_default();
        let now = Instant::now();
        resting.retain(|idle| now.duration_since(idle.since) < MAX_REST && !idle.sender.is_closed());
        if resting.len() < MAX_IDLE {
            resting.push(Idle { sender: lease.sender, since: now });
        }
    }

    /// Closes what rests for addresses that no route leads to any more. Exchanges under way go on.
    pub fn retain(&self, addresses: &HashSet<SocketAddr>) {
        self.idle.lock().retain(|address, _| addresses.contains(address));
        self.shared.lock().retain(|address, _| addresses.contains(address));
    }

    /// The one that rested last: it is the least likely to be closed.
    fn take_idle(&self, address: SocketAddr) -> Option<Http1> {
        let mut idle = self.idle.lock();
        let resting = idle.get_mut(&address)?;
        let found = resting.pop().filter(|idle| idle.since.elapsed() < MAX_REST);
        if found.is_none() {
            // The newest is too old, so all are.
            idle.remove(&address);
        }
        found.map(|idle| idle.sender)
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::Timeout)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Gives its lease back when dropped after the answer was read to the end.
pub struct Return {
    pub pool: Arc<Pool>,
    pub lease: Option<Lease>,
}

impl Return {
    pub fn now(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.pool.give_back(lease);
        }
    }
}
