//! Addresses of backends that lie outside the cluster: ExternalName Services that point to a name in DNS.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use tokio::sync::OnceCell;
use tracing::info;

/// Set up when it is first needed; keeps answers as long as they are valid.
#[derive(Default)]
pub struct Names(OnceCell<TokioResolver>);

impl Names {
    /// Empty: the name leads nowhere.
    pub async fn resolve(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        if let Ok(address) = host.parse() {
            return vec![SocketAddr::new(address, port)];
        }
        let resolver = self.0.get_or_try_init(|| async { TokioResolver::builder_tokio()?.build() }).await;
        let resolver = match resolver {
            Ok(resolver) => resolver,
            Err(error) => {
                info!(%error, "resolver could not be set up");
                return Vec::new();
            }
        };
        match resolver.lookup_ip(host).await {
            Ok(found) => found.iter().map(|address| SocketAddr::new(address, port)).collect(),
            Err(error) => {
                info!(host, %error, "backend's name could not be resolved");
                Vec::new()
            }
        }
    }
}
