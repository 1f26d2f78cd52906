//! The body of a request on its way to the backend: counted against its limit, and watched for progress.
//!
//! Kept true: who is answered before all of a request was read can end sending it, within limits: else the connection
//!            (HTTP/2: the stream) would be reset, and the answer lost with it. curl 7.88 forgets it then.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, Version, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::debug;

use crate::{alarm::Alarm, annotations::Settings, tasks::Tasks};

/// Of the rest of a request that is answered already, this much is read and dropped.
const DISCARD_BYTES: usize = 16 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// A body up to this size can be sent again.
const KEPT_BYTES: usize = 64 << 10;

/// `None`: the request has no body.
#[derive(Default)]
pub struct RequestBody(Option<Streamed>);

struct Streamed {
    /// Until it is dropped.
    body: Option<Incoming>,
    /// Bytes that may still come.
    left: u64,
    /// The client sends only once it is asked to.
    waits: bool,
    /// In a box, as few requests have it.
    kept: Option<Box<Kept>>,
    upload: Arc<Upload>,
}

/// All that was read so far.
#[derive(Default)]
struct Kept {
    parts: Vec<Bytes>,
    bytes: usize,
    /// The first of the parts that is to be sent again.
    next: usize,
}

/// What the sender of a request learns of its body.
pub struct Upload {
    begun: Instant,
    /// Milliseconds after `begun`.
    last_progress: AtomicU64,
    ended: AtomicBool,
    /// More was asked for, and the client has not sent it yet.
    awaited: AtomicBool,
    /// What the client did wrong.
    fault: OnceLock<StatusCode>,
    /// Over HTTP/2: an answer goes out while the rest is read, and a client that has it may stop sending.
    tasks: Option<Tasks>,
    /// Over HTTP/1.1: what nobody wants to read any more; to be read before the answer.
    rest: Mutex<Option<Incoming>>,
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
    pub fn new(body: Incoming, head: &Parts, tasks: &Tasks) -> (RequestBody, Option<Arc<Upload>>) {
        if body.is_end_stream() {
            return (RequestBody(None), None);
        }
        let upload = Arc::new(Upload {
            begun: Instant::now(),
            last_progress: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            fault: OnceLock::new(),
            tasks: (head.version == Version::HTTP_2).then(|| tasks.clone()),
            rest: Mutex::new(None),
        });
        let waits = head.headers.contains_key(header::EXPECT);
        let streamed =
            Streamed { body: Some(body), left: u64::MAX, waits, kept: None, upload: upload.clone() };
        (RequestBody(Some(streamed)), Some(upload))
    }

    /// Longer ones are refused.
    pub fn limit(&mut self, bytes: Option<u64>) {
        if let Some(streamed) = &mut self.0 {
            streamed.left = bytes.unwrap_or(u64::MAX);
        }
    }

    /// From now on what is read stays, as long as it is little.
    pub fn keep(&mut self) {
        if let Some(streamed) = &mut self.0
            && streamed.body.as_ref().is_some_and(|body| body.size_hint().lower() <= KEPT_BYTES as u64)
        {
            streamed.kept.get_or_insert_default();
        }
    }

    /// From its beginning again; `None` where that is gone.
    pub fn again(mut self) -> Option<RequestBody> {
        if let Some(streamed) = &mut self.0 {
            streamed.kept.as_mut()?.next = 0;
        }
        Some(self)
    }

    /// Of those that are sent again.
    fn waiting_bytes(&self) -> u64 {
        let kept = self.0.as_ref().and_then(|streamed| streamed.kept.as_ref());
        kept.map_or(0, |kept| kept.parts[kept.next..].iter().map(|part| part.len() as u64).sum())
    }

    fn body(&self) -> Option<&Incoming> {
        self.0.as_ref().and_then(|streamed| streamed.body.as_ref())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut self.get_mut().0;
        let Some(Streamed { body: source, left, waits, kept, upload }) = this else {
            return Poll::Ready(None);
        };
        if let Some(part) = kept.as_mut().and_then(|kept| kept.take()) {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let Some(body) = source else { return Poll::Ready(None) };
        *waits = false;
        let polled = Pin::new(&mut *body).poll_frame(context);
        upload.awaited.store(polled.is_pending(), Ordering::Relaxed);
        let frame = ready!(polled);
        upload.last_progress.store(upload.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        let size = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {
                let _ = upload.fault.set(StatusCode::BAD_REQUEST);
                0
            }
            None => 0,
        };
        if size > *left {
            let _ = upload.fault.set(StatusCode::PAYLOAD_TOO_LARGE);
            *this = None;
            return Poll::Ready(Some(Err(UploadError::TooLarge)));
        }
        *left -= size;
        if let Some(Ok(frame)) = &frame
            && kept.as_mut().is_some_and(|kept| !kept.add(frame))
        {
            *kept = None;
        }
        if frame.is_none() || body.is_end_stream() {
            upload.ended.store(true, Ordering::Relaxed);
            *source = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting_bytes() == 0 && self.body().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let (waiting, rest) = (self.waiting_bytes(), self.body().map(Incoming::size_hint));
        let rest = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        let mut hint = SizeHint::default();
        hint.set_lower(rest.lower() + waiting);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + waiting);
        }
        hint
    }
}

impl Kept {
    /// The next part that is sent again.
    fn take(&mut self) -> Option<Bytes> {
        let part = self.parts.get(self.next)?.clone();
        self.next += 1;
        Some(part)
    }

    /// Whether it is all there still: neither too much nor trailers.
    fn add(&mut self, frame: &Frame<Bytes>) -> bool {
        let Some(data) = frame.data_ref() else { return false };
        self.bytes += data.len();
        self.parts.push(data.clone());
        self.next = self.parts.len();
        self.bytes <= KEPT_BYTES
    }
}

impl Upload {
    /// The answer to a request that its own client made impossible.
    pub fn fault(&self) -> Option<StatusCode> {
        self.fault.get().copied()
    }

    /// The answer to a request that makes no progress: the client's fault where it does not send on.
    pub fn stalled(&self) -> StatusCode {
        match self.awaited.load(Ordering::Relaxed) {
            true => StatusCode::REQUEST_TIMEOUT,
            false => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// To be discarded before the answer.
    pub fn take_rest(&self) -> Option<Incoming> {
        self.rest.lock().take()
    }

    fn quiet_until(&self, settings: &Settings) -> Instant {
        let last = self.begun + Duration::from_millis(self.last_progress.load(Ordering::Relaxed));
        let ended = self.ended.load(Ordering::Relaxed);
        last + if ended { settings.read_timeout } else { settings.send_timeout }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !self.waits && !body.is_end_stream()) else { return };
        match &self.upload.tasks {
            Some(tasks) => tasks.spawn(discard(body)),
            None => *self.upload.rest.lock() = Some(body),
        }
    }
}

/// Reads what a client still sends, within limits.
pub async fn discard(rest: Incoming) {
    let mut rest = http_body_util::Limited::new(rest, DISCARD_BYTES);
    let discarded = async { while let Some(Ok(_)) = rest.frame().await {} };
    if tokio::time::timeout(DISCARD_TIME, discarded).await.is_err() {
        debug!("a request that is answered is still coming in");
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
