//! The body of a request on its way to the backend: counted against its limit, and watched for progress.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{alarm::Alarm, annotations::Settings};

/// `None`: the request has no body.
#[derive(Default)]
pub struct RequestBody(Option<Streamed>);

struct Streamed {
    body: Incoming,
    /// Bytes that may still come.
    left: u64,
    upload: Arc<Upload>,
}

/// What the sender of a request learns of its body.
pub struct Upload {
    begun: Instant,
    /// Milliseconds after `begun`.
    last_progress: AtomicU64,
    ended: AtomicBool,
    /// A body that became larger than its limit: its client may be sending yet.
    refused: Mutex<Option<Incoming>>,
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("read the request")]
    Client(#[from] hyper::Error),
    #[error("the request is larger than `proxy-body-size` allows")]
    TooLarge,
    #[error("the request is not as long as its head announces")]
    Length,
}

impl RequestBody {
    pub fn new(body: Incoming, limit: Option<u64>) -> (RequestBody, Option<Arc<Upload>>) {
        if body.is_end_stream() {
            return (RequestBody(None), None);
        }
        let upload = Arc::new(Upload {
            begun: Instant::now(),
            last_progress: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            refused: Mutex::new(None),
        });
        let streamed = Streamed { body, left: limit.unwrap_or(u64::MAX), upload: upload.clone() };
        (RequestBody(Some(streamed)), Some(upload))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let body = &mut self.get_mut().0;
        let Some(streamed) = body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut streamed.body).poll_frame(context));
        let upload = &streamed.upload;
        upload.last_progress.store(upload.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        let size = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) | None => 0,
        };
        if size > streamed.left {
            if let Some(Streamed { body, upload, .. }) = body.take() {
                *upload.refused.lock() = Some(body);
            }
            return Poll::Ready(Some(Err(UploadError::TooLarge)));
        }
        streamed.left -= size;
        if frame.is_none() || streamed.body.is_end_stream() {
            upload.ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streamed| streamed.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |streamed| streamed.body.size_hint())
    }
}

impl Upload {
    pub fn exceeded(&self) -> bool {
        self.refused.lock().is_some()
    }

    pub fn take_refused(&self) -> Option<Incoming> {
        self.refused.lock().take()
    }

    fn quiet_until(&self, settings: &Settings) -> Instant {
        let last = self.begun + Duration::from_millis(self.last_progress.load(Ordering::Relaxed));
        let ended = self.ended.load(Ordering::Relaxed);
        last + if ended { settings.read_timeout } else { settings.send_timeout }
    }
}

/// The exchange's outcome; `None` when it made no progress for too long.
pub async fn while_in_progress<F: Future>(
    exchange: F,
    upload: Option<&Upload>,
    settings: &Settings,
    alarm: &mut Alarm,
) -> Option<F::Output> {
    let mut exchange = pin!(exchange);
    let sent = Instant::now();
    poll_fn(|context| {
        if let Poll::Ready(outcome) = exchange.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        let limit = match upload {
            Some(upload) => {
                upload.quiet_until(settings).max(sent + settings.send_timeout.min(settings.read_timeout))
            }
            None => sent + settings.read_timeout,
        };
        alarm.poll(limit, context).map(|()| None)
    })
    .await
}
