//! Cluster addresses and address families of a Service: how they go together, and what this cluster has of them.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//! (`ValidateServiceClusterIPsRelatedFields`) and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/service/storage/alloc.go (`initIPFamilyFields`)

use std::net::IpAddr;

use serde_json::Value;

use super::{
    super::{
        checks::{Causes, indexed, items, one_of, text},
        ip,
    },
    fields::{is_headless, kind, needs_cluster_ip},
};
use crate::{object::strings, status::Cause};

const AT: &str = "spec.clusterIPs";
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

pub fn validate(service: &Value) -> Causes {
    let (spec, mut out) = (&service["spec"], Vec::new());
    if kind(service) == "ExternalName" {
        return out;
    }
    let (single, all) = (text(&spec["clusterIP"]), &spec["clusterIPs"]);
    match (single, strings(all).first()) {
        ("", Some(_)) => {
            out.push(Cause::invalid(AT, all.clone(), "must be empty when `clusterIP` is not specified"));
        }
        ("", None) => {}
        (_, None) => out.push(Cause::required(AT, "")),
        (single, Some(first)) if single != *first => {
            out.push(Cause::invalid(AT, all.clone(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let families = items(&spec["ipFamilies"]);
    for (position, (at, family)) in indexed(&spec["ipFamilies"], "spec.ipFamilies").enumerate() {
        one_of(&mut out, family, &at, &["IPv4", "IPv6"]);
        if families[..position].contains(family) {
            out.push(Cause::duplicate(at, family.clone()));
        }
    }
    one_of(&mut out, &spec["ipFamilyPolicy"], "spec.ipFamilyPolicy", &POLICIES);
    let before = out.len();
    addresses(&mut out, all);
    if out.len() == before {
        pairs(&mut out, all, families);
    }
    out
}

fn addresses(out: &mut Causes, all: &Value) {
    let count = items(all).len();
    for (position, (at, own)) in indexed(all, AT).enumerate() {
        if position == 0 && own == "None" {
            if count > 1 {
                out.push(Cause::invalid(AT, all.clone(), "'None' must be the first and only value"));
            }
            continue;
        }
        ip::address(out, text(own), &at);
    }
    if count > 2 {
        out.push(Cause::invalid(AT, all.clone(), "may only hold up to 2 values"));
    }
}

/// One address a family, in the order of the families.
fn pairs(out: &mut Causes, all: &Value, families: &[Value]) {
    let is_v6: Vec<bool> =
        strings(all).iter().filter_map(|own| own.parse::<IpAddr>().ok()).map(|own| own.is_ipv6()).collect();
    if let [first, second] = is_v6[..]
        && first == second
    {
        let why = "may specify no more than one IP for each IP family";
        out.push(Cause::invalid(AT, all.clone(), why));
    }
    for (position, (is_v6, family)) in is_v6.iter().zip(families).enumerate() {
        if (family == "IPv6") != *is_v6 {
            let why = format!("expected an {} value as indicated by `ipFamilies[{position}]`", text(family));
            out.push(Cause::invalid(format!("{AT}[{position}]"), all[position].clone(), &why));
        }
    }
}

/// This cluster has IPv4 alone. A headless Service without selector brings its own endpoints, of any family.
pub fn available(service: &Value) -> Causes {
    let (spec, mut out) = (&service["spec"], Vec::new());
    let own_endpoints = spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    if !needs_cluster_ip(service) || (is_headless(service) && own_endpoints) {
        return out;
    }
    let families = items(&spec["ipFamilies"]);
    for (position, (at, own)) in indexed(&spec["clusterIPs"], AT).enumerate() {
        if position >= families.len() && text(own).parse::<IpAddr>().is_ok_and(|own| own.is_ipv6()) {
            let why = "IPv6 is not configured on this cluster";
            out.push(Cause::invalid(at, spec["clusterIPs"].clone(), why));
        }
    }
    if spec["ipFamilyPolicy"] == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        out.push(Cause::invalid("spec.ipFamilyPolicy", "RequireDualStack", why));
    }
    for (at, family) in indexed(&spec["ipFamilies"], "spec.ipFamilies").filter(|(_, own)| *own == "IPv6") {
        out.push(Cause::invalid(at, family.clone(), "not configured on this cluster"));
    }
    out
}
