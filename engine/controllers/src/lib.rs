//! The built-in controllers, one folder each.
//! CONTRACT: public names and signatures below are what `bin` compiles against.

use tokio_util::sync::CancellationToken;

/// What a controller works with: it reads the store, and writes through the API as its own identity.
pub struct Dependencies {
    pub store: coracle_store::Reader,
    /// Makes the client of one controller: `client_for("deployment-controller")` acts as
    /// `system:serviceaccount:kube-system:deployment-controller`.
    pub client_for: Box<dyn Fn(&str) -> kube::Client + Send + Sync>,
    /// For `kube-root-ca.crt`.
    pub ca_pem: String,
    /// LoadBalancer Services get this address.
    pub node_ip: std::net::IpAddr,
}

/// Runs all controllers until `stop`. One that panics is reported and restarted.
pub async fn run(_dependencies: Dependencies, _stop: CancellationToken) {
    unimplemented!()
}
