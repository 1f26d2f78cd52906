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

use crate::{
    exchange::{Connection, ExchangeError},
    pool::Pool,
};

/// The body of every answer.
pub enum AnswerBody {
    /// Comes in over a connection that this body drives and gives back to the pool at its end.
    Coming(Coming),
    Http2(Incoming),
    /// All of it.
    Own(Option<Bytes>),
}

pub struct Coming {
    /// `None` once it was given back.
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
}

#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("read an answer over HTTP/1.1")]
    Http1(#[from] ExchangeError),
    #[error("read an answer over HTTP/2")]
    Http2(#[from] hyper::Error),
}

impl AnswerBody {
    /// `connection` has read the head of the answer.
    pub fn over(mut connection: Box<Connection>, pool: &Arc<Pool>) -> AnswerBody {
        match connection.take_whole() {
            Some(body) => {
                pool.give_back(connection);
                AnswerBody::Own(Some(body).filter(|body| !body.is_empty()))
            }
            None => AnswerBody::Coming(Coming { connection: Some(connection), pool: pool.clone() }),
        }
    }
}

impl Coming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        let frame = ready!(connection.poll_frame(context));
        let has_failed = matches!(frame, Some(Err(_)));
        if (has_failed || connection.has_ended())
            && let Some(connection) = self.connection.take()
            && !has_failed
        {
            self.pool.give_back(connection);
        }
        Poll::Ready(frame)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            AnswerBody::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Http2(body) => Pin::new(body).poll_frame(context).map_err(AnswerError::Http2),
            AnswerBody::Coming(coming) => coming.poll(context).map_err(AnswerError::Http1),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Own(bytes) => bytes.is_none(),
            AnswerBody::Http2(body) => body.is_end_stream(),
            AnswerBody::Coming(coming) => coming.connection.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Http2(body) => body.size_hint(),
            AnswerBody::Coming(coming) => {
                let connection = coming.connection.as_ref();
                connection.map_or(SizeHint::with_exact(0), |connection| connection.size_hint())
            }
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
