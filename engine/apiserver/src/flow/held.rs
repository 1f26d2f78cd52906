//! Answers that keep their seat until they are sent: for a long list, most of the work comes after its head.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::dispatch::Seat;
use crate::types::{Body, BoxError, Response};

/// The answer, with its seat while it is longer than what is there already; for `limit` at most: who reads slowly shall
/// not keep others out.
pub fn held(response: Response, seat: Option<Seat>, limit: Duration) -> Response {
    let Some(seat) = seat.filter(|_| http_body::Body::size_hint(response.body()).exact().is_none()) else {
        return response;
    };
    let seat = Arc::new(Mutex::new(Some(seat)));
    let late = seat.clone();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(limit).await;
        late.lock().take();
    });
    response.map(|body| Held { body, seat, timer }.boxed_unsync())
}

struct Held {
    body: Body,
    seat: Arc<Mutex<Option<Seat>>>,
    timer: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.timer.abort();
        self.seat.lock().take();
    }
}

impl http_body::Body for Held {
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
