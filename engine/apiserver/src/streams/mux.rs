//! Many byte streams over one connection, whatever carries them (WebSocket channels or SPDY): what comes in arrives on
//! a queue per stream, what goes out takes its turn in one queue. Queues are short, so that the slower side is waited for.

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

/// Chunks between a reader and a writer; with `CHUNK_BYTES` each, what one stream may hold in memory.
pub const QUEUE: usize = 8;
const CHUNK_BYTES: usize = 16 * 1024;

/// What a stream receives. The end of the queue is the end of the stream.
pub type Incoming = mpsc::Receiver<Bytes>;

/// What the writing side of a connection is told to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    /// SPDY: accept the stream.
    Reply(u32),
    Data(u32, Bytes),
    /// No more data on this stream.
    Finish(u32),
    /// SPDY: echo a ping.
    Ping(u32),
    /// SPDY: there is no such stream.
    Reset(u32),
    /// Everything is said: close the connection in order.
    Close,
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("connection closed by the client")]
pub struct Gone;

/// The writing end of one stream.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub stream: u32,
    pub queue: mpsc::Sender<Out>,
}

impl Outgoing {
    pub async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.queue.send(Out::Data(self.stream, bytes.into())).await.map_err(|_| Gone)
    }

    pub async fn finish(&self) -> Result<(), Gone> {
        self.queue.send(Out::Finish(self.stream)).await.map_err(|_| Gone)
    }

    /// Sends everything that the reader gives. A reader that fails ends like one that is done: what it had was sent.
    pub async fn copy_from(&self, mut reader: impl AsyncRead + Unpin) -> Result<(), Gone> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK_BYTES);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => self.send(buffer.split().freeze()).await?,
            }
        }
    }
}
