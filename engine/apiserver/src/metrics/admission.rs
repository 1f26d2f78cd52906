//! How long admission takes: each step, each plugin of this server, each webhook.
//!
//! Kept true: a plugin costs a look at the clock and two atomics. Names of webhooks come from their configurations, all
//!            other labels from fixed lists.
//! Source:    https://github.com/kubernetes/apiserver/blob/master/pkg/admission/metrics/metrics.go

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;

use super::{Histogram, Page};
use crate::admission::{Operation, Plugin, Request};

/// Seconds.
const BOUNDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

const OPERATIONS: [Operation; 4] =
    [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Admit,
    Validate,
}

const STEPS: [(Step, &str); 2] = [(Step::Admit, "admit"), (Step::Validate, "validate")];

/// By operation, step, and whether the request was rejected.
type Durations = [[[Histogram<7>; 2]; STEPS.len()]; OPERATIONS.len()];

/// Name, step, operation, rejected.
type Webhook = (String, Step, &'static str, bool);

#[derive(Default)]
pub struct Admission {
    steps: Durations,
    plugins: Box<[Durations; Plugin::ALL.len()]>,
    webhooks: RwLock<BTreeMap<Webhook, Arc<Histogram<9>>>>,
}

fn observe(durations: &Durations, operation: Operation, step: Step, rejected: bool, took: Duration) {
    let histogram = &durations[operation as usize][step as usize][usize::from(rejected)];
    histogram.observe(&BOUNDS, took.as_secs_f64(), took.as_nanos() as u64);
}

impl Admission {
    pub fn webhook(&self, name: &str, step: Step, operation: Operation, rejected: bool, took: Duration) {
        let key = (name.to_owned(), step, operation.as_str(), rejected);
        let known = self.webhooks.read().get(&key).cloned();
        let histogram = known.unwrap_or_else(|| self.webhooks.write().entry(key).or_default().clone());
        histogram.observe(&WEBHOOK_BOUNDS, took.as_secs_f64(), took.as_nanos() as u64);
    }

    pub fn render(&self, page: &mut Page) {
        let name = "apiserver_admission_step_admission_duration_seconds";
        page.family(name, "histogram", "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).");
        render(&self.steps, page, name, "");
        let name = "apiserver_admission_controller_admission_duration_seconds";
        page.family(name, "histogram", "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).");
        for (plugin, durations) in Plugin::ALL.iter().zip(self.plugins.iter()) {
            render(durations, page, name, &format!("name=\"{plugin:?}\","));
        }
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        page.family(name, "histogram", "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).");
        for ((webhook, step, operation, rejected), histogram) in self.webhooks.read().iter() {
            let step = STEPS[*step as usize].1;
            let labels = format!(
                "name=\"{webhook}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{step}\""
            );
            histogram.render(&mut page.0, name, &labels, &WEBHOOK_BOUNDS, 1e-9);
        }
    }
}

fn render(durations: &Durations, page: &mut Page, name: &str, who: &str) {
    for (operation, steps) in OPERATIONS.iter().map(|it| it.as_str()).zip(durations) {
        for ((_, step), outcomes) in STEPS.iter().zip(steps) {
            for (rejected, histogram) in [false, true].iter().zip(outcomes) {
                let labels =
                    format!("{who}operation=\"{operation}\",rejected=\"{rejected}\",type=\"{step}\"");
                histogram.render(&mut page.0, name, &labels, &BOUNDS, 1e-9);
            }
        }
    }
}

/// One step of one request.
pub struct Clock<'a> {
    series: &'a Admission,
    operation: Operation,
    step: Step,
    began: Instant,
    last: Instant,
}

impl<'a> Clock<'a> {
    pub fn start(request: &Request<'a>, step: Step) -> Clock<'a> {
        let now = Instant::now();
        let series = &request.state.metrics.admission;
        Clock { series, operation: request.operation, step, began: now, last: now }
    }

    /// What ran since the last lap was this plugin; none: it is no plugin.
    pub fn lap<T, E>(&mut self, plugin: Option<Plugin>, outcome: Result<T, E>) -> Result<T, E> {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.last, now);
        if let Some(plugin) = plugin.filter(|plugin| plugin.handles(self.operation)) {
            let durations = &self.series.plugins[plugin as usize];
            observe(durations, self.operation, self.step, outcome.is_err(), took);
        }
        outcome
    }

    pub fn end(self, rejected: bool) {
        observe(&self.series.steps, self.operation, self.step, rejected, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_lists_are_those_of_the_variants() {
        assert!(OPERATIONS.iter().enumerate().all(|(at, operation)| at == *operation as usize));
        assert!(STEPS.iter().enumerate().all(|(at, (step, _))| at == *step as usize));
        assert!(Plugin::ALL.iter().enumerate().all(|(at, plugin)| at == *plugin as usize));
    }
}
