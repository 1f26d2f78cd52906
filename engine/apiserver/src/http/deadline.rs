//! How long a request may take, and which requests have no end.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/filters/request_deadline.go and
//!         pkg/server/filters/longrunning.go

use std::time::Duration;

use crate::{options::Query, request_info::RequestInfo, status::Status};

/// Watches, and what is opened rather than asked.
pub fn is_long_running(info: &RequestInfo) -> bool {
    info.is_resource
        && (matches!(info.verb.as_str(), "watch" | "proxy")
            || matches!(info.subresource.as_str(), "attach" | "exec" | "proxy" | "log" | "portforward"))
}

/// The time a request has, `most` or less if it says so with `timeout`. None: no end.
pub fn of(info: &RequestInfo, query: Option<&str>, most: Duration) -> Result<Option<Duration>, Status> {
    if is_long_running(info) {
        return Ok(None);
    }
    let Some(query) = query.filter(|query| query.contains("timeout")) else { return Ok(Some(most)) };
    let query = Query::parse(Some(query));
    let asked = match query.text("timeout") {
        "" => return Ok(Some(most)),
        text => go_duration(text).map_err(|why| {
            Status::bad_request(format!("invalid timeout specified in the request URL - {why}"))
        })?,
    };
    Ok(Some(if asked.is_zero() { most } else { asked.min(most) }))
}

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// `1h2m3.5s` as Go reads it; below zero is zero.
pub fn go_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", crate::status::quote(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        if end == 0 {
            return Err(format!("time: missing unit in duration {}", crate::status::quote(text)));
        }
        let unit = &rest[..end];
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let (unit, text) = (crate::status::quote(unit), crate::status::quote(text));
            return Err(format!("time: unknown unit {unit} in duration {text}"));
        };
        nanos += number * scale;
        rest = &rest[end..];
    }
    Ok(if negative { Duration::ZERO } else { Duration::from_nanos(nanos as u64) })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_request_has_a_minute_or_what_it_asks_for() {
        let most = Duration::from_secs(60);
        let limit = |path: &str| {
            let uri: http::Uri = path.parse().expect("uri");
            of(&RequestInfo::parse(&Method::GET, &uri), uri.query(), most).map_err(|status| status.message)
        };
        for (path, expected) in [
            ("/api/v1/pods", Some(60_000)),
            ("/api/v1/pods?timeout=1m30s", Some(60_000)),
            ("/api/v1/pods?timeout=0", Some(60_000)),
            ("/api/v1/pods?timeout=1.5s", Some(1_500)),
            ("/api/v1/pods?timeoutSeconds=1", Some(60_000)),
            ("/api/v1/pods?watch=true&timeout=1s", None),
            ("/api/v1/namespaces/a/pods/b/log?timeout=1s", None),
        ] {
            assert_eq!(limit(path), Ok(expected.map(Duration::from_millis)), "{path}");
        }
        for (value, why) in [
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
        ] {
            let text = format!("invalid timeout specified in the request URL - {why}");
            assert_eq!(limit(&format!("/api/v1/pods?timeout={value}")), Err(text));
        }
    }
}
