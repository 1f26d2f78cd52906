//! L7 proxy for Ingress objects, known to the cluster as class `nginx`.
//!
//! Knows the cluster only through its `kube::Client`: watches Ingresses, IngressClasses, Services, EndpointSlices and
//! Secrets (of which certificates alone), and keeps one immutable [`table::Table`] that every request reads without waiting.
//!
//! Writes:    Ingress `status.loadBalancer`, Events about what of an Ingress has no effect.
//! Invariant: a change of routes or endpoints never drops a request that is under way; nothing is answered
//!            before the routes are known: who comes earlier waits in the sockets' backlog.
//! Source:    <https://kubernetes.io/docs/concepts/services-networking/ingress/>

mod alarm;
mod annotations;
mod attempt;
mod backend;
mod certificates;
mod exchange;
mod forward;
mod headers;
mod joined;
mod names;
mod notices;
mod objects;
mod paths;
mod pool;
mod request_id;
mod respond;
mod router;
mod serve;
mod sockets;
mod status;
mod table;
mod tasks;
mod upgrade;
mod upload;
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{forward::Forwarder, table::Table, tasks::Tasks};

#[derive(Clone, Debug)]
pub struct Config {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// The IngressClass served, `nginx`; also the value of the annotation `kubernetes.io/ingress.class`.
    pub ingress_class: String,
    /// Written to `status.loadBalancer.ingress`.
    pub status_ip: IpAddr,
    /// `cluster.local`: Services that ExternalName names under it are resolved through the API, not through DNS.
    pub cluster_domain: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("listen on `{address}`")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Built: the sockets are bound, nothing is served yet.
pub struct Ingress {
    config: Config,
    client: kube::Client,
    http: (TcpListener, SocketAddr),
    https: (TcpListener, SocketAddr),
    acceptor: TlsAcceptor,
    forwarder: Arc<Forwarder>,
}

impl Ingress {
    pub async fn build(config: Config, client: kube::Client) -> Result<Ingress, BuildError> {
        let http = sockets::listen(config.http).await?;
        let https = sockets::listen(config.https).await?;
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let acceptor = certificates::server_config(table.clone())?.into();
        let forwarder = Arc::new(Forwarder::new(table, Tasks::default(), https.1.port()));
        Ok(Ingress { config, client, http, https, acceptor, forwarder })
    }

    /// Where it listens, HTTP and HTTPS: what port 0 in the configuration became.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.http.1, self.https.1)
    }

    /// Serves until `stop`, then lets requests in flight end, for a short time.
    pub async fn run(self, stop: CancellationToken) {
        let forwarder = self.forwarder;
        let tasks = forwarder.tasks.clone();
        // Also when this future is dropped.
        let _cut = tasks.cut.clone().drop_guard();
        let stopped = async {
            stop.cancelled().await;
            tasks.stopping.cancel();
        };
        let (http_port, https_port) = (self.http.1.port(), self.https.1.port());
        let known = CancellationToken::new();
        let answering = async {
            tokio::select! {
                () = tasks.stopping.cancelled() => return,
                () = known.cancelled() => {}
            }
            tokio::join!(
                serve::plain(forwarder.clone(), self.http.0, http_port),
                serve::tls(forwarder.clone(), self.https.0, https_port, self.acceptor),
            );
        };
        let serving = async {
            tokio::join!(stopped, watch::run(&self.config, &self.client, &forwarder, &known), answering,);
            // HTTP/2 connections to backends end once nobody may use them again.
            forwarder.pool.retain(&Default::default());
            tasks.end(serve::DRAIN).await;
        };
        tokio::select! {
            () = serving => {}
            () = forwarder.pool.sweep() => {}
        }
    }
}
