//! Pod addresses and links, Services on nftables, cluster DNS.
//! CONTRACT: public names and signatures below are what `bin` compiles against.

use std::{net::IpAddr, net::Ipv4Addr, path::Path, path::PathBuf};

use tokio_util::sync::CancellationToken;

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
}

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{action} `{subject}`")]
    Failed { action: &'static str, subject: String, source: std::io::Error },
    #[error("pod network `{0}` has no free address")]
    Exhausted(ipnet::Ipv4Net),
}

#[derive(Clone, Debug)]
pub struct HostPort {
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
    /// `TCP`, `UDP`, `SCTP`
    pub protocol: String,
}

/// Built: bridge, table and DNS sockets exist; nothing is served yet.
pub struct Network {}

/// Gives pods their links and addresses.
#[derive(Clone)]
pub struct PodLinks {}

impl Network {
    /// Removes what an earlier run left that no longer holds, keeps the links of pods that run.
    pub async fn build(_config: Config, _store: coracle_store::Reader) -> Result<Network, NetworkError> {
        unimplemented!()
    }
    pub fn pod_links(&self) -> PodLinks {
        unimplemented!()
    }
    /// Keeps nftables equal to Services and EndpointSlices and answers DNS, until `stop`. Rules stay at stop:
    /// pods keep their Services while Coracle restarts.
    pub async fn run(self, _stop: CancellationToken) {
        unimplemented!()
    }
    /// `coracle down`: removes bridge, links, table, sysctls.
    pub async fn remove(_config: &Config) -> Result<(), NetworkError> {
        unimplemented!()
    }
}

impl PodLinks {
    /// Gives the pod's network namespace `eth0` with an address, loopback, default route and its host ports. Idempotent: the same pod keeps its address.
    pub async fn attach(&self, _pod_uid: &str, _netns: &Path, _host_ports: &[HostPort]) -> Result<Ipv4Addr, NetworkError> {
        unimplemented!()
    }
    pub async fn detach(&self, _pod_uid: &str) -> Result<(), NetworkError> {
        unimplemented!()
    }
    /// Detaches every pod that is not in `pod_uids`.
    pub async fn retain(&self, _pod_uids: &std::collections::HashSet<String>) -> Result<(), NetworkError> {
        unimplemented!()
    }
}
