//! The checks that many kinds share: ports, quantities, label selectors, enumerations, what may not change.
//!
//! Invariant: every check adds causes with the stock server's field paths and texts, and nothing else. Fields that
//! have a default are there when objects get here; absent ones are skipped, so that the checks also hold for parts.
//! Names and labels themselves: `crate::metadata`.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go

use coracle_schema::{Quantity, UNKNOWN};
use serde_json::Value;

use super::pod_spec::is_extended_resource;
use crate::{
    metadata::{
        label_problems, label_value_problems, path_segment_problems, qualified_name_problems,
        subdomain_problems, validate_labels,
    },
    object::strings,
    selector::LabelSelector,
    status::Cause,
};

pub type Causes = Vec<Cause>;

pub const NON_NEGATIVE: &str = "must be greater than or equal to 0";
pub const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
pub const IMMUTABLE: &str = "field is immutable";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const KEY_MAX_BYTES: usize = 253;

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Each item of a list with its path.
pub fn indexed<'a>(list: &'a Value, path: &str) -> impl Iterator<Item = (String, &'a Value)> + use<'a> {
    let path = path.to_owned();
    items(list).iter().enumerate().map(move |(at, item)| (format!("{path}[{at}]"), item))
}

/// Whether a field carries anything: `null`, `""`, `[]` and `{}` are the same as absent.
pub fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Equality that does not see the difference between absent and empty, and nothing of protobuf's unknown fields: clients
/// that know more or less of them than others must be able to change what else there is.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let is_same = |key: &String, value| same(value, right.get(key).unwrap_or(&Value::Null));
            left.iter().all(|(key, value)| key == UNKNOWN || is_same(key, value))
                && right.iter().all(|(key, value)| left.contains_key(key) || key == UNKNOWN || !is_set(value))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b || (!is_set(a) && !is_set(b)),
    }
}

pub fn immutable(out: &mut Causes, new: &Value, old: &Value, path: &str) {
    if !same(new, old) {
        out.push(Cause::invalid(path, new.clone(), IMMUTABLE));
    }
}

/// As Go prints a struct whose fields have no JSON names, as those of upstream's internal types. `fields` are Go's names
/// in their order; a field that is absent is empty text, or null where its name ends in `?` (pointers and lists).
pub fn untagged(value: &Value, fields: &str) -> Value {
    let field = |field: &str| {
        let (name, absent) = match field.strip_suffix('?') {
            Some(name) => (name, Value::Null),
            None => (field, "".into()),
        };
        // `APIGroup` is `apiGroup` in JSON, `UID` is `uid`.
        let capitals = name.chars().take_while(char::is_ascii_uppercase).count();
        let lower = if capitals == name.len() || capitals == 1 { capitals } else { capitals - 1 };
        let json = name[..lower].to_ascii_lowercase() + &name[lower..];
        let own = &value[json.as_str()];
        (name.to_owned(), if own.is_null() { absent } else { own.clone() })
    };
    Value::Object(fields.split(' ').map(field).collect())
}

/// Adds `Required value` when the field carries nothing.
pub fn require(out: &mut Causes, value: &Value, path: &str) -> bool {
    let there = is_set(value);
    if !there {
        out.push(Cause::required(path, ""));
    }
    there
}

/// [`require`] of a field of `parent`.
pub fn needed(out: &mut Causes, parent: &Value, path: &str, field: &str) {
    require(out, &parent[field], &format!("{path}.{field}"));
}

pub fn add(out: &mut Causes, path: &str, value: &str, problems: Vec<impl AsRef<str>>) {
    out.extend(problems.iter().map(|problem| Cause::invalid(path, value, problem.as_ref())));
}

pub fn non_negative(out: &mut Causes, parent: &Value, path: &str, fields: &[&str]) {
    for field in fields {
        if let Some(number) = parent[*field].as_i64().filter(|number| *number < 0) {
            out.push(Cause::invalid(format!("{path}.{field}"), number, NON_NEGATIVE));
        }
    }
}

/// An absent value is for `require` to see.
pub fn one_of(out: &mut Causes, value: &Value, path: &str, allowed: &[&str]) {
    if let Some(given) = value.as_str().filter(|given| !allowed.contains(given)) {
        out.push(Cause::not_supported(path, given, allowed));
    }
}

/// A required DNS-1123 label.
pub fn label(out: &mut Causes, value: &Value, path: &str) {
    if require(out, value, path) {
        add(out, path, text(value), label_problems(text(value)));
    }
}

/// A DNS-1123 subdomain, when there is one.
pub fn subdomain(out: &mut Causes, value: &Value, path: &str) {
    if is_set(value) {
        add(out, path, text(value), subdomain_problems(text(value)));
    }
}

/// `acme.io/foo`
pub fn domain_prefixed_path(out: &mut Causes, given: &str, path: &str) {
    const FORM: &str = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    const REST: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    if given.is_empty() {
        return out.push(Cause::required(path, ""));
    }
    let parts = given.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty());
    let Some((domain, rest)) = parts else { return out.push(Cause::invalid(path, given, FORM)) };
    add(out, path, domain, subdomain_problems(domain));
    if !rest.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c)) {
        out.push(Cause::invalid(path, rest, REST));
    }
}

/// A reference by group, kind and name.
pub fn typed_reference(out: &mut Causes, reference: &Value, path: &str) {
    if let Some(group) = reference["apiGroup"].as_str() {
        add(out, &format!("{path}.apiGroup"), group, subdomain_problems(group));
    }
    for field in ["kind", "name"] {
        let at = format!("{path}.{field}");
        if require(out, &reference[field], &at) {
            let value = text(&reference[field]);
            add(out, &at, value, path_segment_problems(value));
        }
    }
}

pub fn wildcard_problems(host: &str) -> Vec<String> {
    match host.strip_prefix("*.") {
        Some(rest) if subdomain_problems(rest).is_empty() && host.len() <= 253 => Vec::new(),
        _ => vec!["a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".into()],
    }
}

/// Keys of ConfigMaps and Secrets.
pub fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if key.len() > KEY_MAX_BYTES {
        problems.push(format!("must be no more than {KEY_MAX_BYTES} characters"));
    }
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        problems.push(KEY.into());
    }
    match key {
        "." => problems.push("must not be '.'".into()),
        ".." => problems.push("must not be '..'".into()),
        _ if key.starts_with("..") => problems.push("must not start with '..'".into()),
        _ => {}
    }
    problems
}

/// IANA service names: what containers and Services call their ports.
pub fn port_name_problems(name: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if name.len() > 15 {
        problems.push("must be no more than 15 characters");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.chars().any(|c| c.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen");
    }
    problems
}

pub fn port_number(out: &mut Causes, number: i64, path: &str) {
    if !(1..=65535).contains(&number) {
        out.push(Cause::invalid(path, number, PORT_RANGE));
    }
}

/// A number or the name of a container's port.
pub fn port_or_name(out: &mut Causes, port: &Value, path: &str) {
    match port {
        Value::String(name) => add(out, path, name, port_name_problems(name)),
        _ => port_number(out, port.as_i64().unwrap_or_default(), path),
    }
}

/// `maxSurge` and the like: a number or a percentage, neither negative.
pub fn count_or_percent(out: &mut Causes, value: &Value, path: &str) {
    match value {
        Value::String(given) if percent(value).is_none() => {
            out.push(Cause::invalid(path, given.as_str(), PERCENT))
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            out.push(Cause::invalid(path, value.clone(), NON_NEGATIVE));
        }
        _ => {}
    }
}

pub fn at_most_all(out: &mut Causes, value: &Value, path: &str) {
    if percent(value).is_some_and(|percent| percent > 100) {
        out.push(Cause::invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

/// 5 of `5%`.
pub fn percent(value: &Value) -> Option<u64> {
    value
        .as_str()?
        .strip_suffix('%')
        .filter(|digits| digits.chars().all(|c| c.is_ascii_digit()))?
        .parse()
        .ok()
}

/// Billionths of a quantity.
pub fn nanos(quantity: &Value) -> Option<i128> {
    Quantity::from_value(quantity).map(Quantity::nanos)
}

/// No quantity of the map is negative.
pub fn amounts(out: &mut Causes, list: &Value, path: &str) {
    for (name, quantity) in list.as_object().into_iter().flatten() {
        if nanos(quantity).is_some_and(|amount| amount < 0) {
            out.push(Cause::invalid(format!("{path}[{name}]"), quantity.clone(), NON_NEGATIVE));
        }
    }
}

/// The keys of an annotation map.
pub fn annotations(out: &mut Causes, map: &Value, path: &str) {
    for key in map.as_object().into_iter().flatten().map(|(key, _)| key) {
        add(out, path, key, qualified_name_problems(&key.to_lowercase()));
    }
}

/// A `metav1.LabelSelector`.
pub fn label_selector(out: &mut Causes, selector: &Value, path: &str) {
    out.extend(validate_labels(&selector["matchLabels"], &format!("{path}.matchLabels")));
    for (at, expression) in indexed(&selector["matchExpressions"], &format!("{path}.matchExpressions")) {
        let values = strings(&expression["values"]);
        match text(&expression["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                out.push(Cause::required(
                    format!("{at}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                out.push(Cause::forbidden(
                    format!("{at}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                out.push(Cause::invalid(format!("{at}.operator"), other, "not a valid selector operator"))
            }
        }
        let key = text(&expression["key"]);
        add(out, &format!("{at}.key"), key, qualified_name_problems(key));
        for (position, value) in values.iter().enumerate() {
            add(out, &format!("{at}.values[{position}]"), value, label_value_problems(value));
        }
    }
}

/// The selector of a workload: there, not empty, and choosing the template's pods. False when it cannot be read: a stock
/// server does not look at the template then.
pub fn workload_selector(out: &mut Causes, spec: &Value, path: &str, kind: &str) -> bool {
    let (selector, at) = (&spec["selector"], format!("{path}.selector"));
    if !selector.is_null() {
        let before = out.len();
        label_selector(out, selector, &at);
        if out.len() > before {
            let why = match kind {
                "deployment" => "invalid label selector",
                "daemonset" => return true,
                _ => "",
            };
            out.push(Cause::invalid(at, selector.clone(), why));
            return false;
        }
        if !is_set(&selector["matchLabels"]) && !is_set(&selector["matchExpressions"]) {
            let why = format!("empty selector is invalid for {kind}");
            out.push(Cause::invalid(at, selector.clone(), &why));
            return true;
        }
    } else if kind != "daemonset" {
        out.push(Cause::required(at, ""));
    }
    // Without a selector, nothing is chosen.
    let labels = &spec["template"]["metadata"]["labels"];
    if LabelSelector::from_object(selector).is_none_or(|own| !own.matches_map(labels)) {
        out.push(Cause::invalid(
            format!("{path}.template.metadata.labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    true
}

/// Counters of a status: none negative, and those of `parts` not above `replicas`.
pub fn counters(out: &mut Causes, status: &Value, counts: &[&str], parts: &[&str]) {
    non_negative(out, status, "status", counts);
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    for field in parts.iter().filter(|field| number(field) > number("replicas")) {
        let why = "cannot be greater than status.replicas";
        out.push(Cause::invalid(format!("status.{field}"), number(field), why));
    }
}

/// Counters that only go up.
pub fn not_decremented(out: &mut Causes, new: &Value, old: &Value, field: &str) {
    let number = |object: &Value| object["status"][field].as_i64();
    if let Some(before) = number(old)
        && number(new).unwrap_or_default() < before
    {
        let now = number(new).unwrap_or_default();
        out.push(Cause::invalid(format!("status.{field}"), now, "cannot be decremented"));
    }
}

/// The resources of a status or a node: none negative, those that are counted whole.
pub fn resource_amounts(out: &mut Causes, list: &Value, path: &str) {
    const COUNTED: [&str; 9] = [
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    ];
    for (name, quantity) in list.as_object().into_iter().flatten() {
        let at = format!("{path}.{name}");
        let Some(amount) = nanos(quantity) else { continue };
        if amount < 0 {
            out.push(Cause::invalid(at.as_str(), quantity.clone(), NON_NEGATIVE));
        }
        if (is_extended_resource(name) || COUNTED.contains(&name.as_str())) && amount % 1_000_000_000 != 0 {
            out.push(Cause::invalid(at, quantity.clone(), "must be an integer"));
        }
    }
}

/// Runs rows of `case => expected causes`: tests of the kinds.
#[cfg(test)]
pub fn assert_cases(base: Value, check: impl Fn(&Value) -> Causes, cases: &[(Value, &[&str])]) {
    let sane = check(&base);
    assert!(sane.is_empty(), "the base is good: {sane:?}");
    for (patch, expected) in cases {
        let mut object = base.clone();
        coracle_schema::json_merge_patch(&mut object, patch);
        let found: Vec<String> = check(&object).iter().map(|cause| cause.to_string()).collect();
        assert_eq!(found, *expected, "{patch}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_empty_are_the_same() {
        assert!(same(&json!({"a": [], "b": 1}), &json!({"b": 1, "c": null})));
        assert!(!same(&json!({"a": [1]}), &json!({})));
        assert!(!same(&json!({}), &json!({"a": false})));
        assert!(same(&json!({"a": {"b": 1, UNKNOWN: "CAE="}}), &json!({"a": {"b": 1}, UNKNOWN: "CAI="})));
    }

    #[test]
    fn a_struct_of_go_is_shown_with_all_of_its_fields() {
        let shown = untagged(&json!({"uid": "u", "apiGroup": "g", "odd": 1}), "APIGroup UID NodeID Count?");
        assert_eq!(shown.to_string(), r#"{"APIGroup":"g","UID":"u","NodeID":"","Count":null}"#);
    }
}
