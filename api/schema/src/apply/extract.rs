//! The set of fields that an object has: what a manager owns who applies it.
//!
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/tofieldset.go

use super::place::Place;
use super::set::{Entry, FieldSet, of_field};
use serde_json::Value;

pub(crate) fn fields(place: Place<'_>, value: &Value) -> FieldSet {
    entry(place, value).below
}

fn entry(place: Place<'_>, value: &Value) -> Entry {
    let mut entry = Entry::default();
    match (place, value) {
        (place, Value::Object(fields)) if place.has_parts() => {
            for (name, value) in fields.iter().filter(|(name, _)| !place.disowns(name)) {
                let inner = place.under(name);
                let mut field = self::entry(inner, value);
                let is_hollow =
                    value.as_object().is_some_and(|parts| parts.keys().all(|name| inner.disowns(name)));
                field.member |= is_hollow || !place.names_fields();
                entry.below.put(&of_field(name), field);
            }
        }
        (place, Value::Array(items)) if place.has_items() => {
            for (element, item) in place.elements(items) {
                let below = self::entry(place.item(), item).below;
                entry.below.put(&element, Entry { member: true, below });
            }
        }
        _ => entry.member = true,
    }
    entry
}

/// With every field of a struct that has members below it as a member itself.
pub(crate) fn with_named(place: Place<'_>, set: &FieldSet) -> FieldSet {
    let mut named = FieldSet::default();
    for (element, entry) in set.iter() {
        let (member, inner) = match element.strip_prefix("f:") {
            Some(name) => (place.names_fields() && !entry.below.is_empty(), place.under(name)),
            None => (false, place.item()),
        };
        let below = with_named(inner, &entry.below);
        named.put(element, Entry { member: entry.member || member, below });
    }
    named
}

/// The lists and objects in a configuration that would replace what is there as a whole.
pub(crate) fn atomics(place: Place<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) if place.has_parts() => {
            for (name, value) in fields {
                atomics(place.under(name), value, &format!("{path}.{name}"), out);
            }
        }
        Value::Array(items) if place.has_items() => {
            for item in items {
                atomics(place.item(), item, path, out);
            }
        }
        // An item of a set is one value.
        Value::Object(_) | Value::Array(_) => out.push(path.to_owned()),
        _ => {}
    }
}
