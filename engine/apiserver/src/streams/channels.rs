//! Streams as numbered channels of a WebSocket: the first byte of each message is the channel.
//!
//! In `v5.channel.k8s.io` a client closes a channel with a message of channel 255 that names it. In the `base64`
//! protocols messages are text: the channel as a digit, then base64.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/remotecommand/constants.go

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::mux::Out;

const CLOSE_CHANNEL: u8 = 255;
/// How long a client may take to answer our close.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    base64: bool,
    closes_channels: bool,
}

impl Codec {
    pub fn of(protocol: &str) -> Codec {
        Codec { base64: protocol.contains("base64"), closes_channels: protocol.starts_with("v5.") }
    }

    /// The channel and its bytes; `None` for what is not a message of a channel.
    pub fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let mut bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            _ => return None,
        };
        if bytes.is_empty() {
            return None;
        }
        let first = bytes.split_to(1)[0];
        if !self.base64 {
            return Some((first, bytes));
        }
        Some((first.checked_sub(b'0')?, STANDARD.decode(&bytes).ok()?.into()))
    }

    pub fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            return Message::text(format!("{}{}", char::from(b'0' + channel), STANDARD.encode(bytes)));
        }
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(channel);
        message.put_slice(bytes);
        Message::binary(message.freeze())
    }
}

/// Carries the channels until the client leaves, or until `Out::Close` and the client's answer to it.
/// `inbox` holds a queue for each channel that the client may write.
pub async fn drive<S, E>(
    socket: S,
    codec: Codec,
    inbox: Vec<Option<mpsc::Sender<Bytes>>>,
    outbox: mpsc::Receiver<Out>,
) where
    S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Unpin,
{
    let (sink, mut source) = socket.split();
    tokio::select! {
        () = read(&mut source, codec, inbox) => {}
        () = write(sink, codec, outbox) => {
            let rest = async { while let Some(Ok(_)) = source.next().await {} };
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, rest).await;
        }
    }
}

async fn read<E>(
    source: &mut (impl Stream<Item = Result<Message, E>> + Unpin),
    codec: Codec,
    mut inbox: Vec<Option<mpsc::Sender<Bytes>>>,
) {
    while let Some(Ok(message)) = source.next().await {
        if message.is_close() {
            return;
        }
        match codec.decode(message) {
            Some((CLOSE_CHANNEL, closed)) if codec.closes_channels => {
                if let Some(entry) = closed.first().and_then(|channel| inbox.get_mut(usize::from(*channel))) {
                    *entry = None;
                }
            }
            Some((channel, bytes)) => {
                let Some(entry) = inbox.get_mut(usize::from(channel)) else { continue };
                let Some(queue) = entry else { continue };
                if queue.send(bytes).await.is_err() {
                    *entry = None;
                }
            }
            None => {}
        }
    }
}

async fn write<S: Sink<Message> + Unpin>(mut sink: S, codec: Codec, mut outbox: mpsc::Receiver<Out>) {
    while let Some(out) = outbox.recv().await {
        let message = match out {
            Out::Data(channel, bytes) => codec.encode(channel as u8, &bytes),
            Out::Close => {
                Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))
            }
            // A channel ends with the connection: servers close none.
            _ => continue,
        };
        let last = message.is_close();
        if sink.send(message).await.is_err() || last {
            return;
        }
    }
}
