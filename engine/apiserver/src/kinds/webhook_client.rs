//! Where a webhook is and which versions of reviews it speaks: the same for admission and for conversion.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/util/webhook/validation.go

use serde_json::Value;

use super::checks::{Causes, PORT_RANGE, indexed, is_set, items, text};
use crate::{
    metadata::{rfc1035_problems, subdomain_problems},
    outbound::{Trust, bundle_problem},
    status::Cause,
};

/// The versions of AdmissionReview and ConversionReview that a webhook must know one of.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// `missing` is said when there are none.
pub fn review_versions(out: &mut Causes, versions: &Value, path: &str, missing: &str) {
    let names: Vec<&str> = items(versions).iter().map(text).collect();
    if names.is_empty() {
        return out.push(Cause::required(path, missing));
    }
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            out.push(Cause::invalid(format!("{path}[{at}]"), *name, "duplicate version"));
            continue;
        }
        super::checks::add(out, &format!("{path}[{at}]"), name, rfc1035_problems(name));
    }
    if !names.iter().any(|name| REVIEW_VERSIONS.contains(name)) {
        out.push(Cause::invalid(path, versions.clone(), "must include at least one of v1, v1beta1"));
    }
}

/// A `clientConfig`.
pub fn client(out: &mut Causes, client: &Value, path: &str) {
    match (client["url"].as_str(), client["service"].is_object()) {
        (Some(given), false) => url(out, given, &format!("{path}.url")),
        (None, true) => service(out, &client["service"], &format!("{path}.service")),
        _ => out.push(Cause::required(path, "exactly one of url or service is required")),
    }
}

fn url(out: &mut Causes, given: &str, path: &str) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (rest, fragment) = given.split_once('#').unwrap_or((given, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
        _ => ("", rest),
    };
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if !scheme.eq_ignore_ascii_case("https") {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        out.push(Cause::invalid(path, scheme, &why));
    }
    if host.is_empty() {
        out.push(Cause::invalid(path, "", &format!("host must be specified{FORM}")));
    }
    if let Some(user) = user {
        out.push(Cause::invalid(path, user, "user information is not permitted in the URL"));
    }
    for (part, why) in [
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            out.push(Cause::invalid(path, part, why));
        }
    }
}

fn service(out: &mut Causes, service: &Value, path: &str) {
    for field in ["name", "namespace"] {
        if !is_set(&service[field]) {
            out.push(Cause::required(format!("{path}.{field}"), &format!("service {field} is required")));
        }
    }
    if let Some(port) = service["port"].as_i64().filter(|port| !(1..=65535).contains(port)) {
        let why = format!("port is not valid: {PORT_RANGE}");
        out.push(Cause::invalid(format!("{path}.port"), port, &why));
    }
    let given = text(&service["path"]);
    let at = format!("{path}.path");
    if matches!(given, "" | "/") {
        return;
    }
    if given == "//" {
        return out.push(Cause::invalid(at, given, "segment[0] may not be empty"));
    }
    let segments = given.strip_prefix('/').unwrap_or_else(|| {
        out.push(Cause::invalid(at.as_str(), given, "must start with a '/'"));
        given.get(1..).unwrap_or_default()
    });
    for (number, segment) in segments.strip_suffix('/').unwrap_or(segments).split('/').enumerate() {
        if segment.is_empty() {
            let why = format!("segment[{number}] may not be empty");
            out.push(Cause::invalid(at.as_str(), given, &why));
            continue;
        }
        for problem in subdomain_problems(segment) {
            out.push(Cause::invalid(at.as_str(), given, &format!("segment[{number}]: {problem}")));
        }
    }
}

/// At least one authority of a `caBundle` can be read.
pub fn authorities(out: &mut Causes, bundle: &Value, path: &str) {
    if let Trust::Bundle(pem) = Trust::of_bundle(bundle)
        && let Some(why) = bundle_problem(&pem)
    {
        out.push(Cause::invalid(path, bundle.clone(), &format!("unable to load root certificates: {why}")));
    }
}

/// A name of at least three segments.
pub fn qualified_name(out: &mut Causes, name: &Value, path: &str) {
    let given = text(name);
    let problems = subdomain_problems(given);
    if given.is_empty() {
        out.push(Cause::required(path, ""));
    } else if !problems.is_empty() {
        out.push(Cause::invalid(path, given, &problems.join(",")));
    } else if given.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        out.push(Cause::invalid(path, given, why));
    }
}

/// Each but the first of a name is refused.
pub fn duplicate_names(out: &mut Causes, list: &Value, path: &str) {
    let mut seen = Vec::new();
    for (at, item) in indexed(list, path) {
        let name = text(&item["name"]);
        if !name.is_empty() && seen.contains(&name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
        seen.push(name);
    }
}
