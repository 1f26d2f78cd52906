//! One Coracle a network: bridge, rules and routes have fixed names, and a second one would replace them unseen.
//!
//! The claim is a socket in the abstract namespace, which belongs to the network namespace and ends with its process.
//! Source: unix(7), network_namespaces(7).

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use anyhow::{Context, Result, bail};

use super::pid_file::once_free;

const NAME: &str = "coracle-network";

/// Held as long as this process writes rules and links.
pub struct NetworkClaim(#[allow(dead_code)] UnixListener);

impl NetworkClaim {
    pub fn acquire() -> Result<NetworkClaim> {
        claim(NAME)
    }
}

fn claim(name: &str) -> Result<NetworkClaim> {
    let bind = || SocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address));
    let taken = |bound: &std::io::Result<_>| {
        bound.as_ref().is_err_and(|error: &std::io::Error| error.kind() == ErrorKind::AddrInUse)
    };
    match once_free(bind, taken) {
        Ok(listener) => Ok(NetworkClaim(listener)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "another coracle runs in this machine's network, on other data\n\
             hint: `pgrep -a coracle` finds it; stop it with `coracle down` and its --data-dir"
        ),
        Err(error) => Err(error).context("claim this machine's network for Coracle"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_one_coracle_at_a_time() {
        let name = format!("coracle-test-{}", std::process::id());
        let held = claim(&name).unwrap();
        assert!(claim(&name).is_err());
        drop(held);
        assert!(claim(&name).is_ok());
    }
}
