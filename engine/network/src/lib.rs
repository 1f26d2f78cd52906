//! Pod addresses and links, Services on nftables, cluster DNS.
//!
//! Reads:  Services, EndpointSlices and Pods in the store.
//! Writes: the bridge and its links, the nftables table `inet coracle`, connection tracking entries of stale UDP flows, a file
//!         for each pod's address. Everything but the addresses is made from the API again at start.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

mod dns;
mod firewall;
mod links;
mod netlink;
mod nft;
mod pod_links;
mod service;
mod sysctl;
#[cfg(test)]
mod tests;

pub use firewall::Firewall;
pub use pod_links::PodLinks;

#[derive(Clone, Debug)]
pub struct Config {
    pub node_ip: IpAddr,
    pub pod_cidr: ipnet::Ipv4Net,
    pub service_cidr: ipnet::Ipv4Net,
    pub dns_ip: Ipv4Addr,
    pub cluster_domain: String,
    /// `coracle0`
    pub bridge: String,
    /// Address leases of pods, so that they hold across restarts.
    pub state_dir: PathBuf,
    /// Where names outside the cluster are asked; empty: the node's /etc/resolv.conf.
    pub upstream_dns: Vec<IpAddr>,
    /// TCP ports of the node that no Service gets, whatever it asks for.
    pub own_ports: Vec<u16>,
}

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{action} `{subject}`")]
    Failed { action: &'static str, subject: String, source: std::io::Error },
    #[error("listen for DNS ({protocol}) on `{at}`")]
    DnsPort { protocol: &'static str, at: SocketAddr, source: std::io::Error },
    #[error("pod network `{0}` has no free address")]
    Exhausted(ipnet::Ipv4Net),
    #[error("network `{network}` is not free: this machine has a route to `{route}` by `{link}`")]
    Taken { network: ipnet::Ipv4Net, route: ipnet::Ipv4Net, link: String },
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
    /// `TCP`, `UDP`, `SCTP`
    pub protocol: String,
}

/// Built: bridge, table and DNS sockets exist; nothing is served yet.
pub struct Network {
    links: PodLinks,
    proxy: service::Proxy,
    dns: dns::Server,
}

impl Network {
    /// Fails when pods or Services would get addresses of a network that this machine is in. Changes nothing.
    pub fn check_free(config: &Config) -> Result<(), NetworkError> {
        links::bridge::check_free(config)
    }

    /// Removes what an earlier run left that no longer holds, keeps the links of pods that run.
    pub async fn build(config: Config, store: coracle_store::Reader) -> Result<Network, NetworkError> {
        let rules = Arc::new(Mutex::new(service::Rules::new(environment(&config))?));
        let links = PodLinks::build(&config, rules.clone())?;
        let proxy = service::Proxy::build(store.clone(), rules.clone());
        rules.lock().replace_all()?;
        let dns = dns::Server::build(&config, store).await?;
        Ok(Network { links, proxy, dns })
    }

    pub fn pod_links(&self) -> PodLinks {
        self.links.clone()
    }

    /// Keeps nftables equal to Services and EndpointSlices and answers DNS, until `stop`. Rules stay at stop:
    /// pods keep their Services while Coracle restarts.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.proxy.run(stop.clone()), self.dns.run(stop));
    }

    /// `coracle down`: removes bridge, links, table, sysctls.
    pub async fn remove(config: &Config) -> Result<(), NetworkError> {
        service::Rules::remove()?;
        links::bridge::remove(config)?;
        let leases = config.state_dir.join("pod-addresses");
        match std::fs::remove_dir_all(&leases) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let subject = leases.display().to_string();
                Err(NetworkError::Failed { action: "remove directory", subject, source })
            }
            _ => Ok(()),
        }
    }
}

fn environment(config: &Config) -> service::Environment {
    service::Environment {
        pod_cidr: config.pod_cidr,
        service_cidr: config.service_cidr,
        more_services: Vec::new(),
        bridge: config.bridge.clone(),
        dns_ip: config.dns_ip,
        own_ports: config.own_ports.clone(),
        node_ip: match config.node_ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        },
    }
}
