//! Answers that keep their seat until they are sent: for a long list, and for the initial events of a watch, most of the
//! work comes after the head.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::dispatch::Seat;
use crate::{http::carrying, types::Response};

/// The answer, with its seat while it is longer than what is there already.
pub fn held(response: Response, seat: Option<Seat>, limit: Duration) -> Response {
    match seat.filter(|_| http_body::Body::size_hint(response.body()).exact().is_none()) {
        Some(seat) => carrying(response, Held::new(seat, limit)),
        None => response,
    }
}

/// A seat until this is dropped, for a time at most: who reads slowly shall not keep others out.
pub struct Held {
    seat: Arc<Mutex<Option<Seat>>>,
    timer: JoinHandle<()>,
}

impl Held {
    pub fn new(seat: Seat, limit: Duration) -> Held {
        let seat = Arc::new(Mutex::new(Some(seat)));
        let late = seat.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            late.lock().take();
        });
        Held { seat, timer }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.timer.abort();
        self.seat.lock().take();
    }
}
