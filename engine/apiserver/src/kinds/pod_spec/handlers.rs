//! Probes and lifecycle hooks: exactly one handler each, and sane numbers.

use serde_json::Value;

use super::super::checks::{Causes, items, needed, non_negative, one_of, port_or_name, require, text};
use crate::status::Cause;

const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// `grace`: the seconds that the pod has to end, when that is known.
pub fn validate_all(out: &mut Causes, container: &Value, path: &str, grace: Option<i64>) {
    for hook in ["postStart", "preStop"] {
        let own = &container["lifecycle"][hook];
        if !own.is_null() {
            handler(
                out,
                own,
                &format!("{path}.lifecycle.{hook}"),
                &["exec", "httpGet", "tcpSocket", "sleep"],
                grace,
            );
        }
    }
    for (field, one_success) in [("livenessProbe", true), ("readinessProbe", false), ("startupProbe", true)] {
        let probe = &container[field];
        if probe.is_null() {
            continue;
        }
        let at = format!("{path}.{field}");
        handler(out, probe, &at, &["exec", "httpGet", "tcpSocket", "grpc"], grace);
        non_negative(out, probe, &at, &NUMBERS);
        if let Some(seconds) = probe["terminationGracePeriodSeconds"].as_i64() {
            let at = format!("{at}.terminationGracePeriodSeconds");
            if field == "readinessProbe" {
                out.push(Cause::invalid(at, seconds, "must not be set for readinessProbes"));
            } else if seconds <= 0 {
                out.push(Cause::invalid(at, seconds, "must be greater than 0"));
            }
        }
        if let Some(times) = probe["successThreshold"].as_i64().filter(|times| one_success && *times != 1) {
            out.push(Cause::invalid(format!("{at}.successThreshold"), times, "must be 1"));
        }
    }
}

fn handler(out: &mut Causes, parent: &Value, path: &str, kinds: &[&str], grace: Option<i64>) {
    let mut given = kinds.iter().filter(|kind| parent[**kind].is_object());
    let Some(first) = given.next() else {
        return out.push(Cause::required(path, "must specify a handler type"));
    };
    let own = &parent[*first];
    let at = format!("{path}.{first}");
    match *first {
        "exec" => needed(out, own, &at, "command"),
        "httpGet" => {
            require(out, &own["path"], &format!("{at}.path"));
            port_or_name(out, &own["port"], &format!("{at}.port"));
            one_of(out, &own["scheme"], &format!("{at}.scheme"), &["HTTP", "HTTPS"]);
            let is_name =
                |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            for name in items(&own["httpHeaders"]).iter().map(|header| text(&header["name"])) {
                if !is_name(name) {
                    out.push(Cause::invalid(format!("{at}.httpHeaders"), name, HEADER));
                }
            }
        }
        "tcpSocket" | "grpc" => port_or_name(out, &own["port"], &format!("{at}.port")),
        _ => {
            let seconds = own["seconds"].as_i64().unwrap_or_default();
            if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
                let why =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                out.push(Cause::invalid(at, seconds, &why));
            }
        }
    }
    for extra in given {
        out.push(Cause::forbidden(format!("{path}.{extra}"), "may not specify more than 1 handler type"));
    }
}
