//! Dynamic resource allocation: ResourceClaims and their templates, DeviceClasses, ResourceSlices.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/resource/validation/validation.go

use std::collections::BTreeSet;

use coracle_expressions::{Environment, Type};
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, immutable, indexed, is_set, items, label, require, text},
    csi::driver_name,
    pod_spec::node_selector,
};
use crate::{
    metadata::{label_problems, subdomain_problems},
    status::Cause,
};

/// Of requests, constraints, configurations and selectors.
const LIST_MAX: usize = 32;
const FIRST_AVAILABLE_MAX: usize = 8;
const EXPRESSION_MAX_BYTES: usize = 10 * 1024;
const RESERVED_MAX: usize = 256;
const POOL_MAX_BYTES: usize = 253;
const DEVICES_MAX: usize = 128;
const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
const ONE_REQUEST: &str = "exactly one of `exactly` or `firstAvailable` is required";

pub static CLAIM: Checked = Checked::new(|claim| devices(&claim["spec"]["devices"], "spec.devices"))
    .once()
    .comparing(same_spec)
    .checking_status(claim_status);
pub static CLAIM_TEMPLATE: Checked =
    Checked::new(|own| devices(&own["spec"]["spec"]["devices"], "spec.spec.devices"))
        .once()
        .comparing(same_spec);
pub static CLASS: Checked = Checked::new(class);
pub static SLICE: Checked = Checked::new(slice).comparing(|new, old| {
    let (spec, before, mut out) = (&new["spec"], &old["spec"], Vec::new());
    for field in ["driver", "nodeName"] {
        immutable(&mut out, &spec[field], &before[field], &format!("spec.{field}"));
    }
    immutable(&mut out, &spec["pool"]["name"], &before["pool"]["name"], "spec.pool.name");
    out
});

fn same_spec(new: &Value, old: &Value) -> Causes {
    let mut out = Vec::new();
    immutable(&mut out, &new["spec"], &old["spec"], "spec");
    out
}

/// No more than `most`, and each once.
fn limited<'a>(
    out: &mut Causes,
    list: &'a Value,
    path: &str,
    most: usize,
    key: impl Fn(&'a Value) -> &'a str,
) {
    if items(list).len() > most {
        out.push(Cause::too_many(path, items(list).len(), most));
    }
    let mut seen = BTreeSet::new();
    for (at, item) in indexed(list, path) {
        if !seen.insert(key(item)) {
            out.push(Cause::duplicate(at, key(item)));
        }
    }
}

fn devices(claim: &Value, path: &str) -> Causes {
    let mut out = Vec::new();
    let (requests, at) = (&claim["requests"], format!("{path}.requests"));
    limited(&mut out, requests, &at, LIST_MAX, |own| text(&own["name"]));
    for (at, own) in indexed(requests, &at) {
        request(&mut out, own, &at);
    }
    let (constraints, at) = (&claim["constraints"], format!("{path}.constraints"));
    if items(constraints).len() > LIST_MAX {
        out.push(Cause::too_many(at.as_str(), items(constraints).len(), LIST_MAX));
    }
    for (at, own) in indexed(constraints, &at) {
        references(&mut out, &own["requests"], requests, &at);
        if !["matchAttribute", "distinctAttribute"].iter().any(|field| is_set(&own[*field])) {
            let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            out.push(Cause::required(at, why));
        }
    }
    configurations(&mut out, &claim["config"], path, Some(requests));
    out
}

fn configurations(out: &mut Causes, list: &Value, path: &str, requests: Option<&Value>) {
    let at = format!("{path}.config");
    if items(list).len() > LIST_MAX {
        out.push(Cause::too_many(at.as_str(), items(list).len(), LIST_MAX));
    }
    for (at, own) in indexed(list, &at) {
        if let Some(requests) = requests {
            references(out, &own["requests"], requests, &at);
        }
        let at = format!("{at}.opaque");
        if own["opaque"].is_null() {
            out.push(Cause::required(at, ""));
            continue;
        }
        driver_name(out, &own["opaque"]["driver"], &format!("{at}.driver"));
        let (parameters, at) = (&own["opaque"]["parameters"], format!("{at}.parameters"));
        if parameters.is_null() {
            out.push(Cause::required(at, ""));
        } else if !parameters.is_object() {
            out.push(Cause::invalid(at, "<value omitted>", "parameters must be a valid JSON object"));
        } else if parameters.to_string().len() > EXPRESSION_MAX_BYTES {
            out.push(Cause::too_long(at, EXPRESSION_MAX_BYTES));
        }
    }
}

/// Names of requests, or of a request and one of its alternatives.
fn references(out: &mut Causes, names: &Value, requests: &Value, path: &str) {
    let at = format!("{path}.requests");
    limited(out, names, &at, LIST_MAX, text);
    for (at, name) in indexed(names, &at) {
        let name = text(name);
        let parts: Vec<&str> = name.split('/').collect();
        let known = match parts[..] {
            [request] => items(requests).iter().any(|own| own["name"] == request),
            [request, inner] => items(requests)
                .iter()
                .filter(|own| own["name"] == request)
                .any(|own| items(&own["firstAvailable"]).iter().any(|own| own["name"] == inner)),
            _ => {
                out.push(Cause::invalid(at, name, REFERENCE));
                continue;
            }
        };
        for part in parts {
            add(out, &at, part, label_problems(part));
        }
        if !known {
            out.push(Cause::invalid(at, name, REFERENCE));
        }
    }
}

fn request(out: &mut Causes, request: &Value, path: &str) {
    label(out, &request["name"], &format!("{path}.name"));
    let (exactly, first) = (&request["exactly"], &request["firstAvailable"]);
    match (exactly.is_null(), is_set(first)) {
        (true, false) => out.push(Cause::required(path, ONE_REQUEST)),
        (false, true) => {
            let why = format!("{ONE_REQUEST}, but multiple fields are set");
            out.push(Cause::invalid(path, Value::Null, &why));
        }
        (false, false) => one_request(out, exactly, &format!("{path}.exactly")),
        (true, true) => {
            let at = format!("{path}.firstAvailable");
            limited(out, first, &at, FIRST_AVAILABLE_MAX, |own| text(&own["name"]));
            for (at, own) in indexed(first, &at) {
                label(out, &own["name"], &format!("{at}.name"));
                one_request(out, own, &at);
            }
        }
    }
}

fn one_request(out: &mut Causes, request: &Value, path: &str) {
    let at = format!("{path}.deviceClassName");
    let class = text(&request["deviceClassName"]);
    if require(out, &request["deviceClassName"], &at) {
        add(out, &at, class, subdomain_problems(class));
    }
    selectors(out, &request["selectors"], path);
    let (count, at) = (request["count"].as_i64().unwrap_or_default(), format!("{path}.count"));
    match text(&request["allocationMode"]) {
        "All" if count != 0 => {
            out.push(Cause::invalid(at, count, "must not be specified when allocationMode is 'All'"));
        }
        "ExactCount" if count <= 0 => out.push(Cause::invalid(at, count, "must be greater than zero")),
        "All" | "ExactCount" => {}
        other => {
            out.push(Cause::not_supported(format!("{path}.allocationMode"), other, &["All", "ExactCount"]));
        }
    }
}

fn selectors(out: &mut Causes, list: &Value, path: &str) {
    let at = format!("{path}.selectors");
    if items(list).len() > LIST_MAX {
        out.push(Cause::too_many(at.as_str(), items(list).len(), LIST_MAX));
    }
    for (at, own) in indexed(list, &at) {
        let source = &own["cel"];
        if source.is_null() {
            out.push(Cause::required(format!("{at}.cel"), ""));
        } else {
            expression(out, text(&source["expression"]), &format!("{at}.cel.expression"));
        }
    }
}

/// What a selector sees of a device.
fn device() -> Type {
    let by_domain = || Type::map(Type::String, Type::map(Type::String, Type::Dyn));
    Type::object(
        "DRADevice",
        [
            ("driver", Type::String),
            ("attributes", by_domain()),
            ("capacity", by_domain()),
            ("allowMultipleAllocations", Type::Bool),
        ],
    )
}

fn expression(out: &mut Causes, source: &str, path: &str) {
    if source.len() > EXPRESSION_MAX_BYTES {
        return out.push(Cause::too_long(path, EXPRESSION_MAX_BYTES));
    }
    let problem = match Environment::new([("device", device())]).compile(source) {
        Err(error) => format!("compilation failed: {error}"),
        Ok(program) => match program.result() {
            Type::Bool | Type::Dyn => return,
            other => format!("must evaluate to bool or the unknown type, not {other}"),
        },
    };
    out.push(Cause::invalid(path, source, &problem));
}

fn class(class: &Value) -> Causes {
    let mut out = Vec::new();
    selectors(&mut out, &class["spec"]["selectors"], "spec");
    configurations(&mut out, &class["spec"]["config"], "spec", None);
    out
}

fn claim_status(new: &Value, old: &Value) -> Causes {
    const AT: &str = "status.reservedFor";
    let (status, before, mut out) = (&new["status"], &old["status"], Vec::new());
    let reserved = &status["reservedFor"];
    limited(&mut out, reserved, AT, RESERVED_MAX, |own| text(&own["uid"]));
    for (at, own) in indexed(reserved, AT) {
        for field in ["resource", "name", "uid"] {
            require(&mut out, &own[field], &format!("{at}.{field}"));
        }
    }
    if is_set(reserved) && status["allocation"].is_null() {
        out.push(Cause::forbidden(AT, "may not be specified when `allocated` is not set"));
    } else if crate::object::is_deleting(new)
        && items(reserved).iter().any(|own| !items(&before["reservedFor"]).contains(own))
    {
        let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        out.push(Cause::forbidden(AT, why));
    }
    if !before["allocation"].is_null() && !status["allocation"].is_null() {
        immutable(&mut out, &status["allocation"], &before["allocation"], "status.allocation");
    }
    out
}

fn slice(slice: &Value) -> Causes {
    let (spec, mut out) = (&slice["spec"], Vec::new());
    driver_name(&mut out, &spec["driver"], "spec.driver");
    let (pool, at) = (&spec["pool"], "spec.pool.name");
    if require(&mut out, &pool["name"], at) {
        let name = text(&pool["name"]);
        if name.len() > POOL_MAX_BYTES {
            out.push(Cause::too_long(at, POOL_MAX_BYTES));
        }
        for part in name.split('/') {
            add(&mut out, at, part, subdomain_problems(part));
        }
    }
    let number = |field: &str| pool[field].as_i64().unwrap_or_default();
    if number("resourceSliceCount") <= 0 {
        let why = "must be greater than zero";
        out.push(Cause::invalid("spec.pool.resourceSliceCount", number("resourceSliceCount"), why));
    }
    if number("generation") < 0 {
        let why = "must be greater than or equal to zero";
        out.push(Cause::invalid("spec.pool.generation", number("generation"), why));
    }
    if is_set(&spec["nodeName"]) {
        add(&mut out, "spec.nodeName", text(&spec["nodeName"]), subdomain_problems(text(&spec["nodeName"])));
    }
    if !spec["nodeSelector"].is_null() {
        node_selector(&mut out, &spec["nodeSelector"], "spec.nodeSelector");
    }
    let (all, at) = (&spec["devices"], "spec.devices");
    limited(&mut out, all, at, DEVICES_MAX, |own| text(&own["name"]));
    for (at, device) in indexed(all, at) {
        label(&mut out, &device["name"], &format!("{at}.name"));
        for (name, own) in device["attributes"].as_object().into_iter().flatten() {
            let given = own.as_object().map_or(0, serde_json::Map::len);
            if given != 1 {
                let shown = if given == 0 { "".into() } else { own.clone() };
                let why = "exactly one value must be specified";
                out.push(Cause::invalid(format!("{at}.attributes[{name}]"), shown, why));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn claims_get_the_stock_causes() {
        let exactly = |own: Value| {
            let mut whole = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
            coracle_schema::json_merge_patch(&mut whole, &own);
            json!({"requests": [{"name": "r", "exactly": whole}]})
        };
        let at = "d.requests[0]";
        assert_cases(
            exactly(
                json!({"selectors": [{"cel": {"expression": "device.driver == 'a' && device.attributes['a'].model == 'b'"}}]}),
            ),
            |claim| devices(claim, "d"),
            &[
                (
                    json!({"requests": [{"name": "r"}]}),
                    &[&format!(
                        "{at}: Required value: exactly one of `exactly` or `firstAvailable` is required"
                    )],
                ),
                (
                    exactly(json!({"deviceClassName": null})),
                    &[&format!("{at}.exactly.deviceClassName: Required value")],
                ),
                (
                    exactly(json!({"count": 0})),
                    &[&format!("{at}.exactly.count: Invalid value: 0: must be greater than zero")],
                ),
                (
                    exactly(json!({"allocationMode": "All"})),
                    &[&format!(
                        "{at}.exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'"
                    )],
                ),
                (
                    exactly(json!({"allocationMode": "Some"})),
                    &[&format!(
                        "{at}.exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\""
                    )],
                ),
                (
                    exactly(json!({"selectors": [{}]})),
                    &[&format!("{at}.exactly.selectors[0].cel: Required value")],
                ),
                (
                    exactly(json!({"selectors": [{"cel": {"expression": "device.driver"}}]})),
                    &[&format!(
                        "{at}.exactly.selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string"
                    )],
                ),
                (
                    json!({"constraints": [{"requests": ["x"], "matchAttribute": "a.b/c"}]}),
                    &[
                        "d.constraints[0].requests[0]: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                    ],
                ),
                (json!({"config": [{"requests": ["r"]}]}), &["d.config[0].opaque: Required value"]),
            ],
        );
        let old = json!({"spec": {"a": 1}, "status": {"allocation": {"a": 1}}});
        assert_cases(
            old.clone(),
            |new| claim_status(new, &old),
            &[
                (
                    json!({"status": {"allocation": null, "reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]}}),
                    &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
                ),
                (
                    json!({"status": {"allocation": {"a": 2}}}),
                    &["status.allocation: Invalid value: {\"a\":2}: field is immutable"],
                ),
            ],
        );
    }

    #[test]
    fn slices_get_the_stock_causes() {
        assert_cases(
            json!({"spec": {"driver": "d.example.com", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1}, "devices": [{"name": "a", "attributes": {"x": {"bool": true}}}]}}),
            slice,
            &[
                (json!({"spec": {"driver": null}}), &["spec.driver: Required value"]),
                (
                    json!({"spec": {"pool": {"resourceSliceCount": 0}}}),
                    &["spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"],
                ),
                (
                    json!({"spec": {"devices": [{"name": "a"}, {"name": "a"}]}}),
                    &["spec.devices[1]: Duplicate value: \"a\""],
                ),
                (
                    json!({"spec": {"devices": [{"name": "a", "attributes": {"x": {}}}]}}),
                    &[
                        "spec.devices[0].attributes[x]: Invalid value: \"\": exactly one value must be specified",
                    ],
                ),
            ],
        );
    }
}
