//! What of a Service stays.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateServiceUpdate`)

use serde_json::Value;

use super::{
    super::checks::{Causes, items, same},
    fields::{is_headless, kind, needs_health_port},
};
use crate::status::Cause;

const FIXED: &str = "may not change once set";

pub fn validate(service: &Value, old: &Value) -> Causes {
    let (spec, before, mut out) = (&service["spec"], &old["spec"], Vec::new());
    let named = kind(service) == "ExternalName" || kind(old) == "ExternalName";
    if !named {
        let headless = (is_headless(service), is_headless(old));
        if headless != (true, true) {
            kept(&mut out, spec, before, "clusterIPs", "clusterIP");
        }
        if headless == (false, false) {
            kept(&mut out, spec, before, "ipFamilies", "ipFamily");
        }
    }
    if kind(service) == "LoadBalancer" && kind(old) == "LoadBalancer" {
        let class = &spec["loadBalancerClass"];
        if !same(class, &before["loadBalancerClass"]) {
            out.push(Cause::invalid("spec.loadBalancerClass", class.clone(), FIXED));
        }
    }
    if needs_health_port(service)
        && needs_health_port(old)
        && spec["healthCheckNodePort"] != before["healthCheckNodePort"]
    {
        out.push(Cause::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
    out
}

/// The first stays, the second may come and go.
fn kept(out: &mut Causes, spec: &Value, before: &Value, field: &str, one: &str) {
    let (new, old) = (items(&spec[field]), items(&before[field]));
    let at = |position: usize| format!("spec.{field}[{position}]");
    if new.len() == old.len() {
        let changed = new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old);
        // Of families, upstream always names the first.
        let positions = changed.map(|(position, _)| if field == "clusterIPs" { position } else { 0 });
        return out
            .extend(positions.map(|position| Cause::invalid(at(position), spec[field].clone(), FIXED)));
    }
    if new.is_empty() {
        let why = format!("primary {one} can not be unset");
        return out.push(Cause::invalid(at(0), spec[field].clone(), &why));
    }
    if old.first().is_some_and(|old| new[0] != *old) {
        out.push(Cause::invalid(at(0), spec["clusterIPs"].clone(), FIXED));
    }
    if new.len() == 1 && old.len() > 1 && spec["ipFamilyPolicy"] != "SingleStack" {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        out.push(Cause::invalid("spec.ipFamilyPolicy", spec["ipFamilyPolicy"].clone(), &why));
    }
}
