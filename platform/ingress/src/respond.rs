//! Answers: those of backends on their way through, and the few of our own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::pool::{Lease, Pool, Return};

/// The body of every answer.
pub enum AnswerBody {
    /// From a backend; its connection returns to the pool at the end.
    Backend {
        body: Incoming,
        back: Return,
    },
    Own(Option<Bytes>),
}

impl AnswerBody {
    pub fn from_backend(body: Incoming, pool: Arc<Pool>, lease: Option<Lease>) -> AnswerBody {
        let mut back = Return { pool, lease };
        if body.is_end_stream() {
            back.now();
        }
        AnswerBody::Backend { body, back }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            AnswerBody::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Backend { body, back } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(context));
                match &frame {
                    Some(Err(_)) => back.lease = None,
                    None => back.now(),
                    Some(Ok(_)) if body.is_end_stream() => back.now(),
                    Some(Ok(_)) => {}
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Own(bytes) => bytes.is_none(),
            AnswerBody::Backend { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Backend { body, .. } => body.size_hint(),
        }
    }
}

/// A short answer of the ingress itself, e.g. `503 Service Unavailable`.
pub fn plain(status: StatusCode) -> Response<AnswerBody> {
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let mut response = Response::new(AnswerBody::Own(Some(text.into())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// 308 keeps the method, as ingress-nginx answers.
pub fn redirect(location: &str) -> Response<AnswerBody> {
    let Ok(location) = HeaderValue::from_str(location) else { return plain(StatusCode::BAD_REQUEST) };
    let mut response = plain(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(header::LOCATION, location);
    response
}
