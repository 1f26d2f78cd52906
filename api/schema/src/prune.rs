//! Brings a decoded object into its schema's shape: what Go's decoder and encoder do to an object between them.
//!
//! Kept true: afterwards every field is known and of its type, no value is null, optional lists and maps are not empty,
//! and fields are ordered as a stock server prints them. An object that is so already is not touched.

use crate::error::{DecodeError, FieldIssue};
use crate::kubernetes_time;
use crate::mismatch::{Kind, Mismatch};
use crate::quantity::{QuantityError, canonical_quantity};
use crate::table::{Field, Scalar, Table, Type, TypeId, flag};
use crate::unknown::{UNKNOWN, unknown_fields};
use crate::whole_numbers::whole_numbers;
use serde_json::{Map, Value};

/// Lists that Go prints even when they are empty, although they are optional.
const KEPT_WHEN_EMPTY: &[(&str, &str)] = &[
    ("ClusterRole", "rules"),
    ("Role", "rules"),
    ("EndpointSlice", "ports"),
    ("HPAScalingRules", "policies"),
];

struct Issues {
    found: Vec<FieldIssue>,
    /// Whether protobuf's unknown fields have a place in the object.
    keeps_unknown: bool,
}

type Outcome = Result<(), Box<DecodeError>>;

/// `keeps_unknown`: whether [`UNKNOWN`] is a member of every struct.
pub(crate) fn prune(
    table: &Table,
    id: TypeId,
    object: &mut Value,
    keeps_unknown: bool,
) -> Result<Vec<FieldIssue>, DecodeError> {
    let mut issues = Issues { found: Vec::new(), keeps_unknown };
    match prune_value(table, Type::Ref(id), object, &mut issues) {
        Ok(()) => Ok(issues.found),
        Err(error) => Err(*error),
    }
}

fn text_error(text: impl Into<String>) -> Box<DecodeError> {
    Box::new(DecodeError::Type(text.into()))
}

fn mismatch(value: &Value, table: &Table, ty: Type) -> Outcome {
    let kind = match ty {
        Type::Ref(_) => Kind::Struct,
        Type::Map(_) => Kind::Map,
        Type::List(_) | Type::Scalar(Scalar::Bytes | Scalar::Strings) => Kind::Slice,
        Type::Scalar(Scalar::String) => Kind::Simple("string"),
        Type::Scalar(Scalar::Bool) => Kind::Simple("bool"),
        Type::Scalar(Scalar::Int32) => Kind::Simple("int32"),
        Type::Scalar(Scalar::Int64) => Kind::Simple("int64"),
        Type::Scalar(Scalar::Double) => Kind::Simple("float64"),
        Type::Scalar(_) => Kind::Own,
    };
    Err(Mismatch::error(value, table.go_type(ty), kind))
}

fn through(mut error: Box<DecodeError>, table: &Table, id: TypeId, field: &Field) -> Box<DecodeError> {
    if let DecodeError::Mismatch(mismatch) = &mut *error {
        mismatch.through(
            table.str(table.ty(id).package),
            table.str(table.ty(id).name),
            table.str(field.name),
        );
    }
    error
}

fn within(mut error: Box<DecodeError>) -> Box<DecodeError> {
    if let DecodeError::Mismatch(mismatch) = &mut *error {
        mismatch.within();
    }
    error
}

fn prune_value(table: &Table, ty: Type, value: &mut Value, issues: &mut Issues) -> Outcome {
    match ty {
        Type::Scalar(scalar) => prune_scalar(table, scalar, value, issues),
        Type::Ref(id) => match value {
            Value::Object(map) => prune_struct(table, id, map, issues),
            other => mismatch(other, table, ty),
        },
        Type::List(element) => match value {
            Value::Array(items) => prune_list(table, table.element(element), items, issues),
            other => mismatch(other, table, ty),
        },
        Type::Map(element) => match value {
            Value::Object(map) => prune_map(table, table.element(element), map, issues),
            other => mismatch(other, table, ty),
        },
    }
}

fn prune_struct(table: &Table, id: TypeId, map: &mut Map<String, Value>, issues: &mut Issues) -> Outcome {
    let fields = table.fields_of(id);
    let mut rebuild = false;
    let mut next = 0;
    for (key, value) in map.iter_mut() {
        let Some(at) = table.position(id, key, next) else {
            if let (Value::String(text), true) = (&*value, is_unknown(key, issues)) {
                unknown_fields(text).map_err(text_error)?;
                rebuild |= text.is_empty();
                // It comes last.
                next = fields.len();
            } else {
                issues.found.push(FieldIssue::Unknown { path: key.clone() });
                rebuild = true;
            }
            continue;
        };
        rebuild |= at < next;
        next = at + 1;
        let field = &fields[at];
        if !value.is_null() {
            let before = issues.found.len();
            prune_value(table, field.ty, value, issues).map_err(|error| through(error, table, id, field))?;
            for issue in &mut issues.found[before..] {
                issue.prefix(format_args!("{}", table.str(field.name)));
            }
        }
        rebuild |= is_dropped(table, id, field, value);
    }
    if rebuild {
        let mut kept: Vec<(usize, String, Value)> = Vec::with_capacity(map.len());
        for (key, value) in std::mem::take(map) {
            match table.position(id, &key, 0) {
                Some(at) if !is_dropped(table, id, &fields[at], &value) => kept.push((at, key, value)),
                None if is_unknown(&key, issues) && value.as_str().is_some_and(|text| !text.is_empty()) => {
                    kept.push((fields.len(), key, value));
                }
                _ => {}
            }
        }
        kept.sort_by_key(|(at, _, _)| *at);
        map.extend(kept.into_iter().map(|(_, key, value)| (key, value)));
    }
    Ok(())
}

fn is_unknown(key: &str, issues: &Issues) -> bool {
    key == UNKNOWN && issues.keeps_unknown
}

/// Null is Go's "not set"; what is plain and optional is left out by `omitempty` when it is empty or zero.
fn is_dropped(table: &Table, id: TypeId, field: &Field, value: &Value) -> bool {
    let plain = field.flags & (flag::POINTER | flag::PRINTED) == 0;
    let empty = match value {
        Value::Null => return true,
        Value::Bool(set) => !set && plain && matches!(field.ty, Type::Scalar(Scalar::Bool)),
        Value::String(text) => {
            text.is_empty() && plain && matches!(field.ty, Type::Scalar(Scalar::String | Scalar::Bytes))
        }
        Value::Number(number) => {
            let is_number = matches!(field.ty, Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double));
            number.as_f64() == Some(0.0) && plain && is_number
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && matches!(field.ty, Type::Map(_)),
    };
    empty
        && field.flags & flag::REQUIRED == 0
        && !matches!(field.ty, Type::Scalar(Scalar::Raw | Scalar::Json | Scalar::Fields))
        && !KEPT_WHEN_EMPTY.contains(&(table.str(table.ty(id).name), table.str(field.name)))
}

fn prune_list(table: &Table, element: Type, items: &mut [Value], issues: &mut Issues) -> Outcome {
    for (index, item) in items.iter_mut().enumerate() {
        if item.is_null() {
            *item = zero(element);
            continue;
        }
        let before = issues.found.len();
        prune_value(table, element, item, issues).map_err(within)?;
        for issue in &mut issues.found[before..] {
            issue.prefix(format_args!("[{index}]"));
        }
    }
    Ok(())
}

fn prune_map(table: &Table, element: Type, map: &mut Map<String, Value>, issues: &mut Issues) -> Outcome {
    for (key, value) in map.iter_mut() {
        if value.is_null() {
            *value = zero(element);
            continue;
        }
        let before = issues.found.len();
        prune_value(table, element, value, issues).map_err(within)?;
        for issue in &mut issues.found[before..] {
            issue.prefix(format_args!("{key}"));
        }
    }
    // Go prints maps ordered by key.
    if !map.keys().is_sorted() {
        map.sort_keys();
    }
    Ok(())
}

/// What null stands for where a value has to be.
fn zero(ty: Type) -> Value {
    match ty {
        Type::Ref(_) | Type::Map(_) => Value::Object(Map::new()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Bytes => Value::from(""),
            Scalar::Quantity => Value::from("0"),
            Scalar::Bool => Value::from(false),
            Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString => Value::from(0),
            Scalar::Strings => Value::Array(Vec::new()),
            _ => Value::Null,
        },
    }
}

fn prune_scalar(table: &Table, scalar: Scalar, value: &mut Value, issues: &mut Issues) -> Outcome {
    let mismatch = |value: &Value| mismatch(value, table, Type::Scalar(scalar));
    let own = |value: &Value, wanted: &str| Err(Mismatch::error(value, wanted.to_owned(), Kind::Own));
    match scalar {
        Scalar::String => match value {
            Value::String(_) => Ok(()),
            other => mismatch(other),
        },
        Scalar::Bool => match value {
            Value::Bool(_) => Ok(()),
            other => mismatch(other),
        },
        Scalar::Int32 | Scalar::Int64 => match value {
            Value::Number(number) => {
                let fits =
                    number.as_i64().is_some_and(|n| scalar == Scalar::Int64 || i32::try_from(n).is_ok());
                if fits { Ok(()) } else { mismatch(value) }
            }
            other => mismatch(other),
        },
        Scalar::Double => match value {
            Value::Number(_) => {
                whole_numbers(value);
                Ok(())
            }
            other => mismatch(other),
        },
        Scalar::Bytes => match value {
            Value::String(text) => check_base64(text),
            other => mismatch(other),
        },
        Scalar::Quantity => prune_quantity(value),
        Scalar::IntOrString => match value {
            Value::String(_) => Ok(()),
            Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
            other => own(other, "int32"),
        },
        Scalar::Time | Scalar::MicroTime => prune_time(value, scalar == Scalar::MicroTime),
        Scalar::Json => {
            whole_numbers(value);
            Ok(())
        }
        Scalar::Raw | Scalar::Fields => Ok(()),
        Scalar::Strings => match value {
            Value::Array(items) => prune_list(table, Type::Scalar(Scalar::String), items, issues),
            other => mismatch(other),
        },
        Scalar::SchemaOrArray | Scalar::SchemaOrBool | Scalar::SchemaOrStrings => {
            prune_schema_or(table, scalar, value, issues)
        }
        Scalar::Empty => match value {
            Value::Object(map) => {
                issues
                    .found
                    .extend(std::mem::take(map).into_iter().map(|(path, _)| FieldIssue::Unknown { path }));
                Ok(())
            }
            other => mismatch(other),
        },
    }
}

fn prune_quantity(value: &mut Value) -> Outcome {
    let text = match &*value {
        Value::String(text) => text.trim().to_string(),
        Value::Number(number) => number.to_string(),
        _ => return Err(text_error(QuantityError::Format.to_string())),
    };
    let canonical = canonical_quantity(&text).map_err(|error| text_error(error.to_string()))?;
    if value.as_str() != Some(&*canonical) {
        *value = Value::String(canonical);
    }
    Ok(())
}

fn prune_time(value: &mut Value, micro: bool) -> Outcome {
    let Value::String(text) = value else {
        return Err(Mismatch::error(value, "string".to_owned(), Kind::Own));
    };
    if !kubernetes_time::is_canonical(text, micro) {
        *text = kubernetes_time::canonical(text, micro).map_err(text_error)?;
    }
    Ok(())
}

/// `JSONSchemaProps`, or the simpler JSON that stands in its place.
fn prune_schema_or(table: &Table, scalar: Scalar, value: &mut Value, issues: &mut Issues) -> Outcome {
    let schema = table.json_schema_props.map(Type::Ref);
    match (value, scalar) {
        (Value::Bool(_), Scalar::SchemaOrBool) => Ok(()),
        (Value::Array(items), Scalar::SchemaOrStrings) => {
            prune_list(table, Type::Scalar(Scalar::String), items, issues)
        }
        (Value::Array(items), Scalar::SchemaOrArray) => match schema {
            Some(schema) => prune_list(table, schema, items, issues),
            None => Ok(()),
        },
        (value @ Value::Object(_), _) => match schema {
            Some(schema) => prune_value(table, schema, value, issues),
            None => Ok(()),
        },
        (_, Scalar::SchemaOrBool) => Err(text_error("boolean or JSON schema expected")),
        (other, _) => mismatch(other, table, Type::Scalar(scalar)),
    }
}

/// As Go's `base64.StdEncoding` checks it: line breaks are skipped, padding is needed.
fn check_base64(text: &mut String) -> Outcome {
    if text.contains(['\r', '\n']) {
        text.retain(|c| !matches!(c, '\r' | '\n'));
    }
    let bytes = text.as_bytes();
    let body = bytes.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    let wrong =
        bytes[..body].iter().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/'));
    let padding = bytes.len() - body;
    let at = match wrong {
        Some(at) => at,
        None if bytes.len().is_multiple_of(4) && padding <= 2 => return Ok(()),
        None => body.max(bytes.len() - bytes.len() % 4).min(bytes.len()),
    };
    Err(text_error(format!("illegal base64 data at input byte {at}")))
}
