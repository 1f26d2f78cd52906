//! Connections to a pod's shim.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
};

use crate::protocol::{self, Reply, Request};

/// Creating a container is the slowest thing that a shim does.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Link {
    stream: UnixStream,
    inbox: Vec<u8>,
}

impl Link {
    pub fn connect(run: &Path) -> io::Result<Self> {
        // A socket's path has to be short: connect below the directory's descriptor.
        let directory = std::fs::File::open(run)?;
        let path = format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd());
        let stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, inbox: Vec::new() })
    }

    /// The descriptors travel with the first byte.
    pub async fn send(&mut self, request: &Request, descriptors: &[OwnedFd]) -> io::Result<()> {
        let frame = protocol::encode(request);
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let socket = self.stream.as_raw_fd();
        let first = self.stream.async_io(Interest::WRITABLE, || protocol::send(socket, &frame, &raw)).await?;
        self.stream.write_all(&frame[first..]).await
    }

    /// `None`: the shim closed the connection. Can be cancelled: nothing received is lost.
    pub async fn receive(&mut self) -> io::Result<Option<Reply>> {
        loop {
            if let Some(reply) = protocol::decode(&mut self.inbox)? {
                return Ok(Some(reply));
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// One request, one answer.
pub async fn request(run: &Path, request: &Request) -> io::Result<Reply> {
    let exchange = async {
        let mut link = Link::connect(run)?;
        link.send(request, &[]).await?;
        link.receive().await?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
