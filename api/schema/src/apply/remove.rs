//! Takes fields out of an object, and finds which of them a manager's new configuration takes out.
//!
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/remove.go and merge/update.go (`prune`)

use super::extract::{fields, with_named};
use super::place::Place;
use super::set::{FieldSet, of_field};
use serde_json::{Map, Value};

/// None: nothing is left.
fn remove(place: Place<'_>, value: &Value, gone: &FieldSet) -> Option<Value> {
    match (place, value) {
        (place, Value::Object(own)) if place.has_parts() => {
            let mut kept = Map::new();
            for (name, value) in own {
                let value = match gone.get(&of_field(name)) {
                    Some(entry) if entry.member => None,
                    Some(entry) => remove(place.under(name), value, &entry.below),
                    None => Some(value.clone()),
                };
                if let Some(value) = value {
                    kept.insert(name.clone(), value);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (place, Value::Array(items)) if place.has_items() => {
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| match place.element(item).ok().and_then(|element| gone.get(&element)) {
                    Some(entry) if entry.member => None,
                    Some(entry) => remove(place.item(), item, &entry.below),
                    None => Some(item.clone()),
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (_, value) => Some(value.clone()),
    }
}

/// `merged` without what `last` had and nobody (`managed`: the union of all managers' sets, the new one included) has.
pub(crate) fn prune(place: Place<'_>, merged: &Value, last: &FieldSet, managed: &FieldSet) -> Value {
    let without = |gone: &FieldSet| remove(place, merged, gone).unwrap_or_else(|| Value::Object(Map::new()));
    let last = with_named(place, last);
    let managed = with_named(place, managed);
    if last.difference(&managed).is_empty() {
        return merged.clone();
    }
    let all = with_named(place, &fields(place, merged));
    let kept_of = |pruned: &Value| with_named(place, &fields(place, pruned));
    let pruned = without(&last);
    // What others own comes back, and then what nobody said anything about.
    let owned = kept_of(&pruned).union(&managed);
    let pruned = without(&all.difference(&owned));
    without(&all.difference(&kept_of(&pruned)).intersection(&last))
}
