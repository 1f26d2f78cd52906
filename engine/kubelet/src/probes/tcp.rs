//! A TCP connection, and what Go would say when there is none.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Attempt;

/// `host:port`, with brackets around IPv6.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The words stock components use for a failed connection.
pub fn dial_error(address: &str, error: &io::Error) -> String {
    let cause = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: {cause}")
}

pub async fn connect(host: &str, port: u16, timeout: Duration) -> Attempt {
    let address = join(host, port);
    match tokio::time::timeout(timeout, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Attempt::Success,
        Ok(Err(error)) => Attempt::Failure(dial_error(&address, &error)),
        Err(_) => Attempt::Failure(format!("dial tcp {address}: i/o timeout")),
    }
}
