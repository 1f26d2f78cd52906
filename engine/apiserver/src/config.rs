//! What the API server is started with.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    audit,
    authn::{Anonymous, ConfigurationFile, IssuerConfig},
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
    pub protection: Protection,
}

/// What the server records about requests, and how it keeps them from overwhelming it.
#[derive(Clone, Debug)]
pub struct Protection {
    pub audit: audit::Config,
    /// Reading requests that are worked on at a time; together with the next, the seats of flow control.
    pub max_in_flight: u32,
    pub max_mutating_in_flight: u32,
    /// Requests that are not long-running end after this time, or earlier if they ask for it.
    pub request_timeout: Duration,
    /// Whose tokens are taken beside our own.
    pub issuers: Vec<IssuerConfig>,
    pub anonymous: Anonymous,
    /// Where the two come from; looked at again and again.
    pub authentication_file: Option<ConfigurationFile>,
}

impl Default for Protection {
    /// The stock server's numbers; nothing is recorded.
    fn default() -> Protection {
        Protection {
            audit: audit::Config::default(),
            max_in_flight: 400,
            max_mutating_in_flight: 200,
            request_timeout: Duration::from_secs(60),
            issuers: Vec::new(),
            anonymous: Anonymous::Everywhere,
            authentication_file: None,
        }
    }
}
