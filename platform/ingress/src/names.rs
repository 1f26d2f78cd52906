//! Addresses of backends that are names in DNS: ExternalName Services that do not lead to a Service.
//!
//! Asked is the cluster's DNS, as pods ask it: it knows the records of single pods, and its upstreams are those that the
//! cluster is configured with. A cluster without a Service `kube-system/kube-dns` leaves the machine's resolvers.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use parking_lot::Mutex;
use tracing::info;

/// One resolver for as long as the cluster's DNS has one address; it keeps answers while they are valid.
#[derive(Default)]
pub struct Names(Mutex<Option<(IpAddr, TokioResolver)>>);

impl Names {
    /// Empty: the name leads nowhere. `dns` is the address of the cluster's DNS.
    pub async fn resolve(&self, dns: Option<IpAddr>, host: &str, port: u16) -> Vec<SocketAddr> {
        if let Ok(address) = host.parse() {
            return vec![SocketAddr::new(address, port)];
        }
        let resolver = match self.resolver(dns) {
            Ok(resolver) => resolver,
            Err(error) => {
                info!(%error, "resolver could not be set up");
                return Vec::new();
            }
        };
        match resolver.lookup_ip(format!("{host}.")).await {
            Ok(found) => found.iter().map(|address| SocketAddr::new(address, port)).collect(),
            Err(error) => {
                info!(host, %error, "backend's name could not be resolved");
                Vec::new()
            }
        }
    }

    fn resolver(&self, dns: Option<IpAddr>) -> Result<TokioResolver, NetError> {
        // The machine's file may change at any time.
        let Some(dns) = dns else { return TokioResolver::builder_tokio()?.build() };
        let mut current = self.0.lock();
        if let Some((address, resolver)) = &*current
            && *address == dns
        {
            return Ok(resolver.clone());
        }
        let resolver = asking(dns)?;
        *current = Some((dns, resolver.clone()));
        Ok(resolver)
    }
}

fn asking(dns: IpAddr) -> Result<TokioResolver, NetError> {
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Never;
    let servers = vec![NameServerConfig::udp_and_tcp(dns)];
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}
