//! `/healthz`, `/livez`, `/readyz` with their single checks.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/health-checks/ and
//!         https://github.com/kubernetes/apiserver/blob/master/pkg/server/healthz/healthz.go

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

use crate::{http::nonresource::text, metrics::Page, status::Status, types::Response, types::State};

type Check = (&'static str, fn(&State) -> bool);

const CHECKS: [Check; 3] = [
    ("ping", |_| true),
    ("log", |_| true),
    // The stock name for the store.
    ("etcd", |state| state.reader.revision().0 > 0),
];
/// Only readiness: a server that cannot write or is stopping wants no new requests.
const READY_CHECKS: [Check; 2] = [
    ("etcd-readiness", |state| state.reader.read_only().is_none()),
    ("shutdown", |state| !state.stop.is_cancelled()),
];

const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];

/// What came of the checks of each endpoint as a whole, for `/metrics/slis`.
/// Source: https://github.com/kubernetes/component-base/blob/master/metrics/prometheus/slis/metrics.go
#[derive(Default)]
pub struct Outcomes([[Outcome; CHECKS.len() + READY_CHECKS.len()]; ENDPOINTS.len()]);

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
        let checks = || CHECKS.iter().chain(&READY_CHECKS).enumerate();
        let rows = || {
            checks().flat_map(|(at, (name, _))| {
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

pub fn serve(state: &State, segments: &[&str], query: Option<&str>) -> Result<Response, Status> {
    let endpoint = segments[0];
    let query = crate::options::Query::parse(query);
    let extra: &[Check] = if endpoint == "readyz" { &READY_CHECKS } else { &[] };
    let checks: Vec<&Check> = CHECKS.iter().chain(extra).collect();
    match segments[1..] {
        [] => {}
        [name] => {
            let check = checks.iter().find(|check| check.0 == name).ok_or_else(Status::unknown_path)?;
            return Ok(match check.1(state) {
                true => answer(true, "ok".into()),
                false => answer(false, "internal server error: reason withheld\n".into()),
            });
        }
        _ => return Err(Status::unknown_path()),
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut failed = false;
    let mut lines = String::new();
    for (at, (name, check)) in checks.iter().enumerate() {
        if excluded.contains(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        let good = check(state);
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
        .filter(|name| !checks.iter().any(|check| check.0 == **name))
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
