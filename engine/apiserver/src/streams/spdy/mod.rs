//! SPDY/3.1, the part that Kubernetes clients use: streams that the client opens, data both ways, pings.
//!
//! Kept true: header blocks are compressed and expanded in the order of the wire, also those that are refused.
//!            Windows are neither kept nor announced: the clients (moby/spdystream) do not either, TCP holds back.
//! Source:    https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/

mod frame;
mod headers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

pub use self::frame::SpdyError;
use self::{
    frame::Frame,
    headers::{Deflater, Headers, Inflater},
};
use super::{
    channels::CLOSE_TIMEOUT,
    mux::{Incoming, Out, Outgoing, QUEUE},
};

/// A stream that the client opened.
#[derive(Debug)]
pub struct NewStream {
    pub headers: Headers,
    pub incoming: Incoming,
    pub outgoing: Outgoing,
    /// Cancelled when the client wants nothing more of the stream.
    pub reset: CancellationToken,
}

/// What the reading side keeps of a stream.
struct Stream {
    /// Absent once the client said its last, or nobody listens.
    queue: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
}

/// Both ends of a connection's queues, before [`drive`] runs it.
pub struct Queues {
    accepted: mpsc::Sender<NewStream>,
    outbox: mpsc::Receiver<Out>,
    sender: mpsc::Sender<Out>,
}

/// The streams that will come, and the queue by which to close the connection.
pub fn queues() -> (Queues, mpsc::Receiver<NewStream>, mpsc::Sender<Out>) {
    let (accepted, streams) = mpsc::channel(QUEUE);
    let (sender, outbox) = mpsc::channel(QUEUE);
    (Queues { accepted, outbox, sender: sender.clone() }, streams, sender)
}

/// Carries the streams until the client leaves, or until `Out::Close` and the client's answer to it.
pub async fn drive(io: impl AsyncRead + AsyncWrite, queues: Queues) {
    let (mut reader, writer) = tokio::io::split(io);
    let reading = read(&mut reader, queues.accepted, queues.sender);
    tokio::select! {
        result = reading => {
            if let Err(error) = result {
                tracing::debug!(error = &error as &dyn std::error::Error, "SPDY connection broken");
            }
        }
        _ = write(writer, queues.outbox) => {
            // Unread bytes at close would reset the connection under what was just written.
            let mut nowhere = tokio::io::sink();
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, tokio::io::copy(&mut reader, &mut nowhere)).await;
        }
    }
}

async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    accepted: mpsc::Sender<NewStream>,
    sender: mpsc::Sender<Out>,
) -> Result<(), SpdyError> {
    let mut inflater = Inflater::new();
    let mut streams: HashMap<u32, Stream> = HashMap::new();
    let mut buffer = BytesMut::new();
    loop {
        let Some(frame) = Frame::parse(&mut buffer)? else {
            buffer.reserve(16 * 1024);
            if reader.read_buf(&mut buffer).await.map_err(SpdyError::Read)? == 0 {
                return Ok(());
            }
            continue;
        };
        let answer = match frame {
            Frame::SynStream { stream, finished, block } => {
                let (queue, incoming) = mpsc::channel(QUEUE);
                let outgoing = Outgoing { stream, queue: sender.clone() };
                let reset = CancellationToken::new();
                let new = NewStream {
                    headers: inflater.headers(&block)?,
                    incoming,
                    outgoing,
                    reset: reset.clone(),
                };
                streams.insert(stream, Stream { queue: (!finished).then_some(queue), reset });
                // The reply goes first: nobody knows the stream yet who could write to it.
                let _ = sender.send(Out::Reply(stream)).await;
                accepted.send(new).await.is_err().then_some(Out::Reset(stream))
            }
            Frame::Data { stream, finished, bytes } => {
                if let Some(entry) = streams.get_mut(&stream) {
                    let unwanted = match &entry.queue {
                        Some(queue) if !bytes.is_empty() => queue.send(bytes).await.is_err(),
                        _ => false,
                    };
                    if unwanted || finished {
                        entry.queue = None;
                    }
                }
                None
            }
            Frame::Reset { stream } => {
                if let Some(entry) = streams.remove(&stream) {
                    entry.reset.cancel();
                }
                None
            }
            Frame::Headers { block } => {
                inflater.headers(&block)?;
                None
            }
            Frame::Ping { id } => Some(Out::Ping(id)),
            Frame::Ignored => None,
        };
        if let Some(answer) = answer {
            let _ = sender.send(answer).await;
        }
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut outbox: mpsc::Receiver<Out>) -> std::io::Result<()> {
    let mut deflater = Deflater::new();
    let mut buffer = BytesMut::new();
    while let Some(out) = outbox.recv().await {
        let last = out == Out::Close;
        match out {
            Out::Reply(stream) => frame::syn_reply(&mut buffer, stream, &deflater.empty()),
            Out::Data(stream, bytes) => frame::data(&mut buffer, stream, &bytes, false),
            Out::Finish(stream) => frame::data(&mut buffer, stream, &[], true),
            Out::Ping(id) => frame::ping(&mut buffer, id),
            Out::Reset(stream) => frame::reset(&mut buffer, stream),
            Out::Close => frame::go_away(&mut buffer),
        }
        writer.write_all_buf(&mut buffer).await?;
        if last || outbox.is_empty() {
            writer.flush().await?;
        }
        if last {
            break;
        }
    }
    writer.shutdown().await
}
