//! Merges a configuration into the live object: fields one by one, sets united, keyed lists item by item.
//!
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/merge.go

use super::place::Place;
use serde_json::Value;
use std::collections::HashMap;

pub(crate) fn merge(place: Place<'_>, live: &Value, config: &Value) -> Value {
    match (place, live, config) {
        // Parts that are there outlive it; one value does not.
        (place, Value::Object(parts), Value::Null) if place.has_parts() && !parts.is_empty() => live.clone(),
        (place, Value::Array(items), Value::Null) if place.has_items() && !items.is_empty() => live.clone(),
        (place, Value::Object(live), Value::Object(config)) if place.has_parts() => {
            let mut merged = live.clone();
            for (name, value) in config {
                let value = match live.get(name) {
                    Some(own) => merge(place.under(name), own, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (place, Value::Array(live), Value::Array(config)) if place.has_items() => {
            Value::Array(merge_lists(place, live, config))
        }
        (_, _, config) => config.clone(),
    }
}

/// Items of the configuration come in its order; live items that it does not name keep their place among those that
/// it does.
fn merge_lists(place: Place<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let live = place.elements(live);
    let config = place.elements(config);
    let in_live: HashMap<&str, &Value> =
        live.iter().rev().map(|(element, item)| (element.as_str(), *item)).collect();
    let in_config: HashMap<&str, ()> = config.iter().map(|(element, _)| (element.as_str(), ())).collect();
    let mut shared =
        config.iter().map(|(element, _)| element).filter(|element| in_live.contains_key(element.as_str()));
    let mut next_shared = shared.next();
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let (mut left, mut right) = (live.iter().peekable(), config.iter().peekable());
    loop {
        if let (Some((own, _)), Some((wanted, _))) = (left.peek(), right.peek())
            && in_config.contains_key(own.as_str())
            && own != wanted
            && next_shared.is_some_and(|next| next != own)
        {
            // It comes later, where the configuration has it.
            left.next();
            continue;
        }
        if let Some((_, item)) = left.next_if(|(own, _)| !in_config.contains_key(own.as_str())) {
            merged.push((*item).clone());
            continue;
        }
        let Some((wanted, item)) = right.next() else { break };
        left.next_if(|(own, _)| own == wanted);
        merged.push(match in_live.get(wanted.as_str()) {
            Some(own) => merge(place.item(), own, item),
            None => (*item).clone(),
        });
        if next_shared == Some(wanted) {
            next_shared = shared.next();
        }
    }
    merged
}
