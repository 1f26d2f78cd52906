//! Takes fields out of an object, and finds which of them a manager's new configuration takes out.
//!
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/remove.go and merge/update.go (`prune`)

use super::extract::{fields, with_named};
use super::managers::Manager;
use super::operation::SERVER_METADATA;
use super::place::Place;
use super::set::{FieldSet, of_field};
use super::versions::Write;
use crate::schema::Schema;
use serde_json::{Map, Value};
use std::borrow::Cow;

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

fn without(place: Place<'_>, object: &Value, gone: &FieldSet) -> Value {
    let mut left = remove(place, object, gone).unwrap_or_else(|| Value::Object(Map::new()));
    // What says which object it is stays: nothing else could be converted.
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.get(field) {
            left[field] = value.clone();
        }
    }
    for field in SERVER_METADATA.map(|element| &element[2..]) {
        if let Some(value) = object["metadata"].get(field) {
            left["metadata"][field] = value.clone();
        }
    }
    left
}

fn named_fields(place: Place<'_>, object: &Value) -> FieldSet {
    with_named(place, &fields(place, object))
}

/// `merged` without what `last` had and nobody (`managed`: the union of all managers' sets in each version, the new one
/// included) has.
pub(crate) async fn prune(
    write: Write<'_>,
    own: &Schema,
    merged: Value,
    last: &Manager,
    mut managed: Vec<(String, FieldSet)>,
) -> Result<Value, String> {
    let version = &*last.api_version;
    let Some(schema) = write.schema(own, version) else { return Ok(merged) };
    let place = schema.place();
    let had = with_named(place, &last.fields);
    let there = managed.iter().find(|(own, _)| own == version).map(|(_, set)| with_named(place, set));
    if had.difference(&there.unwrap_or_default()).is_empty() {
        return Ok(merged);
    }
    let whole = write.convert(&merged, version).await?;
    let mut pruned = without(place, &whole, &had);
    // What others own comes back, first of all in this version: conversion may need it.
    managed.sort_by_key(|(own, _)| own != version);
    for (version, managed) in &managed {
        let Some(schema) = write.schema(own, version) else { continue };
        let place = schema.place();
        let whole = write.convert(&merged, version).await?;
        let left = named_fields(place, &*write.convert(&pruned, version).await?);
        let owned = left.union(&with_named(place, managed));
        pruned = without(place, &whole, &named_fields(place, &whole).difference(&owned));
    }
    // And then what nobody said anything about.
    let pruned = write.convert(&pruned, version).await?;
    let gone = named_fields(place, &whole).difference(&named_fields(place, &pruned)).intersection(&had);
    if gone.is_empty() {
        drop(whole);
        return Ok(merged);
    }
    let left = without(place, &whole, &gone);
    write.convert(&left, write.author.api_version).await.map(Cow::into_owned)
}
