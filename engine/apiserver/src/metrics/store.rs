//! How long the store takes for writes, under the names of etcd's client.
//!
//! Reads have no series: they are look-ups in memory, which nobody waits for.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/storage/etcd3/metrics/metrics.go

use std::{collections::HashMap, sync::Arc, time::Duration};

use coracle_store::{Change, Expect, Resource, Write};
use parking_lot::RwLock;

use super::{Histogram, Page, series::DURATIONS};

const OPERATIONS: [&str; 3] = ["create", "delete", "update"];

#[derive(Default)]
pub struct Store(RwLock<HashMap<Resource, Arc<Series>>>);

#[derive(Default)]
pub struct Series([Histogram<24>; OPERATIONS.len()]);

/// One write under way.
pub struct Observed {
    series: Arc<Series>,
    operation: usize,
}

impl Store {
    pub fn write(&self, write: &Write) -> Observed {
        let operation = match (&write.change, write.expect) {
            (Change::Delete { .. }, _) => 1,
            (Change::Put { .. }, Expect::Absent) => 0,
            (Change::Put { .. }, Expect::Revision(_)) => 2,
        };
        let resource = &write.key.resource;
        let known = self.0.read().get(resource).cloned();
        let series = known.unwrap_or_else(|| self.0.write().entry(resource.clone()).or_default().clone());
        Observed { series, operation }
    }

    pub fn render(&self, page: &mut Page) {
        let name = "etcd_request_duration_seconds";
        let help = "[ALPHA] Etcd request latency in seconds for each operation and object type.";
        page.family(name, "histogram", help);
        let table = self.0.read();
        let mut all: Vec<_> = table.iter().collect();
        all.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0));
        for (resource, series) in all {
            let (plural, group) = resource.0.split_once('.').unwrap_or((&resource.0, ""));
            for (operation, histogram) in OPERATIONS.iter().zip(&series.0) {
                let labels = format!("group=\"{group}\",operation=\"{operation}\",resource=\"{plural}\"");
                histogram.render(&mut page.0, name, &labels, &DURATIONS, 1e-9);
            }
        }
    }
}

impl Observed {
    pub fn took(self, time: Duration) {
        self.series.0[self.operation].observe(&DURATIONS, time.as_secs_f64(), time.as_nanos() as u64);
    }
}
