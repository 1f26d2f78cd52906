//! `/healthz`, `/livez`, `/readyz` with their single checks, and the few metrics that this server counts.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/health-checks/

use http::StatusCode;

use crate::{http::nonresource::text, status::Status, types::Response, types::State};

type Check = (&'static str, fn(&State) -> bool);

const CHECKS: [Check; 3] = [
    ("ping", |_| true),
    ("log", |_| true),
    // The stock name for the store.
    ("etcd", |state| state.reader.revision().0 > 0),
];
/// Only readiness: a server that is stopping wants no new requests.
const READY_CHECKS: [Check; 1] = [("shutdown", |state| !state.stop.is_cancelled())];

pub fn serve(state: &State, segments: &[&str], query: Option<&str>) -> Result<Response, Status> {
    let endpoint = segments[0];
    let query = crate::options::Query::parse(query);
    let extra: &[Check] = if endpoint == "readyz" { &READY_CHECKS } else { &[] };
    let excluded: Vec<&str> = query.all("exclude").collect();
    let checks: Vec<&Check> =
        CHECKS.iter().chain(extra).filter(|check| !excluded.contains(&check.0)).collect();
    match segments[1..] {
        [] => {}
        [name] => {
            let check = checks.iter().find(|check| check.0 == name).ok_or_else(Status::unknown_path)?;
            return Ok(answer(check.1(state), "ok".into()));
        }
        _ => return Err(Status::unknown_path()),
    }
    let failed = checks.iter().any(|check| !check.1(state));
    if !failed && !query.flag("verbose") {
        return Ok(answer(true, "ok".into()));
    }
    let mut lines: String = checks
        .iter()
        .map(|check| match check.1(state) {
            true => format!("[+]{} ok\n", check.0),
            false => format!("[-]{} failed: reason withheld\n", check.0),
        })
        .collect();
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

/// In the Prometheus text format.
pub fn metrics(state: &State) -> String {
    let mut out = String::from(
        "# HELP apiserver_storage_objects Number of stored objects at the time of last check split by kind.\n# TYPE apiserver_storage_objects gauge\n",
    );
    for (resource, count) in state.reader.snapshot().resources() {
        out.push_str(&format!("apiserver_storage_objects{{resource=\"{}\"}} {count}\n", resource.0));
    }
    out
}
