//! The page `/metrics`.
//!
//! Source: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::{
    fmt::{Display, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::Ordering::Relaxed,
};

use super::{
    Labels, process,
    series::{DURATIONS, EVENT_SIZES, SIZES, SLI_DURATIONS, TERMINATIONS},
};
use crate::types::State;

/// Text in the making.
#[derive(Default)]
pub struct Page(pub String);

impl Page {
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}

pub fn render(state: &State) -> String {
    let mut page = Page::default();
    requests(state, &mut page);
    in_flight(state, &mut page);
    watches(state, &mut page);
    store(state, &mut page);
    state.metrics.store.render(&mut page);
    state.metrics.admission.render(&mut page);
    access(state, &mut page);
    state.metrics.requesters.render(&mut page);
    state.issuers.render(&state.config.node_name, &mut page);
    state.audit.render(&mut page);
    state.flow.render(&mut page);
    state.aggregator.availability.render(&mut page);
    build(&mut page);
    process::render(&mut page);
    state.more_metrics.read().iter().for_each(|render| render(&mut page.0));
    page.0
}

/// In the order of the labels' names, as the stock server writes them.
fn labels(labels: Labels<'_>, dry_run: Option<bool>, code: Option<u16>) -> String {
    let Labels { group, version, resource, subresource, scope, verb } = labels;
    let code = code.map(|code| format!("code=\"{code}\",")).unwrap_or_default();
    let dry_run = match dry_run {
        Some(true) => "dry_run=\"All\",",
        Some(false) => "dry_run=\"\",",
        None => "",
    };
    format!(
        "{code}component=\"apiserver\",{dry_run}group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
    )
}

fn requests(state: &State, page: &mut Page) {
    let all = state.metrics.all();
    page.family(
        "apiserver_request_total",
        "counter",
        "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
    );
    for series in &all {
        for (code, dry_run, count) in series.counts() {
            let labels = labels(series.labels.as_ref(), Some(dry_run), Some(code));
            page.sample("apiserver_request_total", &labels, count);
        }
    }
    let name = "apiserver_request_duration_seconds";
    page.family(
        name,
        "histogram",
        "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
    );
    for series in &all {
        for (dry_run, durations) in [false, true].into_iter().zip(&series.durations) {
            let labels = labels(series.labels.as_ref(), Some(dry_run), None);
            durations.render(&mut page.0, name, &labels, &DURATIONS, 1e-9);
        }
    }
    let name = "apiserver_request_sli_duration_seconds";
    page.family(
        name,
        "histogram",
        "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.",
    );
    for series in &all {
        let labels = labels(series.labels.as_ref(), None, None);
        series.sli_durations.render(&mut page.0, name, &labels, &SLI_DURATIONS, 1e-9);
    }
    let name = "apiserver_response_sizes";
    page.family(
        name,
        "histogram",
        "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
    );
    for series in &all {
        series.sizes.render(&mut page.0, name, &labels(series.labels.as_ref(), None, None), &SIZES, 1.0);
    }
    let name = "apiserver_request_terminations_total";
    let help = "[ALPHA] Number of requests which apiserver terminated in self-defense.";
    page.family(name, "counter", help);
    for series in &all {
        for (code, count) in TERMINATIONS.iter().zip(&series.terminations) {
            let count = count.load(Relaxed);
            if count > 0 {
                page.sample(name, &labels(series.labels.as_ref(), None, Some(*code)), count);
            }
        }
    }
    let name = "apiserver_longrunning_requests";
    page.family(
        name,
        "gauge",
        "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.",
    );
    for series in all.iter().filter(|series| matches!(series.labels.as_ref().verb, "WATCH" | "CONNECT")) {
        let labels = labels(series.labels.as_ref(), None, None);
        page.sample(name, &labels, series.long_running.load(Relaxed));
    }
}

fn in_flight(state: &State, page: &mut Page) {
    let name = "apiserver_current_inflight_requests";
    page.family(
        name,
        "gauge",
        "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
    );
    let now = &state.metrics.in_flight;
    page.sample(name, "request_kind=\"mutating\"", now.mutating.load(Relaxed));
    page.sample(name, "request_kind=\"readOnly\"", now.read_only.load(Relaxed));
}

fn watches(state: &State, page: &mut Page) {
    let watches = state.metrics.watches.read();
    let mut all: Vec<_> = watches.iter().collect();
    all.sort_by_key(|(key, _)| *key);
    let labels = |(group, version, resource): &(String, String, String)| {
        format!("group=\"{group}\",resource=\"{resource}\",version=\"{version}\"")
    };
    let name = "apiserver_watch_events_total";
    page.family(name, "counter", "[ALPHA] Number of events sent in watch clients");
    for (key, series) in &all {
        page.sample(name, &labels(key), series.events.load(Relaxed));
    }
    let name = "apiserver_watch_events_sizes";
    page.family(name, "histogram", "[ALPHA] Watch event size distribution in bytes");
    for (key, series) in &all {
        series.sizes.render(&mut page.0, name, &labels(key), &EVENT_SIZES, 1.0);
    }
}

fn store(state: &State, page: &mut Page) {
    let snapshot = state.reader.snapshot();
    let mut counts = snapshot.resources();
    counts.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0));
    page.family(
        "apiserver_storage_objects",
        "gauge",
        "[STABLE] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
    );
    for (resource, count) in &counts {
        page.sample("apiserver_storage_objects", &format!("resource=\"{}\"", resource.0), count);
    }
    page.family(
        "apiserver_resource_objects",
        "gauge",
        "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
    );
    for (resource, count) in &counts {
        let (name, group) = resource.0.split_once('.').unwrap_or((&resource.0, ""));
        page.sample("apiserver_resource_objects", &format!("group=\"{group}\",resource=\"{name}\""), count);
    }
    let name = "apiserver_resource_size_estimate_bytes";
    let help = "[ALPHA] Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized objects. In case of a fetching error, the value will be -1.";
    page.family(name, "gauge", help);
    for (resource, _) in &counts {
        let (plural, group) = resource.0.split_once('.').unwrap_or((&resource.0, ""));
        page.sample(name, &format!("group=\"{group}\",resource=\"{plural}\""), snapshot.bytes(resource));
    }
    if let Some(bytes) = allocated(&state.config.data_dir.join("store")) {
        let name = "apiserver_storage_size_bytes";
        let help = "[STABLE] Size of the storage database file physically allocated in bytes.";
        page.family(name, "gauge", help);
        page.sample(name, "storage_cluster_id=\"etcd-0\"", bytes);
    }
    page.family("coracle_store_revision", "gauge", "Revision of the last commit.");
    page.sample("coracle_store_revision", "", state.reader.revision().0);
    page.family("coracle_store_history_events", "gauge", "Events that watches can still be resumed from.");
    page.sample("coracle_store_history_events", "", state.reader.history_len());
}

/// Of the files of a directory.
fn allocated(dir: &Path) -> Option<u64> {
    const BLOCK: u64 = 512;
    let files = std::fs::read_dir(dir).ok()?.flatten().filter_map(|entry| entry.metadata().ok());
    Some(files.map(|file| file.blocks() * BLOCK).sum())
}

fn access(state: &State, page: &mut Page) {
    for (name, help, attempts, words) in [
        (
            "authentication_attempts",
            "[ALPHA] Counter of authenticated attempts.",
            &state.metrics.authentication,
            ["success", "failure"],
        ),
        (
            "authorization_attempts_total",
            "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.",
            &state.metrics.authorization,
            ["allowed", "denied"],
        ),
    ] {
        page.family(name, "counter", help);
        for (word, count) in words.iter().zip([&attempts.good, &attempts.bad]) {
            page.sample(name, &format!("result=\"{word}\""), count.load(Relaxed));
        }
    }
    let name = "apiserver_tls_handshake_errors_total";
    page.family(name, "counter", "[ALPHA] Number of requests dropped with 'TLS handshake error from' error");
    page.sample(name, "", state.metrics.tls_handshake_errors.load(Relaxed));
}

fn build(page: &mut Page) {
    let version = crate::http::nonresource::version();
    let labels: Vec<String> = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ]
    .iter()
    .map(|(label, field)| format!("{label}=\"{}\"", version[*field].as_str().unwrap_or_default()))
    .collect();
    page.family(
        "kubernetes_build_info",
        "gauge",
        "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
    );
    page.sample("kubernetes_build_info", &labels.join(","), 1);
}
