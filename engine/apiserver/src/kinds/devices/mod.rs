//! Dynamic resource allocation: ResourceClaims and their templates, DeviceClasses, ResourceSlices.
//!
//! Invariant: an expression or a configuration that was accepted once is not looked at again while it stays the same.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/resource/validation/validation.go and
//! .../pkg/registry/resource

mod allocation;
mod capacity;
mod parts;
mod rights;
mod slice;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use coracle_expressions::{Environment, Sizes, Type};
use serde_json::Value;

use self::parts::{bounded, fully_qualified, is_extended_resource, raw_object, set, toleration, word};
use super::{
    checked::Checked,
    checks::{Causes, add, annotations, immutable, indexed, is_set, items, require, text},
    csi::driver_name,
    pod_spec::node_selector,
};
use crate::{
    authn,
    metadata::{label_problems, subdomain_problems, validate_labels},
    object,
    status::Cause,
    strategy::Context,
};

/// Of requests, constraints, configurations and selectors.
const LIST_MAX: usize = 32;
const FIRST_AVAILABLE_MAX: usize = 8;
const EXPRESSION_MAX_BYTES: usize = 10 * 1024;
const EXPRESSION_MAX_COST: u64 = 1_000_000;
const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
const ONE_REQUEST: &str = "exactly one of `exactly` or `firstAvailable` is required";
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

pub static CLAIM: Checked = Checked::new(|claim| devices(&claim["spec"]["devices"], "spec.devices"))
    .once()
    .comparing(same_spec)
    .preparing_status(allocation::drop_deallocated)
    .checking_status(allocation::status)
    .allowing(|claim, old, context| {
        let granted = |claim: &Value| {
            let results = items(&claim["status"]["allocation"]["devices"]["results"]);
            results.iter().position(|result| result["adminAccess"] == true)
        };
        let Some(old) = old else { return admin(claim, &claim["spec"]["devices"], context) };
        let mut out = Vec::new();
        if granted(old).is_none() {
            let at = |at| format!("status.allocation.devices.results[{at}].adminAccess");
            out.extend(granted(claim).and_then(|own| not_for_admins(claim, at(own), context)));
        }
        out.extend(rights::missing(claim, old, context));
        out
    });
pub static CLAIM_TEMPLATE: Checked = Checked::new(|own| {
    let inner = &own["spec"]["metadata"];
    let mut out = Vec::new();
    annotations(&mut out, &inner["annotations"], "spec.metadata.annotations");
    out.extend(validate_labels(&inner["labels"], "spec.metadata.labels"));
    out.extend(devices(&own["spec"]["spec"]["devices"], "spec.spec.devices"));
    out
})
.once()
.comparing(same_spec)
.allowing(|own, _, context| admin(own, &own["spec"]["spec"]["devices"], context));
pub static CLASS: Checked = Checked::new(class);
pub static SLICE: Checked = Checked::new(slice::check).preparing(slice::prepare).comparing(slice::compare);

/// Unlike with CSI, nothing more is said of one that is absent.
fn driver(out: &mut Causes, value: &Value, path: &str) {
    if require(out, value, path) {
        driver_name(out, value, path);
    }
}

fn same_spec(new: &Value, old: &Value) -> Causes {
    let mut out = Vec::new();
    immutable(&mut out, &new["spec"], &old["spec"], "spec");
    out
}

/// Upstream names the same path for claims and templates.
fn admin(object: &Value, devices: &Value, context: Context<'_>) -> Causes {
    let asks = |request: &Value| request["exactly"]["adminAccess"] == true;
    let at = items(&devices["requests"]).iter().position(asks);
    let at = at.map(|at| format!("spec.devices.requests[{at}].adminAccess"));
    at.and_then(|at| not_for_admins(object, at, context)).into_iter().collect()
}

fn not_for_admins(object: &Value, path: String, context: Context<'_>) -> Option<Cause> {
    let namespace =
        authn::find(&context.state.reader, "namespaces", "", object::meta_str(object, "namespace"));
    if namespace.is_some_and(|namespace| namespace.meta.label(ADMIN_LABEL) == Some("true")) {
        return None;
    }
    let why = format!(
        "admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
    );
    Some(Cause::forbidden(path, &why))
}

fn devices(claim: &Value, path: &str) -> Causes {
    let mut out = Vec::new();
    let requests = &claim["requests"];
    set(&mut out, requests, &format!("{path}.requests"), LIST_MAX, "name", &mut request);
    bounded(
        &mut out,
        &claim["constraints"],
        &format!("{path}.constraints"),
        LIST_MAX,
        &mut |out, own, at| constraint(out, own, requests, at),
    );
    configurations(&mut out, &claim["config"], path, LIST_MAX, &mut |out, own, at| {
        references(out, &own["requests"], requests, at);
    });
    out
}

fn constraint(out: &mut Causes, own: &Value, requests: &Value, path: &str) {
    references(out, &own["requests"], requests, path);
    match ["matchAttribute", "distinctAttribute"].iter().find(|field| own[**field].is_string()) {
        Some(field) => fully_qualified(out, text(&own[*field]), &format!("{path}.{field}")),
        None => {
            let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            out.push(Cause::required(path, why));
        }
    }
}

/// `each` sees to what stands beside the configuration itself.
fn configurations(
    out: &mut Causes,
    list: &Value,
    path: &str,
    most: usize,
    each: &mut dyn FnMut(&mut Causes, &Value, &str),
) {
    bounded(out, list, &format!("{path}.config"), most, &mut |out, own, at| {
        each(out, own, at);
        let (opaque, at) = (&own["opaque"], format!("{at}.opaque"));
        if opaque.is_null() {
            return out.push(Cause::required(at, ""));
        }
        driver(out, &opaque["driver"], &format!("{at}.driver"));
        raw_object(out, &opaque["parameters"], &format!("{at}.parameters"));
    });
}

/// Names of requests, or of a request and one of its alternatives.
fn references(out: &mut Causes, names: &Value, requests: &Value, path: &str) {
    set(out, names, &format!("{path}.requests"), LIST_MAX, "", &mut |out, name, at| {
        reference(out, text(name), requests, at);
    });
}

fn reference(out: &mut Causes, name: &str, requests: &Value, path: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    let named = |list: &Value, name: &str| items(list).iter().position(|own| own["name"] == name);
    let known = match parts[..] {
        [request] => named(requests, request).is_some(),
        [request, inner] => {
            named(requests, request).is_some_and(|at| named(&requests[at]["firstAvailable"], inner).is_some())
        }
        _ => return out.push(Cause::invalid(path, name, REFERENCE)),
    };
    for part in parts {
        add(out, path, part, label_problems(part));
    }
    if !known {
        out.push(Cause::invalid(path, name, REFERENCE));
    }
}

fn request(out: &mut Causes, request: &Value, path: &str) {
    word(out, &request["name"], &format!("{path}.name"));
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
            set(out, first, &at, FIRST_AVAILABLE_MAX, "name", &mut |out, own, at| {
                word(out, &own["name"], &format!("{at}.name"));
                one_request(out, own, at);
            });
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
    for (at, own) in indexed(&request["tolerations"], &format!("{path}.tolerations")) {
        toleration(out, own, &at);
    }
}

fn selectors(out: &mut Causes, list: &Value, path: &str) {
    bounded(out, list, &format!("{path}.selectors"), LIST_MAX, &mut |out, own, at| {
        let source = &own["cel"];
        if source.is_null() {
            out.push(Cause::required(format!("{at}.cel"), ""));
        } else {
            expression(out, text(&source["expression"]), &format!("{at}.cel.expression"));
        }
    });
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

/// How large its parts can become.
fn device_sizes() -> Sizes {
    let text = |most| Some(Box::new(Sizes { most, ..Sizes::default() }));
    let map = |items, key| Sizes { most: 32, items, keys: text(key), ..Sizes::default() };
    let by_domain = |most| map(Some(Box::new(map(text(most), 32))), 63);
    let driver = Sizes { most: 63, ..Sizes::default() };
    let fields = [("driver", driver), ("attributes", by_domain(64)), ("capacity", by_domain(0))];
    let fields: HashMap<String, Sizes> =
        fields.into_iter().map(|(field, sizes)| (field.to_owned(), sizes)).collect();
    Sizes { fields, ..Sizes::default() }
}

fn expression(out: &mut Causes, source: &str, path: &str) {
    if source.len() > EXPRESSION_MAX_BYTES {
        return out.push(Cause::too_long(path, EXPRESSION_MAX_BYTES));
    }
    let environment = Environment { binds: true, ..Environment::new([("device", device())]) };
    let problem = match environment.compile(source) {
        Err(error) => format!("compilation failed: {error}"),
        Ok(program) => match program.result() {
            Type::Bool | Type::Dyn => {
                if program.cost_limit(&[Some(&device_sizes())]) > EXPRESSION_MAX_COST {
                    out.push(Cause::forbidden(path, "too complex, exceeds cost limit"));
                }
                return;
            }
            other => format!("must evaluate to bool or the unknown type, not {other}"),
        },
    };
    out.push(Cause::invalid(path, source, &problem));
}

fn class(class: &Value) -> Causes {
    let (spec, mut out) = (&class["spec"], Vec::new());
    selectors(&mut out, &spec["selectors"], "spec");
    configurations(&mut out, &spec["config"], "spec", LIST_MAX, &mut |_, _, _| {});
    if let Some(name) = spec["extendedResourceName"].as_str().filter(|name| !is_extended_resource(name)) {
        let why = "must be a valid extended resource name";
        out.push(Cause::invalid("spec.extendedResourceName", name, why));
    }
    out
}
