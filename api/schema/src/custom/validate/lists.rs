//! Sets and maps have no item twice.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/schema/listtype/validation.go

use super::{counterpart, join};
use crate::custom::{CustomSchema, FieldError, FieldErrorKind, prune::inner};
use serde_json::Value;

impl CustomSchema {
    /// Apart from [`CustomSchema::validate`] for the order of errors.
    pub fn validate_lists(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check(&self.root, object, old, "", &mut errors);
        errors
    }
}

pub(super) fn check(
    schema: &Value,
    value: &Value,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(value) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(known) = inner(schema, name) {
                    let before = old.and_then(|old| old.get(name));
                    check(known, value, before, &join(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => unique(items.iter().cloned(), path, errors),
                Some("map") => match items.iter().position(|item| !item.is_null() && !item.is_object()) {
                    Some(at) => errors.push(FieldError::invalid(
                        &format!("{path}[{at}]"),
                        items[at].clone(),
                        "must be an object for an array of list-type map",
                    )),
                    None => unique(items.iter().map(|item| key(schema, item)), path, errors),
                },
                _ => {}
            }
            for (at, item) in items.iter().enumerate() {
                let before = old.and_then(|old| counterpart(schema, item, old));
                check(&schema["items"], item, before, &format!("{path}[{at}]"), errors);
            }
        }
        _ => {}
    }
}

/// Each that is there more than once is told once.
fn unique(keys: impl Iterator<Item = Value>, path: &str, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<(Value, bool)> = Vec::new();
    for (at, key) in keys.enumerate() {
        match seen.iter_mut().find(|(other, _)| *other == key) {
            None => seen.push((key, false)),
            Some((_, is_told)) if *is_told => {}
            Some((_, is_told)) => {
                *is_told = true;
                let kind = FieldErrorKind::Duplicate { value: key };
                errors.push(FieldError { path: format!("{path}[{at}]"), kind });
            }
        }
    }
}

fn key(schema: &Value, item: &Value) -> Value {
    super::keys(schema).filter_map(|key| Some((key.to_owned(), item.get(key)?.clone()))).collect()
}
