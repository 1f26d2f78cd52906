//! ResourceSlices: the devices of a pool, and for which nodes they are.

use serde_json::{Map, Value};

use super::{
    super::checks::{Causes, add, immutable, is_set, items, require, text},
    capacity, driver, node_selector,
    parts::{binding_conditions, bounded, counters, map, pool_name, qualified, set, taint, word},
};
use crate::{metadata::subdomain_problems, object, status::Cause, strategy::Context};

const DEVICES_MAX: usize = 128;
/// Of devices with taints or counters.
const ADVANCED_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const CONSUMPTIONS_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const PROPERTIES_MAX: usize = 32;
const VALUE_MAX_BYTES: usize = 64;
const NODES: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const DEVICE_NODES: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// Lists as values and shares of a node's own resources are features that are off.
pub fn prepare(slice: &mut Value, _old: Option<&Value>, _context: Context<'_>) {
    for device in slice["spec"]["devices"].as_array_mut().into_iter().flatten() {
        object::remove(device, "nodeAllocatableResourceMappings");
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        for (_, attribute) in attributes.into_iter().flatten() {
            for field in ["bools", "ints", "strings", "versions"] {
                object::remove(attribute, field);
            }
        }
    }
}

pub fn compare(new: &Value, old: &Value) -> Causes {
    let (spec, before, mut out) = (&new["spec"], &old["spec"], Vec::new());
    immutable(&mut out, &spec["pool"]["name"], &before["pool"]["name"], "spec.pool.name");
    for field in ["driver", "nodeName"] {
        immutable(&mut out, &spec[field], &before[field], &format!("spec.{field}"));
    }
    out
}

pub fn check(slice: &Value) -> Causes {
    let (spec, mut out) = (&slice["spec"], Vec::new());
    driver(&mut out, &spec["driver"], "spec.driver");
    let pool = &spec["pool"];
    pool_name(&mut out, &pool["name"], "spec.pool.name");
    let number = |field: &str| pool[field].as_i64().unwrap_or_default();
    if number("resourceSliceCount") <= 0 {
        let why = "must be greater than zero";
        out.push(Cause::invalid("spec.pool.resourceSliceCount", number("resourceSliceCount"), why));
    }
    if number("generation") < 0 {
        let why = "must be greater than or equal to zero";
        out.push(Cause::invalid("spec.pool.generation", number("generation"), why));
    }
    let empty = "must be either unset or set to a non-empty string";
    let chosen = nodes(&mut out, spec, "spec", empty, &["allNodes", "perDeviceNodeSelection"]);
    if spec["nodeSelector"].is_object() && items(&spec["nodeSelector"]["nodeSelectorTerms"]).len() != 1 {
        let (at, terms) = ("spec.nodeSelector.nodeSelectorTerms", &spec["nodeSelector"]["nodeSelectorTerms"]);
        out.push(Cause::invalid(at, terms.clone(), "must have exactly one node selector term"));
    }
    match &chosen[..] {
        [] => out.push(Cause::required("spec", NODES)),
        [_] => {}
        many => {
            let why = format!("{NODES}, but multiple fields are set");
            out.push(Cause::invalid("spec", format!("{{{}}}", many.join(", ")), &why));
        }
    }
    if is_set(&spec["sharedCounters"]) && is_set(&spec["devices"]) {
        out.push(Cause::invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let is_advanced = |own: &Value| is_set(&own["taints"]) || is_set(&own["consumesCounters"]);
    let most = match items(&spec["devices"]).iter().any(is_advanced) {
        true => ADVANCED_DEVICES_MAX,
        false => DEVICES_MAX,
    };
    let by_device = spec["perDeviceNodeSelection"] == true;
    set(&mut out, &spec["devices"], "spec.devices", most, "name", &mut |out, own, at| {
        device(out, own, at, by_device);
    });
    let sets = &spec["sharedCounters"];
    set(&mut out, sets, "spec.sharedCounters", COUNTER_SETS_MAX, "name", &mut |out, own, at| {
        named_counters(out, own, at, "name");
    });
    out
}

/// Which of the fields that choose nodes are set, as messages show them.
fn nodes(out: &mut Causes, own: &Value, path: &str, empty: &str, switches: &[&str]) -> Vec<String> {
    let mut chosen = Vec::new();
    match own["nodeName"].as_str() {
        None => {}
        Some("") => out.push(Cause::invalid(format!("{path}.nodeName"), "", empty)),
        Some(name) => {
            chosen.push("`nodeName`".to_owned());
            add(out, &format!("{path}.nodeName"), name, subdomain_problems(name));
        }
    }
    if own["nodeSelector"].is_object() {
        chosen.push("`nodeSelector`".to_owned());
        node_selector(out, &own["nodeSelector"], &format!("{path}.nodeSelector"));
    }
    for field in switches {
        match own[*field].as_bool() {
            None => {}
            Some(true) => chosen.push(format!("`{field}`")),
            Some(false) => {
                let why = "must be either unset or set to true";
                out.push(Cause::invalid(format!("{path}.{field}"), false, why));
            }
        }
    }
    chosen
}

fn named_counters(out: &mut Causes, own: &Value, path: &str, field: &str) {
    let at = format!("{path}.{field}");
    if require(out, &own[field], &at) {
        word(out, &own[field], &at);
    }
    counters(out, own, path);
}

fn device(out: &mut Causes, device: &Value, path: &str, by_device: bool) {
    word(out, &device["name"], &format!("{path}.name"));
    let count = |field: &str| device[field].as_object().map_or(0, Map::len);
    let properties = count("attributes") + count("capacity");
    if properties > PROPERTIES_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {PROPERTIES_MAX}");
        out.push(Cause::invalid(path, properties, &why));
    }
    map(out, &device["attributes"], &format!("{path}.attributes"), qualified, &mut attribute);
    let shared = device["allowMultipleAllocations"] == true;
    map(out, &device["capacity"], &format!("{path}.capacity"), qualified, &mut |out, own, at| {
        let (policy, at) = (&own["requestPolicy"], format!("{at}.requestPolicy"));
        if shared {
            capacity::policy(out, &own["value"], policy, &at);
        } else if !policy.is_null() {
            out.push(Cause::forbidden(at, "allowMultipleAllocations must be true"));
        }
    });
    bounded(out, &device["taints"], &format!("{path}.taints"), TAINTS_MAX, &mut taint);
    let (consumed, at) = (&device["consumesCounters"], format!("{path}.consumesCounters"));
    set(out, consumed, &at, CONSUMPTIONS_MAX, "counterSet", &mut |out, own, at| {
        named_counters(out, own, at, "counterSet");
    });
    if by_device {
        let chosen = nodes(out, device, path, "must not be empty", &["allNodes"]);
        match &chosen[..] {
            [] => out.push(Cause::required(path, DEVICE_NODES)),
            [_] => {}
            many => out.push(Cause::invalid(path, format!("{{{}}}", many.join(", ")), DEVICE_NODES)),
        }
    } else if ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| !device[*field].is_null()) {
        let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        out.push(Cause::invalid(path, Value::Null, why));
    }
    binding_conditions(out, device, path);
}

fn attribute(out: &mut Causes, own: &Value, path: &str) {
    if let Some(version) = own["version"].as_str().filter(|version| !is_version(version)) {
        let why = "must be a string compatible with semver.org spec 2.0.0";
        out.push(Cause::invalid(format!("{path}.version"), version, why));
    }
    for field in ["string", "version"] {
        if text(&own[field]).len() > VALUE_MAX_BYTES {
            out.push(Cause::too_long(format!("{path}.{field}"), VALUE_MAX_BYTES));
        }
    }
    let given = ["int", "bool", "string", "version"].iter().filter(|field| !own[**field].is_null()).count();
    if given != 1 {
        let shown = if given == 0 { "".into() } else { own.clone() };
        out.push(Cause::invalid(path, shown, "exactly one value must be specified"));
    }
}

/// `1.2.3-rc.1+build.5`
fn is_version(text: &str) -> bool {
    let is_number = |part: &str| {
        part.chars().all(|c| c.is_ascii_digit())
            && (part == "0" || !(part.is_empty() || part.starts_with('0')))
    };
    let is_word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let (rest, build) = text.split_once('+').map_or((text, "0"), |(rest, build)| (rest, build));
    let (core, before) = rest.split_once('-').map_or((rest, "0"), |(core, before)| (core, before));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && build.split('.').all(is_word)
        && before
            .split('.')
            .all(|part| is_word(part) && (is_number(part) || part.contains(|c: char| !c.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for (text, good) in [
            ("1.2.3", true),
            ("1.2.3-rc.1+build.05", true),
            ("1.2.3-0a", true),
            ("1.2", false),
            ("01.2.3", false),
            ("1.2.3-01", false),
            ("1.2.3-", false),
            ("1.2.3+a+b", false),
            ("v1.2.3", false),
        ] {
            assert_eq!(is_version(text), good, "{text}");
        }
    }
}
