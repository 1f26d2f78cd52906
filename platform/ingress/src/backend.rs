//! Where requests of one route go.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::annotations::Settings;

/// A Service port, resolved.
#[derive(Debug)]
pub struct Backend {
    pub target: Target,
    pub settings: Settings,
    /// Round robin.
    next: AtomicUsize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// Ready endpoints; may be empty.
    Endpoints(Box<[SocketAddr]>),
    /// An ExternalName that is no Service's, resolved by the cluster's DNS when it is needed.
    Dns { host: String, port: u16 },
    /// The Ingress names a Service or port that does not exist.
    Absent,
}

impl Backend {
    pub fn new(target: Target, settings: Settings) -> Backend {
        Backend { target, settings, next: AtomicUsize::new(0) }
    }

    /// The place in the round at which the next request starts.
    pub fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
