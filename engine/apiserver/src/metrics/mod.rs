//! What the server counts about itself, in the Prometheus text format with the stock names, labels and buckets.
//!
//! Kept true: counting costs a look-up and a few atomics; a label set is made once and then found without allocating;
//!            labels come from served resources and fixed lists alone, so strangers cannot make their number grow.
//! Reads:     the store's counts, `/proc/self`. Writes: nothing.
//! Source:    https://kubernetes.io/docs/reference/instrumentation/metrics/

mod admission;
mod histogram;
mod labels;
mod page;
mod process;
mod requesters;
mod series;
mod store;

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::RwLock;

pub use self::{
    admission::{Clock, Step},
    histogram::Histogram,
    labels::Labels,
    page::{Page, render},
    series::{Series, WatchSeries},
};

/// Adds whole families to the page, in the text format of Prometheus.
pub type More = Arc<dyn Fn(&mut String) + Send + Sync>;

/// What is counted, from the start of the process.
#[derive(Default)]
pub struct Metrics {
    requests: RwLock<HashMap<u64, Vec<Arc<Series>>>>,
    watches: RwLock<HashMap<(String, String, String), Arc<WatchSeries>>>,
    pub admission: admission::Admission,
    pub store: store::Store,
    pub health: crate::health::Outcomes,
    pub in_flight: InFlight,
    pub authentication: Attempts,
    pub authorization: Attempts,
    pub requesters: requesters::Requesters,
    pub tls_handshake_errors: AtomicU64,
}

/// Requests that are being answered now, without long-running ones.
#[derive(Default)]
pub struct InFlight {
    pub read_only: AtomicI64,
    pub mutating: AtomicI64,
}

/// Outcomes of authentication (`success`, `failure`) or authorization (`allowed`, `denied`).
#[derive(Default)]
pub struct Attempts {
    good: AtomicU64,
    bad: AtomicU64,
}

impl Attempts {
    pub fn count(&self, good: bool) {
        if good { &self.good } else { &self.bad }.fetch_add(1, Relaxed);
    }
}

impl Metrics {
    /// The series of these labels; `known` says whether they may become a series (the resource is served).
    pub fn series(&self, labels: Labels<'_>, known: impl FnOnce() -> bool) -> Arc<Series> {
        match self.find(&labels) {
            Some(series) => series,
            None if labels.is_empty() || known() => self.make(&labels),
            None => {
                let anonymous = labels.anonymous();
                self.find(&anonymous).unwrap_or_else(|| self.make(&anonymous))
            }
        }
    }

    fn find(&self, labels: &Labels<'_>) -> Option<Arc<Series>> {
        self.requests
            .read()
            .get(&hash(labels))?
            .iter()
            .find(|series| series.labels.as_ref() == *labels)
            .cloned()
    }

    fn make(&self, labels: &Labels<'_>) -> Arc<Series> {
        let mut table = self.requests.write();
        let same = table.entry(hash(labels)).or_default();
        if let Some(series) = same.iter().find(|series| series.labels.as_ref() == *labels) {
            return series.clone();
        }
        let series = Arc::new(Series::new(labels));
        same.push(series.clone());
        series
    }

    /// What watches of a resource send.
    pub fn watch(&self, group: &str, version: &str, resource: &str) -> Arc<WatchSeries> {
        let key = (group.to_owned(), version.to_owned(), resource.to_owned());
        if let Some(series) = self.watches.read().get(&key) {
            return series.clone();
        }
        self.watches.write().entry(key).or_default().clone()
    }

    /// Every series, in the order of their labels.
    fn all(&self) -> Vec<Arc<Series>> {
        let mut all: Vec<_> = self.requests.read().values().flatten().cloned().collect();
        all.sort_by(|a, b| a.labels.as_ref().cmp(&b.labels.as_ref()));
        all
    }
}

fn hash(labels: &Labels<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
