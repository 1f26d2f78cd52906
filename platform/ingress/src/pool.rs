//! Connections to backends, kept open between requests.
//!
//! Invariant: at most [`MAX_IDLE`] connections rest for one address; none rests longer than twice [`MAX_REST`], and
//! while none rests there is no timer. HTTP/1.1 connections carry one request at a time; one HTTP/2 connection an address
//! carries all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::debug;

use crate::{
    exchange::{self, ConnectError, Connection},
    tasks::Tasks,
    upload::RequestBody,
};

/// As ingress-nginx's `upstream-keepalive-timeout`.
const MAX_REST: Duration = Duration::from_secs(60);

/// Enough for the concurrency of one small server; more would only hold memory.
const MAX_IDLE: usize = 64;

/// While streams are open on an HTTP/2 connection, a peer that is gone is noticed after this.
const PING_INTERVAL: Duration = Duration::from_secs(60);

pub type Http2 = http2::SendRequest<RequestBody>;

pub struct Pool {
    resting: Mutex<Resting>,
    shared: Mutex<HashMap<SocketAddr, Http2>>,
    /// Something rests again.
    filled: Notify,
    tasks: Tasks,
}

#[derive(Default)]
struct Resting {
    /// Of so few addresses, one is found sooner in order than by its hash.
    by_address: BTreeMap<SocketAddr, Vec<Idle>>,
    /// [`Pool::sweep`] knows that something rests.
    watched: bool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Idle {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < MAX_REST && self.connection.is_open()
    }
}

impl Pool {
    pub fn new(tasks: Tasks) -> Pool {
        Pool { resting: Mutex::default(), shared: Mutex::default(), filled: Notify::new(), tasks }
    }

    /// The connection that rested last: it is the least likely to be closed.
    pub fn take(&self, address: SocketAddr) -> Option<Box<Connection>> {
        let mut resting = self.resting.lock();
        let idle = resting.by_address.get_mut(&address)?;
        while let Some(last) = idle.pop() {
            if last.is_usable() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless it cannot be used again.
    pub fn give_back(&self, mut connection: Box<Connection>) {
        if !connection.rest() {
            return;
        }
        let mut resting = self.resting.lock();
        let idle = resting.by_address.entry(connection.address).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since: Instant::now() });
        }
        if !std::mem::replace(&mut resting.watched, true) {
            self.filled.notify_one();
        }
    }

    /// The HTTP/2 connection to this address, made when there is none that works.
    pub async fn http2(&self, address: SocketAddr, within: Duration) -> Result<Http2, ConnectError> {
        let known = self.shared.lock().get(&address).cloned();
        if let Some(mut sender) = known
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = exchange::connect(address, within).await?;
        let mut builder = http2::Builder::new(self.tasks.clone());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // Ends when its senders and exchanges are gone, or the peer closes.
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%address, %error, "connection to backend ended");
            }
        });
        self.shared.lock().insert(address, sender.clone());
        Ok(sender)
    }

    /// Closes what rests for addresses that no route leads to any more. Exchanges under way go on.
    pub fn retain(&self, addresses: &HashSet<SocketAddr>) {
        self.resting.lock().by_address.retain(|address, _| addresses.contains(address));
        self.shared.lock().retain(|address, _| addresses.contains(address));
    }

    /// Closes what has rested too long, for ever.
    pub async fn sweep(&self) {
        loop {
            self.filled.notified().await;
            loop {
                tokio::time::sleep(MAX_REST).await;
                if !self.close_old() {
                    break;
                }
            }
        }
    }

    /// Whether something still rests.
    fn close_old(&self) -> bool {
        let mut resting = self.resting.lock();
        resting.by_address.retain(|_, idle| {
            idle.retain(Idle::is_usable);
            !idle.is_empty()
        });
        self.shared.lock().retain(|_, sender| !sender.is_closed());
        resting.watched = !resting.by_address.is_empty();
        resting.watched
    }
}
