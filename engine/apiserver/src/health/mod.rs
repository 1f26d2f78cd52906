//! `/healthz`, `/livez`, `/readyz` with their single checks, by the names that they have on a stock server.
//!
//! Kept true: every check looks at something; what a stock server checks and this one does not have is not listed.
//! Source: https://kubernetes.io/docs/reference/using-api/health-checks/ and
//!         https://github.com/kubernetes/apiserver/blob/master/pkg/server/healthz/healthz.go

mod hooks;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

pub use hooks::{Hook, Hooks};

use crate::{http::nonresource::text, metrics::Page, status::Status, types::Response, types::State};

enum Check {
    /// Of every endpoint.
    Always(fn(&State) -> bool),
    /// Of readiness alone: where it fails, a server wants no new requests.
    Ready(fn(&State) -> bool),
    Hook(Hook),
}

impl Check {
    fn is_of(&self, endpoint: &str) -> bool {
        endpoint == "readyz" || !matches!(self, Check::Ready(_))
    }

    fn is_good(&self, state: &State) -> bool {
        match self {
            Check::Always(is_good) | Check::Ready(is_good) => is_good(state),
            Check::Hook(hook) => runs(state, *hook),
        }
    }
}

/// What ends with the server did its work.
fn runs(state: &State, hook: Hook) -> bool {
    state.hooks.is(hook) || state.stop.is_cancelled()
}

/// What follows the store.
const FOLLOWERS: [Hook; 3] = [Hook::Flow, Hook::Definitions, Hook::ApiServices];

/// As a stock server orders them.
const CHECKS: &[(&str, Check)] = &[
    // That it answers is the answer.
    ("ping", Check::Always(|_| true)),
    ("log", Check::Always(|state| state.audit.keeps_up())),
    // The stock name for the store.
    ("etcd", Check::Always(|state| state.reader.revision().0 > 0)),
    ("etcd-readiness", Check::Ready(|state| state.reader.read_only().is_none())),
    ("informer-sync", Check::Ready(|state| FOLLOWERS.into_iter().all(|hook| runs(state, hook)))),
    ("poststarthook/priority-and-fairness-config-consumer", Check::Hook(Hook::Flow)),
    ("poststarthook/start-apiextensions-controllers", Check::Hook(Hook::Definitions)),
    ("poststarthook/crd-informer-synced", Check::Hook(Hook::Definitions)),
    ("poststarthook/start-cluster-authentication-info-controller", Check::Hook(Hook::Bootstrapped)),
    ("poststarthook/rbac/bootstrap-roles", Check::Hook(Hook::Bootstrapped)),
    ("poststarthook/scheduling/bootstrap-system-priority-classes", Check::Hook(Hook::Bootstrapped)),
    ("poststarthook/priority-and-fairness-config-producer", Check::Hook(Hook::FlowObjects)),
    ("poststarthook/bootstrap-controller", Check::Hook(Hook::Bootstrapped)),
    ("poststarthook/apiservice-status-local-available-controller", Check::Hook(Hook::ApiServices)),
    ("poststarthook/apiservice-status-remote-available-controller", Check::Hook(Hook::ApiServices)),
    ("poststarthook/apiservice-registration-controller", Check::Hook(Hook::ApiServices)),
    ("poststarthook/apiservice-discovery-controller", Check::Hook(Hook::ApiServices)),
    ("poststarthook/kube-apiserver-autoregistration", Check::Hook(Hook::ApiServices)),
    ("autoregister-completion", Check::Hook(Hook::Registered)),
    ("poststarthook/apiservice-openapi-controller", Check::Hook(Hook::ApiServices)),
    ("poststarthook/apiservice-openapiv3-controller", Check::Hook(Hook::ApiServices)),
    ("shutdown", Check::Ready(|state| !state.stop.is_cancelled())),
];

const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];

/// What came of the checks of each endpoint as a whole, for `/metrics/slis`.
/// Source: https://github.com/kubernetes/component-base/blob/master/metrics/prometheus/slis/metrics.go
#[derive(Default)]
pub struct Outcomes([[Outcome; CHECKS.len()]; ENDPOINTS.len()]);

#[derive(Default)]
struct Outcome {
    good: AtomicU64,
    bad: AtomicU64,
    /// 1 when the last one was good.
    last: AtomicU64,
}

impl Outcomes {
    fn note(&self, endpoint: &str, check: usize, good: bool) {
        let Some(endpoint) = ENDPOINTS.iter().position(|own| *own == endpoint) else { return };
        let outcome = &self.0[endpoint][check];
        if good { &outcome.good } else { &outcome.bad }.fetch_add(1, Relaxed);
        outcome.last.store(good.into(), Relaxed);
    }

    pub fn render(&self) -> String {
        let mut page = Page::default();
        let rows = || {
            CHECKS.iter().enumerate().flat_map(|(at, (name, _))| {
                ENDPOINTS.iter().zip(&self.0).map(move |(endpoint, row)| (name, endpoint, &row[at]))
            })
        };
        let name = "kubernetes_healthcheck";
        page.family(name, "gauge", "[STABLE] This metric records the result of a single healthcheck.");
        for (check, endpoint, outcome) in rows() {
            if outcome.good.load(Relaxed) + outcome.bad.load(Relaxed) > 0 {
                let labels = format!("name=\"{check}\",type=\"{endpoint}\"");
                page.sample(name, &labels, outcome.last.load(Relaxed));
            }
        }
        let name = "kubernetes_healthchecks_total";
        page.family(name, "counter", "[STABLE] This metric records the results of all healthcheck.");
        for (check, endpoint, outcome) in rows() {
            for (word, count) in [("error", &outcome.bad), ("success", &outcome.good)] {
                let count = count.load(Relaxed);
                if count > 0 {
                    let labels = format!("name=\"{check}\",status=\"{word}\",type=\"{endpoint}\"");
                    page.sample(name, &labels, count);
                }
            }
        }
        page.0
    }
}

/// The paths of all checks.
pub fn paths() -> impl Iterator<Item = String> {
    ENDPOINTS.iter().flat_map(|endpoint| {
        let own = CHECKS.iter().filter(|(_, check)| check.is_of(endpoint));
        own.map(move |(name, _)| format!("/{endpoint}/{name}"))
    })
}

pub fn serve(state: &State, segments: &[&str], query: Option<&str>) -> Result<Response, Status> {
    let endpoint = segments[0];
    let query = crate::options::Query::parse(query);
    let own = || CHECKS.iter().enumerate().filter(|(_, (_, check))| check.is_of(endpoint));
    if segments.len() > 1 {
        let asked = segments[1..].join("/");
        let (_, (_, check)) = own().find(|(_, (name, _))| *name == asked).ok_or_else(Status::unknown_path)?;
        return Ok(match check.is_good(state) {
            true => answer(true, "ok".into()),
            false => answer(false, "internal server error: reason withheld\n".into()),
        });
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut failed = false;
    let mut lines = String::new();
    for (at, (name, check)) in own() {
        if excluded.contains(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        let good = check.is_good(state);
        state.metrics.health.note(endpoint, at, good);
        if good {
            lines.push_str(&format!("[+]{name} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|asked| !own().any(|(_, (name, _))| name == *asked))
        .map(|name| crate::status::quote(name))
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {unknown}\n"));
    }
    if !failed && !query.flag("verbose") {
        return Ok(answer(true, "ok".into()));
    }
    lines.push_str(&format!("{endpoint} check {}\n", if failed { "failed" } else { "passed" }));
    Ok(answer(!failed, lines))
}

fn answer(good: bool, body: String) -> Response {
    let mut response = text(body);
    if !good {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}
