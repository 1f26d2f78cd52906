//! Request bodies: bounded, and given up on when they do not arrive.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::header;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::{
    status::Status,
    types::{Body, BoxError, Request},
};

/// As on a stock server.
pub const LIMIT_BYTES: usize = 3 * 1024 * 1024;
const ARRIVAL: Duration = Duration::from_secs(60);

/// The whole body and its Content-Type.
pub async fn read(request: Request) -> Result<(Option<String>, Bytes), Status> {
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(String::from);
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > LIMIT_BYTES) {
        return Err(Status::too_large(LIMIT_BYTES));
    }
    let bytes = collect(request.into_body()).await?;
    Ok((content_type, bytes))
}

pub async fn collect(body: Body) -> Result<Bytes, Status> {
    match tokio::time::timeout(ARRIVAL, frames(body)).await {
        Ok(result) => result,
        Err(_) => Err(Status::timeout("request body did not arrive", 0)),
    }
}

async fn frames(mut body: Body) -> Result<Bytes, Status> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("read request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LIMIT_BYTES {
            return Err(Status::too_large(LIMIT_BYTES));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Over HTTP/1.1 the answer waits for it. A stock server reads to the limit before it refuses, and Go 256 KiB more.
const REST_MAX_BYTES: usize = LIMIT_BYTES + (256 << 10);
/// Over HTTP/2 it does not.
const BESIDE_MAX_BYTES: usize = 16 << 20;
const REST_ARRIVAL: Duration = Duration::from_secs(5);

/// A body that whoever answers can read to its end when the handler did not: over HTTP/1.1 a connection is used again
/// only after that, and a client that already sends its next request would find it closed.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Body>>);

impl Shared {
    /// Of a request with a body that is on its way. Over HTTP/2 its end is seen to here.
    pub fn of(request: Request) -> (Request, Option<Shared>) {
        let waits = request.headers().contains_key(header::EXPECT);
        if waits || request.body().is_end_stream() {
            return (request, None);
        }
        if request.version() >= http::Version::HTTP_2 {
            return (request.map(|body| Lingering(Some(body)).boxed_unsync()), None);
        }
        let (parts, body) = request.into_parts();
        let shared = Shared(Arc::new(Mutex::new(body)));
        (Request::from_parts(parts, shared.clone().boxed_unsync()), Some(shared))
    }

    /// False when there is more of it than is worth reading.
    pub async fn drain(self) -> bool {
        discard(self, REST_MAX_BYTES).await
    }
}

/// False when there is more than `max_bytes`, or it does not come.
async fn discard(mut rest: impl http_body::Body<Data = Bytes> + Unpin, max_bytes: usize) -> bool {
    let all = async {
        let mut bytes = 0;
        while let Some(frame) = rest.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > max_bytes {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(REST_ARRIVAL, all).await.unwrap_or(false)
}

/// A body over HTTP/2. What its handler did not read is read all the same, while the answer goes out: else the stream is
/// reset behind the answer, and some clients (curl 7.88) forget it then.
struct Lingering(Option<Body>);

impl Drop for Lingering {
    fn drop(&mut self) {
        let rest = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            // Bounded, and ends with its connection.
            runtime.spawn(discard(rest, BESIDE_MAX_BYTES));
        }
    }
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    fn chunks(count: usize) -> Request {
        let frames = (0..count).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 1024]))));
        http::Request::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    }

    #[tokio::test]
    async fn what_a_handler_left_is_read_unless_it_is_much() {
        for (count, whole) in [(3, true), (REST_MAX_BYTES / 1024, true), (REST_MAX_BYTES / 1024 + 1, false)] {
            let (request, rest) = Shared::of(chunks(count));
            let mut body = request.into_body();
            assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
            drop(body);
            // One chunk was read by the handler.
            let (_, again) = Shared::of(chunks(count));
            assert!(rest.expect("is shared").drain().await);
            assert_eq!(again.expect("is shared").drain().await, whole, "{count}");
        }
    }

    #[tokio::test]
    async fn over_http2_what_a_handler_left_is_read_beside_the_answer() {
        let (sender, mut read) = tokio::sync::mpsc::unbounded_channel();
        let frames = stream::iter(0..5).map(move |number| {
            let _ = sender.send(number);
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 1024])))
        });
        let mut request = http::Request::new(StreamBody::new(frames).boxed_unsync());
        *request.version_mut() = http::Version::HTTP_2;
        let (request, rest) = Shared::of(request);
        assert!(rest.is_none(), "the answer does not wait");
        let mut body = request.into_body();
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        drop(body);
        let mut seen = Vec::new();
        while let Some(number) = read.recv().await {
            seen.push(number);
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn what_needs_no_reading_is_not_shared() {
        let mut waiting = chunks(1);
        waiting.headers_mut().insert(header::EXPECT, "100-continue".parse().expect("value"));
        for request in [waiting, http::Request::new(crate::types::body_from(Bytes::new()))] {
            assert!(Shared::of(request).1.is_none());
        }
    }
}
