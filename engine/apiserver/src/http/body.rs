//! Request bodies: bounded, and given up on when they do not arrive.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
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

/// As Go's server has it.
const REST_MAX_BYTES: usize = 256 << 10;
const REST_ARRIVAL: Duration = Duration::from_secs(5);

/// A body that whoever answers can read to its end when the handler did not: over HTTP/1.1 a connection is used again
/// only after that, and a client that already sends its next request would find it closed.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Body>>);

impl Shared {
    /// Of a request with a body that is on its way.
    pub fn of(request: Request) -> (Request, Option<Shared>) {
        let waits = request.headers().contains_key(header::EXPECT);
        if waits || request.version() >= http::Version::HTTP_2 || request.body().is_end_stream() {
            return (request, None);
        }
        let (parts, body) = request.into_parts();
        let shared = Shared(Arc::new(Mutex::new(body)));
        (Request::from_parts(parts, shared.clone().boxed_unsync()), Some(shared))
    }

    /// False when there is more of it than is worth reading.
    pub async fn drain(mut self) -> bool {
        let all = async {
            let mut bytes = 0;
            while let Some(frame) = self.frame().await {
                let Ok(frame) = frame else { return false };
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > REST_MAX_BYTES {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(REST_ARRIVAL, all).await.unwrap_or(false)
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
    use futures::stream;
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
    async fn what_needs_no_reading_is_not_shared() {
        let mut second = chunks(1);
        *second.version_mut() = http::Version::HTTP_2;
        let mut waiting = chunks(1);
        waiting.headers_mut().insert(header::EXPECT, "100-continue".parse().expect("value"));
        for request in [second, waiting, http::Request::new(crate::types::body_from(Bytes::new()))] {
            assert!(Shared::of(request).1.is_none());
        }
    }
}
