//! What the API server asks of others: webhooks, aggregated API servers, pods and Services behind the proxy paths.
//!
//! Kept true: `NAME.NAMESPACE.svc` in an address is a Service, reached at a ready endpoint, never through a name server;
//!            connections are used again; whom a connection trusts is part of what it is.
//! Reads:     Services and EndpointSlices. Writes: nothing.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook

mod call;
mod connect;
pub mod forward;
mod html;
pub mod resolve;
#[cfg(test)]
mod tests;
mod tls;

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use tokio_rustls::TlsConnector;

use self::connect::{Connector, DialError, Names};
use crate::types::Body;

pub use call::{Hook, go_error, review_version};
pub use tls::{ClientIdentity, Trust, bundle_problem, config as tls_config};

/// A connection that waits for longer is closed.
const IDLE: Duration = Duration::from_secs(90);
const IDLE_PER_HOST: usize = 25;
/// Each bundle of authorities is a client of its own; a cluster has one per webhook or aggregated API.
const MAX_CLIENTS: usize = 64;

/// Whom to believe and as whom to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub trust: Trust,
    /// With the certificate that vouches for `X-Remote-User`.
    pub front_proxy: bool,
}

type HttpClient = Client<Connector, Body>;

/// Set up at the first request: a cluster that calls nobody pays nothing.
pub struct Outbound {
    reader: coracle_store::Reader,
    identity: ClientIdentity,
    names: Names,
    /// The one used last comes first.
    clients: Mutex<Vec<(Peer, HttpClient)>>,
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Dial(#[from] Arc<DialError>),
    #[error("{0}")]
    Exchange(String),
}

impl Outbound {
    pub fn new(reader: coracle_store::Reader, identity: ClientIdentity) -> Outbound {
        Outbound { reader, identity, names: Names::default(), clients: Mutex::default() }
    }

    /// Sends a request whose URI is whole. How long to wait for the answer is the caller's matter.
    pub async fn send(&self, peer: &Peer, request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        self.client(peer)?.request(request).await.map_err(|error| CallError::of(&error))
    }

    fn client(&self, peer: &Peer) -> Result<HttpClient, CallError> {
        let mut clients = self.clients.lock();
        if let Some(at) = clients.iter().position(|(own, _)| own == peer) {
            let entry = clients.remove(at);
            let client = entry.1.clone();
            clients.insert(0, entry);
            return Ok(client);
        }
        let identity = peer.front_proxy.then_some(&self.identity);
        let config = tls::config(&peer.trust, identity)
            .map_err(|error| CallError::Exchange(tls::go_text(&error, "")))?;
        let connector = Connector {
            reader: self.reader.clone(),
            names: self.names.clone(),
            tls: TlsConnector::from(Arc::new(config)),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        clients.insert(0, (peer.clone(), client.clone()));
        clients.truncate(MAX_CLIENTS);
        Ok(client)
    }
}

impl CallError {
    /// The cause that says most: what dialling met, else the innermost error.
    fn of(error: &(dyn std::error::Error + 'static)) -> CallError {
        let mut innermost = error;
        loop {
            if let Some(dial) = innermost.downcast_ref::<Arc<DialError>>() {
                return CallError::Dial(dial.clone());
            }
            match innermost.source() {
                Some(source) => innermost = source,
                None => return CallError::Exchange(go_error(innermost)),
            }
        }
    }
}
