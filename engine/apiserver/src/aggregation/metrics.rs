//! Which APIServices are out of reach, as alerts ask for it.
//!
//! Source: https://github.com/kubernetes/kube-aggregator/blob/master/pkg/controllers/status/metrics/metrics.go

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::metrics::Page;

/// By name, of every APIService of the last look.
#[derive(Default)]
pub struct Availability(Mutex<BTreeMap<String, Known>>);

/// What was found of an APIService.
pub struct Look {
    pub name: String,
    /// In its status.
    pub was_available: bool,
    /// Why it is not available now.
    pub missing: Option<&'static str>,
}

#[derive(Default)]
struct Known {
    available: bool,
    /// How often it went away, by reason.
    losses: BTreeMap<&'static str, u64>,
}

impl Availability {
    pub fn note(&self, all: Vec<Look>) {
        let mut known = self.0.lock();
        known.retain(|name, _| all.iter().any(|look| look.name == *name));
        for Look { name, was_available, missing } in all {
            let own = known.entry(name).or_default();
            own.available = missing.is_none();
            if let (true, Some(reason)) = (was_available, missing) {
                *own.losses.entry(reason).or_default() += 1;
            }
        }
    }

    pub fn render(&self, page: &mut Page) {
        let known = self.0.lock();
        page.family(
            "aggregator_unavailable_apiservice",
            "gauge",
            "[ALPHA] Gauge of APIServices which are marked as unavailable broken down by APIService name.",
        );
        for (name, own) in known.iter() {
            let labels = format!("name=\"{name}\"");
            page.sample("aggregator_unavailable_apiservice", &labels, u8::from(!own.available));
        }
        page.family(
            "aggregator_unavailable_apiservice_total",
            "counter",
            "[ALPHA] Counter of APIServices which are marked as unavailable broken down by APIService name and reason.",
        );
        for (name, own) in known.iter() {
            for (reason, count) in &own.losses {
                let labels = format!("name=\"{name}\",reason=\"{reason}\"");
                page.sample("aggregator_unavailable_apiservice_total", &labels, count);
            }
        }
    }
}
