//! Types, as JSON Schema and the formats of OpenAPI name them.
//!
//! Kept true: where a schema has a format, an error speaks of the format; a string or a list fits any format here, and
//! is held to it elsewhere.
//! Source: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/validate/type.go

use super::Found;
use crate::custom::{FieldError, FieldErrorKind, format, is_true};
use serde_json::Value;

/// Beyond it a float is no integer.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

/// What the schema allows: none is anything.
pub(super) fn names(schema: &Value) -> &'static [&'static str] {
    if is_true(schema, "x-kubernetes-int-or-string") {
        return &["integer", "string"];
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => &["array"],
        "boolean" => &["boolean"],
        "integer" => &["integer"],
        "number" => &["number"],
        "object" => &["object"],
        "string" => &["string"],
        _ => &[],
    }
}

/// The schema's format, where the type has such a one.
pub(in crate::custom) fn format(schema: &Value) -> Option<&str> {
    let given = schema["format"].as_str().filter(|given| !given.is_empty())?;
    let fits = match names(schema) {
        ["integer"] => matches!(given, "int32" | "int64"),
        ["number"] => matches!(given, "float" | "double"),
        [] | ["string"] | ["integer", "string"] => format::is_known(given),
        _ => false,
    };
    fits.then_some(given)
}

/// None where the schema says nothing of the type.
pub(super) fn check(schema: &Value, value: &Value, path: &str) -> Option<Found> {
    let (allowed, wanted) = (names(schema), format(schema).unwrap_or_default());
    if allowed.is_empty() && wanted.is_empty() {
        return None;
    }
    if value.is_null() {
        let fits = allowed.is_empty() || is_true(schema, "nullable");
        return Some(if fits { held() } else { unlike(path, &allowed.join(","), "null") });
    }
    let (kind, number) = kind(value);
    let is_text = matches!(value, Value::String(_) | Value::Array(_));
    let fits = allowed.contains(&kind)
        || kind == "integer" && allowed.contains(&"number")
        || kind == "number" && allowed.contains(&"integer") && is_whole(value);
    if !is_text && !wanted.is_empty() && !fits && number != wanted {
        return Some(unlike(path, wanted, number));
    }
    let is_numeric = allowed.iter().any(|one| matches!(*one, "number" | "integer"));
    if is_text && !wanted.is_empty() && !is_numeric || fits {
        return Some(held());
    }
    Some(unlike(path, &allowed.join(","), kind))
}

fn held() -> Found {
    Found { held: 1, ..Found::default() }
}

pub(super) fn unlike(path: &str, wanted: &str, found: &str) -> Found {
    Found::one(FieldError {
        path: path.into(),
        kind: FieldErrorKind::Type {
            value: found.into(),
            detail: format!("{path} in body must be of type {wanted}: {found:?}"),
        },
    })
}

/// The type of a value and, of a number, its format.
fn kind(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() <= MAX_INTEGER)
}
