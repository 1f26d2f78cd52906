//! `/healthz`, `/livez`, `/readyz` with their single checks.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/health-checks/ and
//!         https://github.com/kubernetes/apiserver/blob/master/pkg/server/healthz/healthz.go

use http::StatusCode;

use crate::{http::nonresource::text, status::Status, types::Response, types::State};

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
    for (name, check) in &checks {
        if excluded.contains(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if check(state) {
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
