//! The counters of one label set.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{Histogram, Labels};

/// Seconds. https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/metrics/metrics.go
pub const DURATIONS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
/// Seconds, without what others took.
pub const SLI_DURATIONS: [f64; 21] = [
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Bytes of answers.
pub const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Bytes of events.
pub const EVENT_SIZES: [f64; 8] = [1024., 2048., 4096., 8192., 16384., 32768., 65536., 131072.];

/// Codes that have a counter; any other is counted as 0.
pub const CODES: [u16; 27] = [
    101, 200, 201, 202, 204, 301, 304, 307, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 431,
    500, 501, 502, 503, 504, 0,
];

/// The codes of requests that are ended so that the server goes on: too many at once, too long.
pub const TERMINATIONS: [u16; 2] = [429, 504];

/// Names that live as long as the process.
#[derive(Clone, Debug)]
pub struct OwnLabels {
    texts: [Box<str>; 4],
    scope: &'static str,
    verb: &'static str,
}

impl OwnLabels {
    pub fn as_ref(&self) -> Labels<'_> {
        let [group, version, resource, subresource] = &self.texts;
        Labels { group, version, resource, subresource, scope: self.scope, verb: self.verb }
    }
}

pub struct Series {
    pub labels: OwnLabels,
    /// Without and with dry run.
    codes: [[AtomicU64; CODES.len()]; 2],
    pub(super) durations: [Histogram<24>; 2],
    pub(super) sli_durations: Histogram<22>,
    pub(super) sizes: Histogram<8>,
    pub long_running: AtomicI64,
    pub(super) terminations: [AtomicU64; TERMINATIONS.len()],
}

impl Series {
    pub fn new(labels: &Labels<'_>) -> Series {
        let texts = [labels.group, labels.version, labels.resource, labels.subresource].map(Box::from);
        Series {
            labels: OwnLabels { texts, scope: labels.scope, verb: labels.verb },
            codes: [const { [const { AtomicU64::new(0) }; CODES.len()] }; 2],
            durations: Default::default(),
            sli_durations: Histogram::default(),
            sizes: Histogram::default(),
            long_running: AtomicI64::new(0),
            terminations: Default::default(),
        }
    }

    /// `code` is one of [`TERMINATIONS`].
    pub fn terminated(&self, code: u16) {
        let counts = TERMINATIONS.iter().zip(&self.terminations).filter(|(own, _)| **own == code);
        counts.for_each(|(_, count)| _ = count.fetch_add(1, Relaxed));
    }

    /// A request was answered. `waited` is the part of the time that others took; `bytes` is the size of the answer,
    /// where it is known.
    pub fn answered(&self, code: u16, dry_run: bool, took: Duration, waited: Duration, bytes: Option<u64>) {
        let at = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        self.codes[usize::from(dry_run)][at].fetch_add(1, Relaxed);
        let nanos = took.as_nanos() as u64;
        self.durations[usize::from(dry_run)].observe(&DURATIONS, took.as_secs_f64(), nanos);
        let own = took.saturating_sub(waited);
        self.sli_durations.observe(&SLI_DURATIONS, own.as_secs_f64(), own.as_nanos() as u64);
        if let Some(bytes) = bytes.filter(|_| matches!(self.labels.verb, "GET" | "LIST")) {
            self.sizes.observe(&SIZES, bytes as f64, bytes);
        }
    }

    /// Code, dry run, and how often.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u16, bool, u64)> {
        let row = |dry_run: bool| {
            let counts = self.codes[usize::from(dry_run)].iter().map(|count| count.load(Relaxed));
            CODES.iter().zip(counts).map(move |(code, count)| (*code, dry_run, count))
        };
        row(false).chain(row(true)).filter(|(.., count)| *count > 0)
    }
}

/// What the watches of one resource have sent.
#[derive(Default)]
pub struct WatchSeries {
    pub events: AtomicU64,
    pub(super) sizes: Histogram<9>,
}

impl WatchSeries {
    pub fn sent(&self, bytes: usize) {
        self.events.fetch_add(1, Relaxed);
        self.sizes.observe(&EVENT_SIZES, bytes as f64, bytes as u64);
    }
}
