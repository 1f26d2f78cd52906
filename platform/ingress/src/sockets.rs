//! Options of sockets. Accepted ones inherit those of their listener.

use std::{io, net::SocketAddr, os::fd::AsFd};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpListener;

use crate::BuildError;

/// A peer that vanished without a word is noticed after about two minutes, also on a WebSocket at rest.
const KEEPALIVE_IDLE_SECONDS: u32 = 60;
const KEEPALIVE_INTERVAL_SECONDS: u32 = 20;
const KEEPALIVE_PROBES: u32 = 3;

pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BuildError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        tune(&listener)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| BuildError::Listen { address, source })
}

/// Small answers leave at once; peers that are gone are found.
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_SECONDS)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_SECONDS)?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    Ok(())
}
