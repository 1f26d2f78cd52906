//! Which fields differ between two objects of one type.
//!
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/compare.go

use super::place::Place;
use super::set::{Entry, FieldSet, of_field};
use crate::node::{Shape, Struct};
use serde_json::{Map, Value};
use std::collections::HashMap;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Added, or of another value.
    pub changed: FieldSet,
    pub removed: FieldSet,
}

#[derive(Default)]
struct Both {
    changed: Entry,
    removed: Entry,
}

impl Both {
    fn put(&mut self, element: &str, inner: Both) {
        self.changed.below.put(element, inner.changed);
        self.removed.below.put(element, inner.removed);
    }
}

pub(crate) fn compare(place: Place<'_>, old: &Value, new: &Value) -> Comparison {
    let both = walk(place, Some(old), Some(new));
    Comparison { changed: both.changed.below, removed: both.removed.below }
}

fn walk(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Both {
    let mut both = Both::default();
    if old == new {
        return both;
    }
    let in_parts = |value: Option<&Value>| value.is_none_or(Value::is_object);
    match place {
        Place::Deduced if !in_parts(old) || !in_parts(new) => both.changed.member = new.is_some(),
        place if place.has_parts() => {
            let (before, after) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            for (name, new) in after.into_iter().flatten().filter(|(name, _)| !place.disowns(name)) {
                let old = before.and_then(|fields| fields.get(name));
                both.put(&of_field(name), walk(place.under(name), old, Some(new)));
            }
            let is_gone =
                |name: &str| !place.disowns(name) && after.is_none_or(|fields| !fields.contains_key(name));
            for (name, old) in before.into_iter().flatten().filter(|(name, _)| is_gone(name)) {
                both.put(&of_field(name), walk(place.under(name), Some(old), None));
            }
        }
        place if place.has_items() => lists(place, items(old), items(new), &mut both),
        _ => both.changed.member = new.is_some(),
    }
    both.changed.member |= old.is_none();
    both.removed.member |= new.is_none();
    both
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn lists(place: Place<'_>, old: &[Value], new: &[Value], both: &mut Both) {
    let old = place.elements(old);
    let new = place.elements(new);
    let by_element: HashMap<&str, &Value> =
        old.iter().rev().map(|(element, item)| (element.as_str(), *item)).collect();
    let mut kept = FieldSet::default();
    for (element, item) in &new {
        both.put(element, walk(place.item(), by_element.get(element.as_str()).copied(), Some(item)));
        kept.put(element, Entry::leaf());
    }
    for (element, item) in old.iter().filter(|(element, _)| kept.get(element).is_none()) {
        both.put(element, walk(place.item(), Some(item), None));
    }
}

/// What a stock server compares a new object with: the Go value of its type before anything is set. Structs that are
/// not behind pointers are there, and so are fields that are always printed.
pub(crate) fn blank(shape: Struct<'_>) -> Value {
    const ALWAYS: [&str; 6] = ["metadata", "spec", "status", "strategy", "updateStrategy", "template"];
    let fields = shape.fields().filter_map(|field| {
        let name = field.name();
        match field.node().shape() {
            Shape::Struct(inner) if field.required() || ALWAYS.contains(&name) => {
                Some((name.to_owned(), blank(inner)))
            }
            _ => field.zero().map(|zero| (name.to_owned(), zero)),
        }
    });
    Value::Object(fields.collect::<Map<_, _>>())
}
