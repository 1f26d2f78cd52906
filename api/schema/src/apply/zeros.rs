//! Zeros that a configuration names: `false`, 0, an empty text, list or map where Go's encoder writes nothing.
//!
//! Kept true: who names one owns it, and it takes the place of what is there; it is not stored, and where nothing is it
//! changes nothing.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/tofieldset.go: configurations are
//! read as they were sent

use super::place::Place;
use crate::error::{DecodeError, FieldIssue};
use crate::schema::Schema;
use serde_json::Value;
use std::collections::HashMap;

impl Schema {
    /// [`Schema::prune`] for a configuration to apply: the zeros that it names stay.
    pub fn prune_config(&self, config: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
        if self.as_custom().is_some() || !names_zeros(config) {
            return self.prune(config);
        }
        let sent = config.clone();
        let issues = self.prune(config)?;
        put_back(self.place(), &sent, config, Where::Everywhere);
        Ok(issues)
    }

    /// Without zeros, but for those that take the place of something in `live`.
    pub(crate) fn without_idle_zeros(&self, live: &Value, merged: &Value) -> Result<Value, DecodeError> {
        let mut settled = merged.clone();
        self.prune(&mut settled)?;
        put_back(self.place(), merged, &mut settled, Where::Over(Some(live)));
        Ok(settled)
    }
}

#[derive(Clone, Copy)]
enum Where<'a> {
    Everywhere,
    /// Only where this has a value.
    Over(Option<&'a Value>),
}

impl<'a> Where<'a> {
    fn under(self, live: impl FnOnce(&'a Value) -> Option<&'a Value>) -> Where<'a> {
        match self {
            Where::Over(own) => Where::Over(own.and_then(live)),
            Where::Everywhere => Where::Everywhere,
        }
    }

    fn takes(self) -> bool {
        !matches!(self, Where::Over(None | Some(Value::Null)))
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

pub(super) fn names_zeros(value: &Value) -> bool {
    is_zero(value)
        || match value {
            Value::Array(items) => items.iter().any(names_zeros),
            Value::Object(fields) => fields.values().any(names_zeros),
            _ => false,
        }
}

/// What pruning took from `whole` to make `pruned`.
fn put_back(place: Place<'_>, whole: &Value, pruned: &mut Value, over: Where<'_>) {
    match (whole, pruned) {
        (Value::Object(whole), Value::Object(pruned)) if place.has_parts() => {
            for (name, value) in whole {
                let over = over.under(|live| live.get(name));
                match pruned.get_mut(name) {
                    Some(kept) => put_back(place.under(name), value, kept, over),
                    None if is_zero(value) && over.takes() => {
                        drop(pruned.insert(name.clone(), value.clone()))
                    }
                    None => {}
                }
            }
        }
        (Value::Array(whole), Value::Array(pruned)) if place.has_items() && whole.len() == pruned.len() => {
            let live: HashMap<String, &Value> = match over {
                Where::Over(Some(Value::Array(items))) => place.elements(items).into_iter().collect(),
                _ => HashMap::new(),
            };
            for ((element, value), kept) in place.elements(whole).iter().zip(pruned) {
                put_back(place.item(), value, kept, over.under(|_| live.get(element).copied()));
            }
        }
        _ => {}
    }
}
