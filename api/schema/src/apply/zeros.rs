//! What a configuration names although it says nothing to Go's decoder or encoder: null, `false`, 0, an empty text, list or
//! map.
//!
//! Kept true: who names one owns it, and it takes the place of what is there; it is not stored.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/tofieldset.go: configurations are
//! read as they were sent

use super::operation::SERVER_METADATA;
use super::place::Place;
use crate::error::{DecodeError, FieldIssue};
use crate::schema::Schema;
use serde_json::Value;

impl Schema {
    /// [`Schema::prune`] for a configuration to apply: the nulls and zeros that it names stay, but for those that the
    /// server alone writes.
    pub fn prune_config(&self, config: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
        if !names_zeros(config) {
            return self.prune(config);
        }
        let sent = config.clone();
        let issues = self.prune(config)?;
        put_back(self.place(), &sent, config);
        if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
            let is_servers = |name: &str| SERVER_METADATA.iter().any(|own| own[2..] == *name);
            metadata.retain(|name, value| !is_servers(name) || !is_zero(value));
        }
        Ok(issues)
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn names_zeros(value: &Value) -> bool {
    is_zero(value)
        || match value {
            Value::Array(items) => items.iter().any(names_zeros),
            Value::Object(fields) => fields.values().any(names_zeros),
            _ => false,
        }
}

/// What pruning took from `whole` to make `pruned`.
fn put_back(place: Place<'_>, whole: &Value, pruned: &mut Value) {
    match (whole, pruned) {
        (Value::Object(whole), Value::Object(pruned)) if place.has_parts() => {
            for (name, value) in whole {
                match pruned.get_mut(name) {
                    Some(kept) => put_back(place.under(name), value, kept),
                    None if is_zero(value) => drop(pruned.insert(name.clone(), value.clone())),
                    None => {}
                }
            }
        }
        (Value::Array(whole), Value::Array(pruned)) if place.has_items() && whole.len() == pruned.len() => {
            for (value, kept) in whole.iter().zip(pruned) {
                put_back(place.item(), value, kept);
            }
        }
        _ => {}
    }
}
