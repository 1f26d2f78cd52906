//! Priority and fairness: how many requests are worked on at a time, whose turn it is when they are more, and who is
//! told to come back later.
//!
//! Kept true: exempt requests never wait; a priority level always gets the seats that it does not lend; in a level, one
//!            flow cannot starve the others; a request that goes away gives its place back.
//! Reads:     FlowSchemas and PriorityLevelConfigurations. Writes: the FlowSchemas' condition `Dangling`.
//! Source:    https://kubernetes.io/docs/concepts/cluster-administration/flow-control/

mod config;
mod controller;
mod dispatch;
mod dump;
mod estimate;
mod held;
mod level;
mod metrics;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use tokio::time::Instant;

use self::{
    config::Compiled,
    dispatch::{Arrival, Asked, Shared},
    metrics::Counters,
    schema::Schema,
};
pub use self::{
    controller::{maintain, pass, run},
    dispatch::Seat,
    estimate::width,
    held::{Held, held},
};
use crate::{
    metrics::Page,
    options::Query,
    request_info::RequestInfo,
    types::{Response, UserInfo, body_from},
};

/// The share of a request's time that it may spend waiting for a seat, as on a stock server.
const WAIT_SHARE: u32 = 4;

pub struct FlowControl {
    compiled: ArcSwap<Compiled>,
    shared: Arc<Shared>,
    /// Seats of all levels together.
    seats: u32,
}

/// Which FlowSchema took a request, and what became of it.
pub struct Admission {
    /// None: too many requests.
    pub seat: Option<Seat>,
    pub mark: Mark,
}

/// The headers that tell a client how it was classified.
#[derive(Clone)]
pub struct Mark {
    schema_uid: HeaderValue,
    level_uid: HeaderValue,
}

impl Mark {
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.insert("x-kubernetes-pf-flowschema-uid", self.schema_uid.clone());
        headers.insert("x-kubernetes-pf-prioritylevel-uid", self.level_uid.clone());
    }
}

impl FlowControl {
    /// Without configuration everything is exempt; see [`pass`].
    pub fn new(seats: u32) -> FlowControl {
        FlowControl { compiled: ArcSwap::from_pointee(Compiled::default()), shared: Arc::default(), seats }
    }

    /// Waits for `width` seats ([`width`]), at most a share of `timeout`.
    pub async fn admit(
        &self,
        user: &UserInfo,
        info: &Arc<RequestInfo>,
        timeout: Duration,
        width: u32,
    ) -> Option<Admission> {
        // The guard of the configuration is not held while waiting.
        let schema: Arc<Schema> = self.compiled.load().classify(user, info)?.clone();
        let asked = Asked {
            schema: schema.clone(),
            user: user.name.as_str().into(),
            info: info.clone(),
            arrived: Timestamp::now(),
        };
        let seat = self.seat(asked, width, timeout / WAIT_SHARE).await;
        Some(Admission { seat, mark: schema.mark.clone() })
    }

    async fn seat(&self, asked: Asked, width: u32, patience: Duration) -> Option<Seat> {
        let schema = asked.schema.clone();
        let hash = flow_hash(&asked);
        let counters = &schema.counters;
        match self.shared.arrive(asked, width, || hash) {
            Arrival::Seated(seat) => {
                counters.dispatched.fetch_add(1, Relaxed);
                Some(seat)
            }
            Arrival::Rejected(reason) => {
                counters.rejected(reason);
                None
            }
            Arrival::Queued(place) => {
                let mut waiting = Waiting::begin(counters);
                let seat = tokio::time::timeout(patience, place.seat()).await.ok().flatten();
                waiting.rejected = seat.is_none().then_some("time-out");
                crate::audit::waited(waiting.began.elapsed());
                seat
            }
        }
    }

    pub fn render(&self, page: &mut Page) {
        metrics::render(&self.compiled.load(), &self.shared, page);
    }

    /// What `/debug/api_priority_and_fairness/` shows under this name.
    pub fn dump(&self, what: &str, query: Option<&str>) -> Option<String> {
        dump::dump(what, &Query::parse(query), &self.compiled.load(), &self.shared)
    }
}

/// A request in a queue; counted to its end, also when its client leaves first.
struct Waiting<'a> {
    counters: &'a Counters,
    began: Instant,
    /// None: it was seated.
    rejected: Option<&'static str>,
}

impl Waiting<'_> {
    fn begin(counters: &Counters) -> Waiting<'_> {
        counters.waiting.fetch_add(1, Relaxed);
        Waiting { counters, began: Instant::now(), rejected: Some("cancelled") }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counters.waiting.fetch_sub(1, Relaxed);
        self.counters.waited(self.rejected.is_none(), self.began.elapsed());
        match self.rejected {
            Some(reason) => self.counters.rejected(reason),
            None => _ = self.counters.dispatched.fetch_add(1, Relaxed),
        }
    }
}

fn flow_hash(asked: &Asked) -> u64 {
    let mut hasher = DefaultHasher::new();
    asked.schema.name.hash(&mut hasher);
    asked.distinguisher().hash(&mut hasher);
    hasher.finish()
}

/// What a stock server says, in plain text.
pub fn too_many_requests() -> Response {
    let mut response = Response::new(body_from("Too many requests, please try again later.\n"));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
