//! How a pod resolves names.

use serde_json::Value;

use super::{
    super::checks::{Causes, add, indexed, is_set, items, one_of, text},
    ip,
};
use crate::{object::strings, status::Cause};

const POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCHES_MAX_CHARS: usize = 2048;
const SEARCH_MAX_BYTES: usize = 253;
const SEARCH: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";

pub fn validate(out: &mut Causes, spec: &Value, path: &str) {
    one_of(out, &spec["dnsPolicy"], &format!("{path}.dnsPolicy"), &POLICIES);
    let (config, path) = (&spec["dnsConfig"], format!("{path}.dnsConfig"));
    let servers = items(&config["nameservers"]);
    let at = format!("{path}.nameservers");
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            return out.push(Cause::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return out.push(Cause::required(at, why));
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        let why = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        out.push(Cause::invalid(at.as_str(), config["nameservers"].clone(), &why));
    }
    for (at, server) in indexed(&config["nameservers"], &at) {
        ip(out, server, &at);
    }
    searches(out, &config["searches"], &format!("{path}.searches"));
    for (at, option) in indexed(&config["options"], &format!("{path}.options")) {
        if !is_set(&option["name"]) {
            out.push(Cause::required(at, "must not be empty"));
        }
    }
}

fn searches(out: &mut Causes, searches: &Value, path: &str) {
    let domains = strings(searches);
    if domains.len() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        out.push(Cause::invalid(path, searches.clone(), &why));
    }
    if domains.join(" ").len() > SEARCHES_MAX_CHARS {
        let why = format!(
            "must not have more than {SEARCHES_MAX_CHARS} characters (including spaces) in the search list"
        );
        out.push(Cause::invalid(path, searches.clone(), &why));
    }
    for (at, search) in indexed(searches, path) {
        let search = text(search);
        if search == "." {
            continue;
        }
        let search = search.strip_suffix('.').unwrap_or(search);
        if search.len() > SEARCH_MAX_BYTES {
            add(out, &at, search, vec![format!("must be no more than {SEARCH_MAX_BYTES} characters")]);
        }
        if !search.split('.').all(is_part) {
            add(out, &at, search, vec![SEARCH]);
        }
    }
}

fn is_part(part: &str) -> bool {
    let rest = part.strip_prefix('_').unwrap_or(part);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    rest.starts_with(plain) && rest.ends_with(plain) && rest.chars().all(|c| plain(c) || "-_".contains(c))
}
