//! An answer that only flows to the client, as the messages of a WebSocket: watches and logs.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/watch.go and
//!         https://github.com/kubernetes/apimachinery/blob/master/pkg/util/httpstream/wsstream/stream.go

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::upgrade::Upgrade;
use crate::{
    status::Status,
    types::{Body, Request, Response},
};

const BINARY: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";

/// Where a message ends.
#[derive(Clone, Copy)]
pub enum Split {
    /// A line of JSON each.
    Lines,
    /// A protobuf frame each, without the length before it.
    Frames,
    /// As the bytes come; the subprotocol says whether as text in base64.
    Chunks,
}

pub fn are_wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Sends `body` once the client has changed over; ends with it, or when the client leaves or the server stops.
pub fn serve(
    stop: CancellationToken,
    request: Request,
    body: Body,
    split: Split,
) -> Result<Response, Status> {
    let upgrade = Upgrade::negotiate(request, &[BINARY, BASE64], &[])?;
    let base64 = upgrade.protocol == BASE64;
    let (response, pending) = upgrade.accept();
    super::run_upgraded(stop, async move {
        if let Some(socket) = pending.websocket().await {
            let (sink, source) = socket.split();
            tokio::select! {
                () = send(sink, body, split, base64) => {}
                () = source.take_while(|message| std::future::ready(is_open(message))).for_each(|_| std::future::ready(())) => {}
            }
        }
    });
    Ok(response)
}

fn is_open<E>(message: &Result<Message, E>) -> bool {
    !matches!(message, Err(_) | Ok(Message::Close(_)))
}

async fn send(mut sink: impl SinkExt<Message> + Unpin, mut body: Body, split: Split, base64: bool) {
    let mut rest = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        rest.extend_from_slice(&bytes);
        while let Some(message) = next(&mut rest, split, base64) {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    }
    _ = sink.close().await;
}

/// Takes the next whole message off `rest`.
fn next(rest: &mut BytesMut, split: Split, base64: bool) -> Option<Message> {
    match split {
        Split::Lines => {
            let end = rest.iter().position(|byte| *byte == b'\n')? + 1;
            let line = rest.split_to(end);
            Some(Message::Text(String::from_utf8_lossy(&line).into_owned().into()))
        }
        Split::Frames => {
            let len = u32::from_be_bytes(*rest.first_chunk()?) as usize;
            if rest.len() < 4 + len {
                return None;
            }
            rest.advance(4);
            Some(Message::Binary(rest.split_to(len).freeze()))
        }
        Split::Chunks if rest.is_empty() => None,
        Split::Chunks => {
            let bytes: Bytes = rest.split().freeze();
            Some(if base64 { Message::Text(STANDARD.encode(bytes).into()) } else { Message::Binary(bytes) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_message_wherever_the_bytes_were_cut() {
        let text = |text: &str| Message::Text(text.into());
        let binary = |bytes: &'static [u8]| Message::Binary(bytes.into());
        for (bytes, split, base64, expected, left) in [
            (
                &b"{\"a\":1}\n{\"b\":2}\n{\"c\""[..],
                Split::Lines,
                false,
                vec![text("{\"a\":1}\n"), text("{\"b\":2}\n")],
                4,
            ),
            (
                b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\x05d",
                Split::Frames,
                false,
                vec![binary(b"ab"), binary(b"c")],
                5,
            ),
            (b"hi\n", Split::Chunks, false, vec![binary(b"hi\n")], 0),
            (b"hi\n", Split::Chunks, true, vec![text("aGkK")], 0),
        ] {
            let mut rest = BytesMut::from(bytes);
            let found: Vec<Message> = std::iter::from_fn(|| next(&mut rest, split, base64)).collect();
            assert_eq!((found, rest.len()), (expected, left));
        }
    }
}
