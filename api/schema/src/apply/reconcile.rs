//! A manager's fields after the schema changed under them.
//!
//! What became one value is owned whole by whoever owned a part of it. The other way nothing can be done: a set does not
//! tell what was one value from what is empty, so its owner keeps the field and has none of its parts.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/reconcile_schema.go

use super::place::Place;
use super::set::{Entry, FieldSet};

pub(crate) fn fit(place: Place<'_>, set: &mut FieldSet) {
    for (element, entry) in set.iter_mut().filter(|(_, entry)| !entry.below.is_empty()) {
        let inner = match element.strip_prefix("f:") {
            Some(name) if place.has_parts() => place.under(name),
            None if place.has_items() => place.item(),
            // A list that became an object, or the other way round.
            _ => continue,
        };
        match inner {
            Place::Deduced => {}
            Place::Leaf => *entry = Entry::leaf(),
            inner => fit(inner, &mut entry.below),
        }
    }
}
