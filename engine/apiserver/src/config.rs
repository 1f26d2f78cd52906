//! What the API server is started with.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

#[derive(Clone, Debug)]
pub struct Config {
    /// Keys and certificates live in `data_dir/pki`.
    pub data_dir: PathBuf,
    pub bind: SocketAddr,
    pub node_ip: IpAddr,
    pub node_name: String,
    /// More names or addresses for the serving certificate.
    pub extra_sans: Vec<String>,
    pub service_cidr: ipnet::Ipv4Net,
    /// `cluster.local`
    pub cluster_domain: String,
    pub node_port_range: std::ops::RangeInclusive<u16>,
}
