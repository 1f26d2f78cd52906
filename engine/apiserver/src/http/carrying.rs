//! Bodies that carry something until they are sent or given up.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::types::{Body, BoxError, Response};

/// The answer; `carried` is dropped with its body.
pub fn carrying<T: Send + Unpin + 'static>(response: Response, carried: T) -> Response {
    response.map(|body| Carrying { body, _carried: carried }.boxed_unsync())
}

struct Carrying<T> {
    body: Body,
    _carried: T,
}

impl<T: Unpin> http_body::Body for Carrying<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
