//! L7 proxy for Ingress objects, known to the cluster as class `nginx`. Knows the cluster only through its `kube::Client`.
//! CONTRACT: public names and signatures below are what `bin` compiles against.

use std::net::{IpAddr, SocketAddr};

use tokio_util::sync::CancellationToken;

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
}

/// Built: the sockets are bound, nothing is served yet.
pub struct Ingress {}

impl Ingress {
    pub async fn build(_config: Config, _client: kube::Client) -> Result<Ingress, BuildError> {
        unimplemented!()
    }
    /// Serves until `stop`, then lets requests in flight end.
    pub async fn run(self, _stop: CancellationToken) {
        unimplemented!()
    }
}
