//! Answers: those of backends on their way through, and the few of our own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{exchange::Connection, pool::Pool};

/// The body of every answer.
pub enum AnswerBody {
    /// Comes in over a connection that this body drives and gives back to the pool at its end.
    Coming(Box<Coming>),
    /// From a backend; needs no help.
    Backend(Incoming),
    Own(Option<Bytes>),
}

pub struct Coming {
    body: Incoming,
    /// `None` once it was given back.
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl AnswerBody {
    /// `connection` carries the answer and nothing else.
    pub fn over(connection: Connection, body: Incoming, pool: &Arc<Pool>) -> AnswerBody {
        if connection.is_at_rest() {
            // All of the answer has been read.
            pool.give_back(connection);
            return AnswerBody::Backend(body);
        }
        AnswerBody::Coming(Box::new(Coming { body, connection: Some(connection), pool: pool.clone() }))
    }
}

impl Coming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(connection) = &mut self.connection else {
            return Pin::new(&mut self.body).poll_frame(context);
        };
        // What was read before, without asking to be woken: only driving the connection brings more.
        let mut unwoken = Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut self.body).poll_frame(&mut unwoken);
        if !matches!(frame, Poll::Ready(Some(_))) {
            connection.drive(context);
            if frame.is_pending() {
                frame = Pin::new(&mut self.body).poll_frame(&mut unwoken);
            }
        }
        if connection.is_at_rest()
            && let Some(connection) = self.connection.take()
        {
            self.pool.give_back(connection);
            if frame.is_pending() {
                frame = Pin::new(&mut self.body).poll_frame(context);
            }
        }
        frame
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
            AnswerBody::Backend(body) => Pin::new(body).poll_frame(context),
            AnswerBody::Coming(coming) => coming.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Own(bytes) => bytes.is_none(),
            AnswerBody::Backend(body) => body.is_end_stream(),
            AnswerBody::Coming(coming) => coming.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Backend(body) => body.size_hint(),
            AnswerBody::Coming(coming) => coming.body.size_hint(),
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
