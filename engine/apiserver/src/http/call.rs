//! One request from its arrival to the end of its answer, for whoever counts and records.
//!
//! Kept true: every request is counted once and audited to its last stage, also when it fails, panics or is abandoned;
//!            what is long-running ends with its connection, not with its answer's head.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, header, request::Parts};
use http_body_util::BodyExt;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{carrying, deadline, reads};
use crate::{
    audit::{Notes, Record, Stage, Subject},
    authn::Impersonated,
    authz::Decision,
    flow::Mark,
    metrics::{Labels, Series},
    request_info::RequestInfo,
    status::Status,
    types::{Request, Response, State, UserInfo, body_from},
};

const AUDIT_ID: &str = "audit-id";

/// The peer's address, put into the request's extensions by the listener.
#[derive(Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

tokio::task_local! {
    /// Of the request that is being answered by this task, when it is long-running.
    pub static LONG_RUNNING: Option<Arc<LongRunning>>;
}

pub struct Call {
    state: Arc<State>,
    series: Arc<Series>,
    started: Instant,
    received: Timestamp,
    dry_run: bool,
    mutating: bool,
    long: Option<Arc<LongRunning>>,
    audit_id: HeaderValue,
    notes: Notes,
    record: Option<Box<Record>>,
    mark: Option<Mark>,
    /// Another server answers: what it says is passed on unseen.
    foreign: bool,
    ended: bool,
}

impl Call {
    pub fn begin(state: &Arc<State>, info: &RequestInfo, request: &Request) -> Call {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let applies = info.verb == "patch"
            && content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/apply-patch"));
        let series = state.metrics.series(Labels::of(info, applies), || {
            state.resources.get(&info.group, &info.version, &info.resource).is_some_and(|served| {
                info.subresource.is_empty() || served.subresource(&info.subresource).is_some()
            })
        });
        let mutating = !reads(request.method());
        let notes = Notes::default();
        let long = deadline::is_long_running(info)
            .then(|| Arc::new(LongRunning::begin(state.clone(), series.clone(), notes.clone())));
        if long.is_none() {
            in_flight(state, mutating).fetch_add(1, Relaxed);
        }
        let given = request.headers().get(AUDIT_ID).filter(|id| !id.is_empty()).cloned();
        Call {
            state: state.clone(),
            series,
            started: Instant::now(),
            received: Timestamp::now(),
            dry_run: request.uri().query().is_some_and(|query| query.contains("dryRun=All")),
            mutating,
            long,
            audit_id: given.unwrap_or_else(new_id),
            notes,
            record: None,
            mark: None,
            foreign: false,
            ended: false,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn long_running(&self) -> Option<Arc<LongRunning>> {
        self.long.clone()
    }

    /// For what handlers tell the audit log.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Who asks is known, or that nobody does (`None`).
    pub fn asked(&mut self, user: Option<&UserInfo>, info: &RequestInfo, parts: &Parts) {
        self.state.metrics.authentication.count(user.is_some());
        if let Some(user) = user {
            self.state.metrics.requesters.user(&user.name);
        }
        if !self.state.audit.is_on() {
            return;
        }
        let subject = Subject {
            user,
            info,
            uri: &parts.uri,
            headers: &parts.headers,
            peer: parts.extensions.get::<PeerAddress>().map(|peer| peer.0),
            id: self.audit_id.to_str().unwrap_or_default(),
            received: self.received,
        };
        self.record = self.state.audit.begin(&subject);
        if let Some(record) = &mut self.record {
            record.log(&self.state.audit, Stage::RequestReceived, 0, None, None);
        }
    }

    pub fn impersonates(&mut self, other: &Impersonated) {
        if let Some(record) = &mut self.record {
            record.impersonates(other);
        }
    }

    pub fn wants_body(&self) -> bool {
        self.long.is_none() && self.record.as_ref().is_some_and(|record| record.wants_request())
    }

    pub fn body(&mut self, content_type: Option<&HeaderValue>, bytes: &Bytes) {
        if let Some(record) = &mut self.record {
            record.request_body(content_type.and_then(|value| value.to_str().ok()), bytes);
        }
    }

    pub fn classified(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// The server ends the request in self-defence.
    pub fn terminated(&self, code: u16) {
        self.series.terminated(code);
    }

    pub fn passed_on(&mut self) {
        self.foreign = true;
    }

    pub fn authorized(&mut self, decision: &Decision) {
        self.state.metrics.authorization.count(decision.allowed);
        if let Some(record) = &mut self.record {
            let word = if decision.allowed { "allow" } else { "forbid" };
            record.annotate("authorization.k8s.io/decision", word);
            record.annotate("authorization.k8s.io/reason", decision.reason.as_str());
        }
    }

    /// The answer as it goes out. `failure` is what it says when it is a `Status`.
    pub async fn end(mut self, mut response: Response, failure: Option<Status>, panicked: bool) -> Response {
        let headers = response.headers_mut();
        headers.insert(AUDIT_ID, self.audit_id.clone());
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        }
        if let Some(mark) = &self.mark {
            mark.put(headers);
        }
        if let Some(record) = &mut self.record {
            self.notes.take().into_iter().for_each(|(key, value)| record.annotate(key, value));
        }
        let code = response.status().as_u16();
        if let Some(long) = self.long.take() {
            return self.end_of_head(long, response, code, failure.as_ref());
        }
        self.ended = true;
        in_flight(&self.state, self.mutating).fetch_sub(1, Relaxed);
        let bytes = http_body::Body::size_hint(response.body()).exact();
        self.series.answered(code, self.dry_run, self.started.elapsed(), self.notes.waited(), bytes);
        if let Some(mut record) = self.record.take() {
            let stage = if panicked { Stage::Panic } else { Stage::ResponseComplete };
            let mut body = None;
            if !self.foreign {
                (response, body) = looked_at(response, &record).await;
            }
            record.log(&self.state.audit, stage, code, failure.as_ref(), body);
        }
        response
    }

    /// What is long-running goes on after its head, until the body or the session is dropped.
    fn end_of_head(
        mut self,
        long: Arc<LongRunning>,
        response: Response,
        code: u16,
        failure: Option<&Status>,
    ) -> Response {
        self.ended = true;
        long.code.store(code, Relaxed);
        if let Some(mut record) = self.record.take() {
            if failure.is_none() {
                record.log(&self.state.audit, Stage::ResponseStarted, code, None, None);
            }
            *long.record.lock() = Some((record, failure.cloned()));
        }
        carrying(response, long)
    }
}

impl Drop for Call {
    /// The client went away before there was an answer. What it asked for may have been done all the same.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let status =
            Status::timeout("request did not complete within requested timeout - context canceled", 0);
        if self.long.is_none() {
            in_flight(&self.state, self.mutating).fetch_sub(1, Relaxed);
            let took = self.started.elapsed();
            self.series.answered(status.code, self.dry_run, took, self.notes.waited(), None);
        }
        if let Some(mut record) = self.record.take() {
            record.log(&self.state.audit, Stage::ResponseComplete, status.code, Some(&status), None);
        }
    }
}

fn in_flight(state: &State, mutating: bool) -> &std::sync::atomic::AtomicI64 {
    let now = &state.metrics.in_flight;
    if mutating { &now.mutating } else { &now.read_only }
}

/// The answer and a copy of its body, when the record wants to see it. A body that is there already costs no copy.
async fn looked_at(response: Response, record: &Record) -> (Response, Option<(Option<String>, Bytes)>) {
    let whole = record.wants_response();
    let name = record.wants_name() && response.status().is_success();
    if !whole && !name {
        return (response, None);
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (parts, body) = response.into_parts();
    let collected = if whole { Some(body.collect().await) } else { body.collect().now_or_never() };
    let Some(Ok(collected)) = collected else {
        // Neither is possible for the name alone: the answer to a creation is there at once.
        let lost = Status::internal("the answer could not be read for the audit log");
        return (lost.into_response(), None);
    };
    let bytes = collected.to_bytes();
    (Response::from_parts(parts, body_from(bytes.clone())), Some((content_type, bytes)))
}

/// Shared by all that keeps a long-running request going; ends with the last of them.
pub struct LongRunning {
    state: Arc<State>,
    series: Arc<Series>,
    started: Instant,
    code: AtomicU16,
    notes: Notes,
    record: Mutex<Option<(Box<Record>, Option<Status>)>>,
}

impl LongRunning {
    fn begin(state: Arc<State>, series: Arc<Series>, notes: Notes) -> LongRunning {
        series.long_running.fetch_add(1, Relaxed);
        LongRunning {
            state,
            series,
            started: Instant::now(),
            code: AtomicU16::new(0),
            notes,
            record: Mutex::default(),
        }
    }
}

impl Drop for LongRunning {
    fn drop(&mut self) {
        self.series.long_running.fetch_sub(1, Relaxed);
        let code = *self.code.get_mut();
        if code == 0 {
            return; // the client went away before there was an answer
        }
        self.series.answered(code, false, self.started.elapsed(), self.notes.waited(), None);
        if let Some((mut record, failure)) = self.record.get_mut().take() {
            record.log(&self.state.audit, Stage::ResponseComplete, code, failure.as_ref(), None);
        }
    }
}

/// Unique, in the form of a random UUID; nobody relies on its being unpredictable.
fn new_id() -> HeaderValue {
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let start = *START.get_or_init(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let count = COUNT.fetch_add(1, Relaxed);
    let halves = [mixed(start ^ count), mixed(start.wrapping_add(count).wrapping_mul(3))];
    let bytes: [u8; 16] = std::array::from_fn(|at| (halves[at / 8] >> (8 * (at % 8))) as u8);
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// SplitMix64: a permutation of the 64-bit numbers.
fn mixed(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
