//! EventRateLimit: no namespace floods the store with Events. What a healthy cluster writes stays far below.
//!
//! Kept true: a bucket of [`BURST`] a namespace, filled with [`PER_SECOND`]; as many buckets as [`NAMESPACES_MAX`].
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit (its message)

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::Value;

use super::{Operation, Request};
use crate::status::Status;

const BURST: f64 = 5000.0;
const PER_SECOND: f64 = 100.0;
const NAMESPACES_MAX: usize = 1024;

#[derive(Default)]
pub struct EventLimits(Mutex<HashMap<Box<str>, Bucket>>);

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(now: Instant) -> Bucket {
        Bucket { left: BURST, at: now }
    }

    fn filled(self, now: Instant) -> Bucket {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        Bucket { left: (self.left + passed * PER_SECOND).min(BURST), at: now }
    }
}

impl EventLimits {
    fn take(&self, namespace: &str, now: Instant) -> bool {
        let mut buckets = self.0.lock();
        if buckets.len() >= NAMESPACES_MAX && !buckets.contains_key(namespace) {
            // A full bucket is as good as none. When all are in use, the oldest goes.
            buckets.retain(|_, bucket| bucket.filled(now).left < BURST);
            if buckets.len() >= NAMESPACES_MAX {
                let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(name, _)| name.clone());
                if let Some(name) = oldest {
                    buckets.remove(&name);
                }
            }
        }
        let bucket = buckets.entry(namespace.into()).or_insert_with(|| Bucket::full(now));
        *bucket = bucket.filled(now);
        let admitted = bucket.left >= 1.0;
        if admitted {
            bucket.left -= 1.0;
        }
        admitted
    }
}

pub fn validate(request: &Request<'_>, _object: Option<&Value>) -> Result<(), Status> {
    let counts = matches!(request.operation, Operation::Create | Operation::Update) && !request.dry_run;
    if !counts || !(request.is("", "events") || request.is("events.k8s.io", "events")) {
        return Ok(());
    }
    let namespace = request.target.namespace.as_str();
    if request.state.event_limits.take(namespace, Instant::now()) {
        return Ok(());
    }
    let wait = Duration::from_secs_f64(1.0 / PER_SECOND).as_secs().max(1) as u32;
    Err(Status::too_many_requests(format!("limit reached on type Namespace for key {namespace}"), wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_its_burst_and_then_its_rate() {
        let limits = EventLimits::default();
        let start = Instant::now();
        let taken = |now| (0..6000).filter(|_| limits.take("noisy", now)).count();
        assert_eq!(taken(start), 5000);
        assert_eq!(taken(start + Duration::from_secs(1)), 100);
        assert!(limits.take("quiet", start));
        for number in 0..2 * NAMESPACES_MAX {
            limits.take(&number.to_string(), start);
        }
        assert_eq!(limits.0.lock().len(), NAMESPACES_MAX);
    }
}
