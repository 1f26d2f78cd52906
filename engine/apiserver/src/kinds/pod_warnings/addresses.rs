//! Addresses that are written in a way that later releases refuse, or not in the canonical one.
//!
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/ip.go (`GetWarningsForIP`)

use std::net::Ipv6Addr;

use serde_json::Value;

use super::{
    super::checks::{indexed, text},
    Warnings,
};
use crate::status::quote;

pub fn warn(warnings: &mut Warnings<'_>) {
    for (at, server) in indexed(&warnings.spec["dnsConfig"]["nameservers"], "spec.dnsConfig.nameservers") {
        address(warnings, server, &at);
    }
    for (at, alias) in indexed(&warnings.spec["hostAliases"], "spec.hostAliases") {
        address(warnings, &alias["ip"], &format!("{at}.ip"));
    }
}

fn address(warnings: &mut Warnings<'_>, value: &Value, path: &str) {
    let Ok(address) = text(value).parse::<Ipv6Addr>() else { return };
    let shown = quote(text(value));
    match address.to_ipv4_mapped() {
        Some(plain) => warnings.say(
            path,
            format_args!(
                "non-standard IP address {shown} will be considered invalid in a future Kubernetes release: use \"{plain}\""
            ),
        ),
        None if address.to_string() != text(value) => warnings.say(
            path,
            format_args!("IPv6 address {shown} should be in RFC 5952 canonical format (\"{address}\")"),
        ),
        None => {}
    }
}
