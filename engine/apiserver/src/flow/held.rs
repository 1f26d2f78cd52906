//! Answers that keep their seat until they are sent: for a long list, most of the work comes after its head.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::dispatch::Seat;
use crate::{http::carrying, types::Response};

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
    carrying(response, Held { seat, timer })
}

struct Held {
    seat: Arc<Mutex<Option<Seat>>>,
    timer: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.timer.abort();
        self.seat.lock().take();
    }
}
