//! What flow control counts, under the stock names.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    config::Compiled,
    dispatch::{Shared, Shown},
    level::Limit,
};
use crate::metrics::{Histogram, Page};

const REASONS: [&str; 4] = ["concurrency-limit", "queue-full", "time-out", "cancelled"];
/// Seconds.
const WAITS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

/// Of one FlowSchema in one level.
#[derive(Default)]
pub struct Counters {
    pub dispatched: AtomicU64,
    pub executing: AtomicI64,
    pub waiting: AtomicI64,
    rejected: [AtomicU64; REASONS.len()],
    /// Of those that had to wait: rejected, seated.
    waits: [Histogram<14>; 2],
}

impl Counters {
    pub fn rejected(&self, reason: &str) {
        if let Some(at) = REASONS.iter().position(|known| *known == reason) {
            self.rejected[at].fetch_add(1, Relaxed);
        }
    }

    /// How often a request was turned away for one of these reasons.
    pub fn rejections(&self, reasons: &[&str]) -> u64 {
        let counted = REASONS.iter().zip(&self.rejected).filter(|(reason, _)| reasons.contains(reason));
        counted.map(|(_, count)| count.load(Relaxed)).sum()
    }

    pub fn waited(&self, seated: bool, time: Duration) {
        let nanos = time.as_nanos() as u64;
        self.waits[usize::from(seated)].observe(&WAITS, time.as_secs_f64(), nanos);
    }
}

pub fn render(compiled: &Compiled, shared: &Arc<Shared>, page: &mut Page) {
    let all: Vec<(String, &Counters)> = compiled
        .schemas
        .iter()
        .map(|schema| {
            let labels = format!("flow_schema=\"{}\",priority_level=\"{}\"", schema.name, schema.level_name);
            (labels, &*schema.counters)
        })
        .collect();
    let name = "apiserver_flowcontrol_current_executing_requests";
    page.family(
        name,
        "gauge",
        "[BETA] Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
    );
    for (labels, counters) in &all {
        page.sample(name, labels, counters.executing.load(Relaxed));
    }
    let name = "apiserver_flowcontrol_current_inqueue_requests";
    page.family(
        name,
        "gauge",
        "[BETA] Number of requests currently pending in queues of the API Priority and Fairness subsystem",
    );
    for (labels, counters) in &all {
        page.sample(name, labels, counters.waiting.load(Relaxed));
    }
    let name = "apiserver_flowcontrol_dispatched_requests_total";
    page.family(name, "counter", "[BETA] Number of requests executed by API Priority and Fairness subsystem");
    for (labels, counters) in &all {
        page.sample(name, labels, counters.dispatched.load(Relaxed));
    }
    let name = "apiserver_flowcontrol_rejected_requests_total";
    page.family(name, "counter", "[BETA] Number of requests rejected by API Priority and Fairness subsystem");
    for (labels, counters) in &all {
        for (reason, count) in REASONS.iter().zip(&counters.rejected) {
            let count = count.load(Relaxed);
            if count > 0 {
                page.sample(name, &format!("{labels},reason=\"{reason}\""), count);
            }
        }
    }
    let name = "apiserver_flowcontrol_request_wait_duration_seconds";
    page.family(name, "histogram", "[BETA] Length of time a request spent waiting in its queue");
    for (labels, counters) in &all {
        for (seated, waits) in ["false", "true"].iter().zip(&counters.waits) {
            let labels = format!("execute=\"{seated}\",{labels}");
            waits.render(&mut page.0, name, &labels, &WAITS, 1e-9);
        }
    }
    let name = "apiserver_flowcontrol_current_executing_seats";
    page.family(
        name,
        "gauge",
        "[BETA] Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
    );
    let levels = shared.levels();
    for Shown { name: level, executing, .. } in &levels {
        page.sample(name, &format!("priority_level=\"{level}\""), executing);
    }
    let name = "apiserver_flowcontrol_nominal_limit_seats";
    page.family(name, "gauge", "[BETA] Nominal number of execution seats configured for each priority level");
    for Shown { name: level, limit, .. } in &levels {
        let nominal = match limit {
            Limit::Exempt => 0,
            Limit::Limited { nominal, .. } => *nominal,
        };
        page.sample(name, &format!("priority_level=\"{level}\""), nominal);
    }
}
