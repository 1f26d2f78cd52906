//! What several objects of dynamic resource allocation share: names, lists with a limit, taints, binding conditions.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::{
    checks::{Causes, add, indexed, is_set, items, one_of, require, text},
    csi::driver_name,
};
use crate::{
    metadata::{label_problems, label_value_problems, qualified_name_problems, subdomain_problems},
    status::Cause,
};

const OBJECT_MAX_BYTES: usize = 10 * 1024;
const IDENTIFIER_MAX_BYTES: usize = 32;
const POOL_MAX_BYTES: usize = 253;
const BINDING_MAX: usize = 4;
/// Of a domain, a slash and an identifier.
const KEY_MAX_BYTES: usize = 63 + 1 + IDENTIFIER_MAX_BYTES;
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
const UID: &str = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

pub type Each<'a> = &'a mut dyn FnMut(&mut Causes, &Value, &str);

/// Each item; of too many, none is looked at.
pub fn bounded(out: &mut Causes, list: &Value, path: &str, most: usize, each: Each<'_>) -> bool {
    let count = items(list).len();
    if count > most {
        out.push(Cause::too_many(path, count, most));
        return false;
    }
    for (at, item) in indexed(list, path) {
        each(out, item, &at);
    }
    true
}

/// The same of items that differ in a field, or themselves when it is `""`.
pub fn set(out: &mut Causes, list: &Value, path: &str, most: usize, field: &str, each: Each<'_>) {
    if !bounded(out, list, path, most, each) {
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, item) in indexed(list, path) {
        let key = text(if field.is_empty() { item } else { &item[field] });
        if !seen.insert(key) {
            out.push(Cause::duplicate(at, key));
        }
    }
}

/// Items by name. A name has its causes at the map, an item below its key.
pub fn map(out: &mut Causes, map: &Value, path: &str, name: fn(&mut Causes, &str, &str), each: Each<'_>) {
    for (key, item) in map.as_object().into_iter().flatten() {
        name(out, key, path);
        each(out, item, &format!("{path}[{}]", shortened(key)));
    }
}

fn shortened(key: &str) -> String {
    match (key.get(..47), key.get(key.len().saturating_sub(46)..)) {
        (Some(start), Some(end)) if key.len() > KEY_MAX_BYTES => format!("{start}...{end}"),
        _ => key.into(),
    }
}

/// At least one counter, by name.
pub fn counters(out: &mut Causes, list: &Value, path: &str) {
    const MOST: usize = 32;
    let at = format!("{path}.counters");
    let count = list["counters"].as_object().map_or(0, Map::len);
    if count > MOST {
        out.push(Cause::too_many(at, count, MOST));
    } else if require(out, &list["counters"], &at) {
        let label = |out: &mut Causes, name: &str, at: &str| add(out, at, name, label_problems(name));
        map(out, &list["counters"], &at, label, &mut |_, _, _| {});
    }
}

/// A DNS-1123 label. When there is none, that is said of the empty text.
pub fn word(out: &mut Causes, value: &Value, path: &str) {
    add(out, path, text(value), label_problems(text(value)));
}

/// An identifier, with a domain before it or without.
pub fn qualified(out: &mut Causes, name: &str, path: &str) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [own] => identifier(out, own, path),
        [domain, own] => {
            match domain {
                "" => out.push(Cause::invalid(path, "", "the domain must not be empty")),
                _ => driver_name(out, &domain.into(), path),
            }
            match own {
                "" => out.push(Cause::invalid(path, "", "the name must not be empty")),
                _ => identifier(out, own, path),
            }
        }
        _ => out.push(Cause::invalid(path, name, "must not contain more than one slash")),
    }
}

pub fn fully_qualified(out: &mut Causes, name: &str, path: &str) {
    qualified(out, name, path);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        out.push(Cause::invalid(path, name, why));
    }
}

fn identifier(out: &mut Causes, name: &str, path: &str) {
    if name.len() > IDENTIFIER_MAX_BYTES {
        out.push(Cause::too_long(path, IDENTIFIER_MAX_BYTES));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
        out.push(Cause::invalid(path, name, IDENTIFIER));
    }
}

pub fn pool_name(out: &mut Causes, value: &Value, path: &str) {
    if require(out, value, path) {
        let name = text(value);
        if name.len() > POOL_MAX_BYTES {
            out.push(Cause::too_long(path, POOL_MAX_BYTES));
        }
        for part in name.split('/') {
            add(out, path, part, subdomain_problems(part));
        }
    }
}

pub fn uid(out: &mut Causes, value: &Value, path: &str) {
    let Some(uid) = value.as_str() else { return };
    let digits = |c: char, at: usize| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    };
    let why = match uid.len() {
        36 if !uid.chars().enumerate().all(|(at, c)| digits(c, at)) => {
            "error validating uid: invalid UUID format"
        }
        36 if !uid.contains(|c: char| c.is_ascii_uppercase()) => return,
        // Other forms of a UUID.
        32 | 36 | 38 | 45 => UID,
        other => {
            let why = format!("error validating uid: invalid UUID length: {other}");
            return out.push(Cause::invalid(path, uid, &why));
        }
    };
    out.push(Cause::invalid(path, uid, why));
}

/// Some JSON that a driver understands.
pub fn raw_object(out: &mut Causes, value: &Value, path: &str) {
    if value.is_null() {
        out.push(Cause::required(path, ""));
    } else if value.to_string().len() > OBJECT_MAX_BYTES {
        out.push(Cause::too_long(path, OBJECT_MAX_BYTES));
    } else if !value.is_object() {
        out.push(Cause::invalid(path, "<value omitted>", "must be a valid JSON object"));
    }
}

pub fn is_extended_resource(name: &str) -> bool {
    name.contains('/')
        && !name.contains("kubernetes.io/")
        && !name.starts_with("requests.")
        && qualified_name_problems(&format!("requests.{name}")).is_empty()
}

pub fn taint(out: &mut Causes, taint: &Value, path: &str) {
    let (key, value, at) = (text(&taint["key"]), text(&taint["value"]), format!("{path}.effect"));
    add(out, &format!("{path}.key"), key, qualified_name_problems(key));
    add(out, &format!("{path}.value"), value, label_value_problems(value));
    if require(out, &taint["effect"], &at) {
        one_of(out, &taint["effect"], &at, &EFFECTS);
    }
}

pub fn toleration(out: &mut Causes, own: &Value, path: &str) {
    let (key, value, at) = (text(&own["key"]), text(&own["value"]), format!("{path}.value"));
    if !key.is_empty() {
        add(out, &format!("{path}.key"), key, qualified_name_problems(key));
    }
    match text(&own["operator"]) {
        "Exists" if value.is_empty() => {}
        "Exists" => out.push(Cause::invalid(at, value, "must be empty for operator `Exists`")),
        "Equal" => add(out, &at, value, label_value_problems(value)),
        "" => out.push(Cause::required(format!("{path}.operator"), "")),
        other => out.push(Cause::not_supported(format!("{path}.operator"), other, &["Equal", "Exists"])),
    }
    if is_set(&own["effect"]) {
        one_of(out, &own["effect"], &format!("{path}.effect"), &EFFECTS);
    }
}

/// Conditions that a device waits for, and those that end the waiting: both or none, none in both.
pub fn binding_conditions(out: &mut Causes, device: &Value, path: &str) {
    const FIELDS: [&str; 2] = ["bindingConditions", "bindingFailureConditions"];
    for field in FIELDS {
        bounded(out, &device[field], &format!("{path}.{field}"), BINDING_MAX, &mut |out, own, at| {
            add(out, at, text(own), qualified_name_problems(text(own)));
        });
    }
    for field in FIELDS {
        for (position, (at, own)) in indexed(&device[field], &format!("{path}.{field}")).enumerate() {
            if items(&device[field])[..position].contains(own) {
                out.push(Cause::duplicate(at.as_str(), own.clone()));
            }
            if field == FIELDS[1] && items(&device[FIELDS[0]]).contains(own) {
                let why = "bindingFailureConditions must not overlap with bindingConditions";
                out.push(Cause::invalid(at, own.clone(), why));
            }
        }
    }
    for [field, other] in [FIELDS, [FIELDS[1], FIELDS[0]]] {
        if !is_set(&device[field]) && is_set(&device[other]) {
            let why = format!("{field} are required to use {other}");
            out.push(Cause::invalid(format!("{path}.{field}"), device[field].clone(), &why));
        }
    }
}
