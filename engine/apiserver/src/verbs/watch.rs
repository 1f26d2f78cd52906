//! Watch: events of a scope as JSON lines or protobuf frames, from a revision or from the current state.
//!
//! Reads: the store's watch. Invariant: a watcher holds copies of one frame at most, however far behind it is; nothing is
//! lost between the initial state and the first event; a watcher that falls behind is told with 410.
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use coracle_store::{Event, EventKind, Object, Revision, Watch, WatchError};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Target;
use crate::{
    conversion,
    flow::Held,
    frames::Frames,
    negotiate::Encoding,
    object,
    options::{ListOptions, parse_revision},
    present::Presenter,
    protobuf,
    registry::api_version,
    selector::Selector,
    status::Status,
    types::{Body, BoxError, State},
};

/// As often as the stock server's watch cache sends them.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the end: who comes back then goes on from there.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Without `timeoutSeconds` a watch ends after this time and up to twice as long.
const MIN_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

fn next_bookmark(deadline: Instant) -> Instant {
    let now = Instant::now();
    let last = deadline.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
    last.map_or(now + BOOKMARK_PERIOD, |last| last.min(now + BOOKMARK_PERIOD))
}

pub fn watch(
    state: &State,
    target: &Target,
    options: &ListOptions,
    presenter: Presenter,
    seat: Option<Arc<Held>>,
) -> Result<Body, Status> {
    let (scope, selector) = super::list::scope(target, options)?;
    let asked = parse_revision(&options.resource_version)?;
    let from_state = options.send_initial_events.unwrap_or(asked == 0);
    if options.send_initial_events == Some(true) {
        super::list::not_in_the_future(state, asked)?;
    }
    let now = state.reader.revision();
    let deadline = Instant::now() + options.timeout.unwrap_or_else(default_timeout);
    let (initial, watch, sent) = if from_state {
        let (snapshot, watch) = state.reader.list_watch(scope.clone());
        // What a webhook converts is selected afterwards.
        let waits = conversion::waits(&target.served);
        let initial = snapshot.list(&scope).filter(|object| waits || selector.matches(object));
        let initial: Vec<_> = initial.cloned().collect();
        (initial, Some(watch), snapshot.revision())
    } else {
        let after = if asked == 0 { now } else { Revision(asked.min(now.0)) };
        match state.reader.watch(scope, after) {
            Ok(watch) => (Vec::new(), Some(watch), after),
            Err(gone) => {
                let text = format!("too old resource version: {} ({})", gone.asked, gone.oldest);
                let error = error_frame(presenter.encoding, &Status::expired(text));
                return Ok(crate::types::body_from(error));
            }
        }
    };
    let stream = Stream {
        frames: Frames::default(),
        initial: initial.into_iter().collect(),
        converted: false,
        announce_end: options.send_initial_events == Some(true) && options.allow_bookmarks,
        watch,
        skip_until: Revision(asked.max(sent.0)),
        selector,
        presenter,
        gvk: (
            api_version(&target.served.api.gvk.group, &target.served.api.gvk.version),
            target.served.api.gvk.kind.clone(),
        ),
        bookmarked: sent,
        next_bookmark: options.allow_bookmarks.then(|| next_bookmark(deadline)),
        deadline,
        stop: state.stop.clone(),
        seat,
        sent: state.metrics.watch(
            &target.served.api.gvk.group,
            &target.served.api.gvk.version,
            &target.served.api.plural,
        ),
    };
    let frames = stream::unfold(stream, |mut stream| async move {
        let frame = stream.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(frame)), stream))
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

/// Spread, so that the watches of one start do not all end together.
fn default_timeout() -> Duration {
    let spread = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    MIN_TIMEOUT + Duration::from_secs(MIN_TIMEOUT.as_secs() * spread / 256)
}

struct Stream {
    frames: Frames,
    initial: VecDeque<Arc<Object>>,
    /// Whether `initial` is in the version of the request already.
    converted: bool,
    /// Whether the end of the initial state is announced by a bookmark.
    announce_end: bool,
    /// None once the watch is over.
    watch: Option<Watch>,
    /// Events up to here were not asked for.
    skip_until: Revision,
    selector: Selector,
    presenter: Presenter,
    gvk: (String, Arc<str>),
    /// The revision that the client knows to have seen everything of.
    bookmarked: Revision,
    next_bookmark: Option<Instant>,
    deadline: Instant,
    stop: CancellationToken,
    /// Of its priority level, until the initial state is on its way.
    seat: Option<Arc<Held>>,
    sent: Arc<crate::metrics::WatchSeries>,
}

enum Wake {
    Event(Result<Arc<Event>, WatchError>),
    Bookmark,
    End,
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        self.convert_initial().await;
        loop {
            // Asked here too: there may always be something to send.
            if self.stop.is_cancelled() || Instant::now() >= self.deadline {
                return None;
            }
            self.gather();
            if self.initial.is_empty() && !self.announce_end {
                self.seat = None;
            }
            if let Some(frame) = self.frames.take() {
                // No event shows a list: a stock server ends such a watch at the first one.
                return self.presenter.check(false).is_ok().then_some(frame);
            }
            match self.wake().await? {
                Wake::Event(Ok(event)) => {
                    match conversion::shown_event(&self.presenter.served, event).await {
                        Ok(event) => self.event(&event),
                        Err(status) => self.fail(&status),
                    }
                }
                Wake::Event(error) => self.take(error),
                Wake::Bookmark => self.progress(),
                Wake::End => return None,
            }
        }
    }

    /// What can be said without waiting, up to a frame.
    fn gather(&mut self) {
        while !self.frames.is_full() {
            if let Some(object) = self.initial.pop_front() {
                self.push("ADDED", &object);
                continue;
            }
            if std::mem::take(&mut self.announce_end) {
                let line = self.bookmark(self.bookmarked, true);
                self.frames.push(&line);
                continue;
            }
            // What waits for a webhook is taken one by one.
            if conversion::waits(&self.presenter.served) {
                return;
            }
            match self.watch.as_mut().and_then(|watch| watch.try_next().transpose()) {
                Some(event) => self.take(event),
                None => return,
            }
        }
    }

    /// Of what a webhook converts; all at once, before the first event.
    async fn convert_initial(&mut self) {
        if self.initial.is_empty() || !conversion::waits(&self.presenter.served) || self.converted {
            return;
        }
        self.converted = true;
        let initial = std::mem::take(&mut self.initial).into();
        match conversion::shown_all(&self.presenter.served, initial).await {
            Ok(objects) => {
                let selector = &self.selector;
                self.initial = objects.into_iter().filter(|object| selector.matches(object)).collect();
            }
            Err(status) => self.fail(&status),
        }
    }

    fn take(&mut self, event: Result<Arc<Event>, WatchError>) {
        match event {
            Ok(event) => self.event(&event),
            Err(WatchError::Compacted(gone)) => {
                let text = format!("too old resource version: {} ({})", gone.asked, gone.oldest);
                self.fail(&Status::expired(text));
            }
            Err(WatchError::Closed) => self.watch = None,
        }
    }

    async fn wake(&mut self) -> Option<Wake> {
        let watch = self.watch.as_mut()?;
        let bookmark_at = self.next_bookmark.unwrap_or(self.deadline);
        let wake = tokio::select! {
            biased;
            () = self.stop.cancelled() => Wake::End,
            event = watch.next() => Wake::Event(event),
            () = tokio::time::sleep_until(bookmark_at.min(self.deadline)) => {
                if Instant::now() >= self.deadline { Wake::End } else { Wake::Bookmark }
            }
        };
        Some(wake)
    }

    fn progress(&mut self) {
        self.next_bookmark = Some(next_bookmark(self.deadline));
        let progress = self.watch.as_ref().map_or(self.bookmarked, Watch::progress);
        if progress > self.bookmarked {
            let line = self.bookmark(progress, false);
            self.frames.push(&line);
            self.bookmarked = progress;
        }
    }

    /// What the change means to someone who sees only what the selector matches.
    fn event(&mut self, event: &Event) {
        if event.object.revision <= self.skip_until {
            return;
        }
        if self.selector.is_everything() {
            let kind = match event.kind {
                EventKind::Added => "ADDED",
                EventKind::Modified => "MODIFIED",
                EventKind::Deleted => "DELETED",
            };
            self.bookmarked = event.object.revision;
            return self.push(kind, &event.object);
        }
        let before = event.previous.as_ref().is_some_and(|previous| self.selector.matches(previous));
        let after = event.kind != EventKind::Deleted && self.selector.matches(&event.object);
        match (before, after) {
            (false, true) => self.push("ADDED", &event.object),
            (true, true) => self.push("MODIFIED", &event.object),
            (true, false) if event.kind == EventKind::Deleted => self.push("DELETED", &event.object),
            (true, false) => self.push_departed(event),
            (false, false) => return,
        }
        self.bookmarked = event.object.revision;
    }

    /// The object still exists but no longer matches: its last matching state, at this revision.
    fn push_departed(&mut self, event: &Event) {
        let Some(previous) = &event.previous else { return };
        let Ok(mut value) = super::decode(previous) else { return };
        let revision = event.object.revision.0.to_string();
        object::metadata_mut(&mut value).insert("resourceVersion".into(), revision.into());
        match self.presenter.value(value) {
            Ok(bytes) => self.line("DELETED", bytes),
            Err(status) => self.fail(&status),
        }
    }

    fn push(&mut self, kind: &'static str, object: &Arc<Object>) {
        match self.presenter.stored(object) {
            Ok(bytes) => self.line(kind, bytes),
            Err(status) => self.fail(&status),
        }
    }

    fn fail(&mut self, status: &Status) {
        self.watch = None;
        let frame = error_frame(self.presenter.encoding, status);
        self.frames.push(&frame);
    }

    fn line(&mut self, kind: &'static str, object: Bytes) {
        self.presenter.columns = false;
        if self.presenter.encoding == Encoding::Protobuf {
            return self.frames.push(&protobuf::watch_frame(kind, &object));
        }
        let head: &[u8] = match kind {
            "ADDED" => b"{\"type\":\"ADDED\",\"object\":",
            "MODIFIED" => b"{\"type\":\"MODIFIED\",\"object\":",
            _ => b"{\"type\":\"DELETED\",\"object\":",
        };
        self.sent.sent(object.len());
        self.frames.push(head);
        self.frames.push_shared(&object, 0);
        self.frames.push(b"}\n");
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let (api_version, kind) = &self.gvk;
        let mut metadata = json!({"resourceVersion": revision.0.to_string()});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = json!({"kind": &**kind, "apiVersion": api_version, "metadata": metadata});
        let frame = event_frame(self.presenter.encoding, "BOOKMARK", self.presenter.bookmark(object));
        self.presenter.columns = false;
        frame
    }
}

fn error_frame(encoding: Encoding, status: &Status) -> Bytes {
    event_frame(encoding, "ERROR", status.to_json())
}

fn event_frame(encoding: Encoding, kind: &str, object: Value) -> Bytes {
    match encoding {
        Encoding::Protobuf => protobuf::watch_frame(kind, &protobuf::encode(&object).unwrap_or_default()),
        _ => format!("{}\n", json!({"type": kind, "object": object})).into(),
    }
}
