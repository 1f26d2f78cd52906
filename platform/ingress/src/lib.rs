//! L7 proxy for Ingress objects, known to the cluster as class `nginx`.
//!
//! Knows the cluster only through its `kube::Client`: watches Ingresses, IngressClasses, Services, EndpointSlices and
//! TLS Secrets, and keeps one immutable [`table::Table`] that every request reads without waiting.
//!
//! Writes:    Ingress `status.loadBalancer`.
//! Invariant: a change of routes or endpoints never drops a request that is under way.
//! Source:    <https://kubernetes.io/docs/concepts/services-networking/ingress/>

mod annotations;
mod backend;
mod certificates;
mod forward;
mod headers;
mod objects;
mod pool;
mod respond;
mod router;
mod serve;
mod status;
mod table;
mod upgrade;
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{forward::Forwarder, serve::Frontend, table::Table};

#[derive(Clone, Debug)]
pub struct Config {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// The IngressClass served, `nginx`; also the value of the annotation `kubernetes.io/ingress.class`.
    pub ingress_class: String,
    /// Written to `status.loadBalancer.ingress`.
    pub status_ip: IpAddr,
    /// `cluster.local`: ExternalName targets under it are resolved through the API, not through DNS.
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
    http: TcpListener,
    https: TcpListener,
    frontend: Arc<Frontend>,
}

impl Ingress {
    pub async fn build(config: Config, client: kube::Client) -> Result<Ingress, BuildError> {
        let http = listen(config.http).await?;
        let https = listen(config.https).await?;
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let tls = certificates::server_config(table.clone())?;
        let forwarder = Forwarder::new(config.http.port(), config.https.port());
        let frontend = Arc::new(Frontend { table, tls, forwarder, connections: TaskTracker::new() });
        Ok(Ingress { config, client, http, https, frontend })
    }

    /// Serves until `stop`, then lets requests in flight end.
    pub async fn run(self, stop: CancellationToken) {
        let frontend = self.frontend;
        tokio::join!(
            watch::run(&self.config, &self.client, &frontend, &stop),
            serve::plain(frontend.clone(), self.http, stop.clone()),
            serve::tls(frontend.clone(), self.https, stop.clone()),
        );
        frontend.connections.close();
        frontend.connections.wait().await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BuildError> {
    TcpListener::bind(address).await.map_err(|source| BuildError::Listen { address, source })
}
