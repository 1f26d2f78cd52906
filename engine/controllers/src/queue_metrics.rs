//! What the controllers' queues count, with the stock names.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/component-base/metrics/prometheus/workqueue/metrics.go

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

/// The queues of all controllers.
#[derive(Clone, Default)]
pub struct QueueMetrics(Arc<Mutex<BTreeMap<&'static str, Arc<Counts>>>>);

/// Of one queue, over all lives of its controller.
#[derive(Default)]
pub struct Counts {
    /// Keys that wait, or will run again after the pass that is under way.
    pub depth: AtomicU64,
    pub adds: AtomicU64,
    /// Keys that were given a time to come again, after failures or on their own request.
    pub retries: AtomicU64,
}

type Read = fn(&Counts) -> &AtomicU64;

const FAMILIES: [(&str, &str, &str, Read); 3] = [
    ("workqueue_adds_total", "counter", "Total number of adds handled by workqueue", |counts| &counts.adds),
    ("workqueue_depth", "gauge", "Current depth of workqueue", |counts| &counts.depth),
    ("workqueue_retries_total", "counter", "Total number of retries handled by workqueue", |counts| {
        &counts.retries
    }),
];

impl QueueMetrics {
    /// The counts of a queue that starts empty.
    pub fn begin(&self, controller: &'static str) -> Arc<Counts> {
        let counts = self.0.lock().entry(stock_name(controller)).or_default().clone();
        counts.depth.store(0, Relaxed);
        counts
    }

    /// Families in the text format of Prometheus.
    pub fn render(&self, out: &mut String) {
        let queues = self.0.lock();
        for (name, kind, help, read) in FAMILIES {
            let _ = writeln!(out, "# HELP {name} [ALPHA] {help}\n# TYPE {name} {kind}");
            for (queue, counts) in queues.iter() {
                let _ = writeln!(out, "{name}{{name=\"{queue}\"}} {}", read(counts).load(Relaxed));
            }
        }
    }
}

/// Of the queues that hold the same as a stock controller's. Others have the controller's name.
fn stock_name(controller: &'static str) -> &'static str {
    match controller {
        "deployment-controller" => "deployment",
        "replicaset-controller" => "replicaset",
        "endpoint-controller" => "endpoint",
        "endpointslice-controller" => "endpoint_slice",
        "endpointslice-mirroring-controller" => "endpoint_slice_mirroring",
        "namespace-controller" => "namespace",
        "service-account-controller" => "serviceaccount",
        "serviceaccount-token-controller" => "serviceaccount_tokens_secret",
        "clusterrole-aggregation-controller" => "ClusterRoleAggregator",
        "disruption-controller" => "disruption",
        "persistentvolumeclaim-protection-controller" => "pvcprotection",
        "persistentvolume-protection-controller" => "pvprotection",
        "root-ca-certificate-publisher-controller" => "root_ca_cert_publisher",
        "service-lb-controller" => "service",
        "token-cleaner-controller" => "token_cleaner",
        "bootstrap-signer-controller" => "bootstrap_signer_queue",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shown_by_their_stock_names() {
        let metrics = QueueMetrics::default();
        metrics.begin("deployment-controller").adds.fetch_add(2, Relaxed);
        metrics.begin("deployment-controller").adds.fetch_add(1, Relaxed);
        metrics.begin("other");
        let mut out = String::new();
        metrics.render(&mut out);
        assert!(out.starts_with("# HELP workqueue_adds_total "), "{out}");
        assert!(out.contains(
            "workqueue_adds_total{name=\"deployment\"} 3\nworkqueue_adds_total{name=\"other\"} 0\n"
        ));
    }
}
