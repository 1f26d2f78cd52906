//! From JSON to protobuf, byte for byte as the stock server writes it.
//!
//! Fields are in the order of their numbers, maps in the order of their keys. A plain field that JSON leaves out is
//! written with its zero; a pointer is not.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use coracle_schema::{
    FieldRef, GroupVersionKind, Node, Registry, Scalar, Shape, Struct, UNKNOWN, unknown_fields,
    wire::{Field, Fields, Wire},
};
use serde_json::{Map, Value};

use super::{MAGIC, gvk, json_schema_props, wire::Backwards};

/// What an object that is no object is missing.
const NOT_OF_ITS_TYPE: &str = "value is not of the type of its field";

/// An object in its envelope, by its own kind and version.
pub fn encode(object: &Value) -> Result<Vec<u8>, String> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    encode_as(&gvk(text("apiVersion"), text("kind")), object)
}

/// An object in its envelope; `gvk` tells what it is, also when the object itself does not.
pub fn encode_as(gvk: &GroupVersionKind, object: &Value) -> Result<Vec<u8>, String> {
    let schema = Registry::builtin().schema(gvk).ok_or_else(|| {
        format!("no kind \"{}\" is registered for version \"{}/{}\"", gvk.kind, gvk.group, gvk.version)
    })?;
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let mut out = Backwards::with_capacity(1024);
    out.raw(TRAILER);
    let end = out.end();
    fields(&mut out, schema.shape(), object.as_object().ok_or(NOT_OF_ITS_TYPE)?)?;
    out.close(end, 2);
    type_meta(&mut out, text("apiVersion"), text("kind"));
    out.raw(MAGIC);
    Ok(out.finish())
}

/// The envelope's content encoding and content type, which are always empty.
pub(super) const TRAILER: &[u8] = &[0x1a, 0, 0x22, 0];

pub(super) fn type_meta(out: &mut Backwards, api_version: &str, kind: &str) {
    let end = out.end();
    out.put_bytes(2, kind.as_bytes());
    out.put_bytes(1, api_version.as_bytes());
    out.close(end, 1);
}

/// The message of an object without an envelope, as it stands in lists.
pub fn message(shape: Struct<'_>, object: &Value) -> Result<Vec<u8>, String> {
    let mut out = Backwards::with_capacity(1024);
    fields(&mut out, shape, object.as_object().ok_or(NOT_OF_ITS_TYPE)?)?;
    Ok(out.finish())
}

/// One event of a watch: its length in four bytes, then the WatchEvent. `object` is in an envelope.
/// Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
pub fn watch_frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = Backwards::with_capacity(object.len() + kind.len() + 24);
    let end = out.end();
    out.put_bytes(1, object);
    out.close(end, 2);
    out.put_bytes(1, kind.as_bytes());
    let length = out.end() as u32;
    out.raw(&length.to_be_bytes());
    out.finish().into()
}

fn fields(out: &mut Backwards, shape: Struct<'_>, object: &Map<String, Value>) -> Result<(), String> {
    if let Some(field) = shape.unnumbered_fields().find(|field| object.contains_key(field.name())) {
        let (of, name) = (shape.name(), field.name());
        return Err(format!(
            "the number of field \"{name}\" of {of} in protobuf is not known, ask for application/json"
        ));
    }
    let fields: Vec<FieldRef<'_>> = shape.numbered_fields().collect();
    let unknown = object.get(UNKNOWN).and_then(Value::as_str).filter(|_| super::numbers_all(shape));
    // What is no protobuf was refused when it came.
    let unknown = unknown.and_then(|text| unknown_fields(text).ok()).unwrap_or_default();
    part(out, &fields, 0, object, &unknown)
}

/// `level` structs that Go embeds lie around these fields. `unknown` comes after them, but for what it says under a
/// known number: that would have passed by validation.
fn part(
    out: &mut Backwards,
    fields: &[FieldRef<'_>],
    level: usize,
    object: &Map<String, Value>,
    unknown: &[u8],
) -> Result<(), String> {
    let is_known = |number| fields.iter().any(|field| field.number_at(level) == Some(number));
    out.raw(&chosen(unknown, |field| (!is_known(field.number)).then_some(field.bytes)));
    let mut rest = fields;
    while let Some((last, _)) = rest.split_last() {
        let Some(number) = last.number_at(level) else { return Ok(()) };
        let start = rest.iter().rposition(|field| field.number_at(level) != Some(number));
        let (before, same) = rest.split_at(start.map_or(0, |at| at + 1));
        if last.number_at(level + 1).is_none() {
            field(out, number, *last, object.get(last.name()))
                .map_err(|error| format!("{}: {error}", last.name()))?;
        } else {
            let end = out.end();
            let inner = chosen(unknown, |field| match field.wire {
                Wire::Bytes(bytes) if field.number == number => Some(bytes),
                _ => None,
            });
            part(out, same, level + 1, object, &inner)?;
            out.close(end, number);
        }
        rest = before;
    }
    Ok(())
}

/// Parts of a message, up to where it is broken.
fn chosen<'a>(bytes: &'a [u8], choose: impl Fn(Field<'a>) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut fields = Fields(bytes);
    let mut out = Vec::new();
    while let Some(Ok(field)) = fields.next_field() {
        out.extend_from_slice(choose(field).unwrap_or_default());
    }
    out
}

fn field(out: &mut Backwards, number: u32, field: FieldRef<'_>, value: Option<&Value>) -> Result<(), String> {
    match value {
        None | Some(Value::Null) if field.pointer() => Ok(()),
        None | Some(Value::Null) => zero(out, number, field.node()),
        Some(value) => put(out, number, field.node(), value),
    }
}

/// A plain field of Go that nobody set.
fn zero(out: &mut Backwards, number: u32, node: Node<'_>) -> Result<(), String> {
    match node.shape() {
        Shape::List(_) | Shape::Map(_) => {}
        Shape::Struct(shape) => {
            let end = out.end();
            fields(out, shape, &Map::new())?;
            out.close(end, number);
        }
        Shape::Scalar(scalar) => match scalar {
            Scalar::String
            | Scalar::Time
            | Scalar::MicroTime
            | Scalar::Raw
            | Scalar::Json
            | Scalar::Fields => {
                out.put_bytes(number, b"");
            }
            Scalar::Bool | Scalar::Int32 | Scalar::Int64 => out.put_varint(number, 0),
            Scalar::Double => out.put_double(number, 0.0),
            Scalar::Quantity => wrapped(out, number, b"0"),
            Scalar::IntOrString => int_or_string(out, number, &Value::from(0))?,
            _ => {}
        },
    }
    Ok(())
}

fn put(out: &mut Backwards, number: u32, node: Node<'_>, value: &Value) -> Result<(), String> {
    match (node.shape(), value) {
        (Shape::Scalar(scalar), value) => put_scalar(out, number, scalar, value),
        (_, Value::Null) => zero(out, number, node),
        (Shape::Struct(shape), Value::Object(object)) => {
            let end = out.end();
            fields(out, shape, object)?;
            out.close(end, number);
            Ok(())
        }
        (Shape::List(element), Value::Array(items)) => {
            items.iter().rev().try_for_each(|item| put_element(out, number, element, item))
        }
        (Shape::Map(element), Value::Object(entries)) => put_map(out, number, element, entries),
        _ => Err(NOT_OF_ITS_TYPE.into()),
    }
}

/// A list inside of a list or map is a message whose first field repeats.
fn put_element(out: &mut Backwards, number: u32, element: Node<'_>, value: &Value) -> Result<(), String> {
    match element.shape() {
        Shape::List(_) => {
            let end = out.end();
            put(out, 1, element, value)?;
            out.close(end, number);
            Ok(())
        }
        _ => put(out, number, element, value),
    }
}

fn put_map(
    out: &mut Backwards,
    number: u32,
    element: Node<'_>,
    entries: &Map<String, Value>,
) -> Result<(), String> {
    let mut ordered: Vec<(&String, &Value)> = entries.iter().collect();
    ordered.sort_unstable_by(|one, other| other.0.cmp(one.0));
    for (key, value) in ordered {
        let end = out.end();
        put_element(out, 2, element, value)?;
        out.put_bytes(1, key.as_bytes());
        out.close(end, number);
    }
    Ok(())
}

fn put_scalar(out: &mut Backwards, number: u32, scalar: Scalar, value: &Value) -> Result<(), String> {
    let text = || value.as_str().ok_or(NOT_OF_ITS_TYPE);
    match scalar {
        Scalar::String => out.put_bytes(number, text()?.as_bytes()),
        Scalar::Bool => out.put_varint(number, value.as_bool().ok_or(NOT_OF_ITS_TYPE)?.into()),
        Scalar::Int32 | Scalar::Int64 => {
            out.put_varint(number, value.as_i64().ok_or(NOT_OF_ITS_TYPE)? as u64);
        }
        Scalar::Double => out.put_double(number, value.as_f64().ok_or(NOT_OF_ITS_TYPE)?),
        Scalar::Bytes => {
            out.put_bytes(number, &STANDARD.decode(text()?).map_err(|error| error.to_string())?);
        }
        Scalar::Quantity => match value {
            Value::String(text) => wrapped(out, number, text.as_bytes()),
            other => wrapped(out, number, other.to_string().as_bytes()),
        },
        Scalar::IntOrString => int_or_string(out, number, value)?,
        Scalar::Time | Scalar::MicroTime => time(out, number, value.as_str().unwrap_or_default())?,
        Scalar::Raw | Scalar::Json | Scalar::Fields => {
            wrapped(out, number, &serde_json::to_vec(value).map_err(|error| error.to_string())?);
        }
        Scalar::Strings => {
            let end = out.end();
            strings(out, 1, value)?;
            out.close(end, number);
        }
        Scalar::SchemaOrArray | Scalar::SchemaOrBool | Scalar::SchemaOrStrings => {
            let end = out.end();
            schema_or(out, scalar, value)?;
            out.close(end, number);
        }
        Scalar::Empty => out.put_bytes(number, b""),
    }
    Ok(())
}

/// A message whose first field is all there is.
fn wrapped(out: &mut Backwards, number: u32, bytes: &[u8]) {
    let end = out.end();
    out.put_bytes(1, bytes);
    out.close(end, number);
}

fn strings(out: &mut Backwards, number: u32, value: &Value) -> Result<(), String> {
    for text in value.as_array().ok_or(NOT_OF_ITS_TYPE)?.iter().rev() {
        out.put_bytes(number, text.as_str().ok_or(NOT_OF_ITS_TYPE)?.as_bytes());
    }
    Ok(())
}

fn int_or_string(out: &mut Backwards, number: u32, value: &Value) -> Result<(), String> {
    let (kind, int, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        Value::Number(_) => (0, value.as_i64().ok_or(NOT_OF_ITS_TYPE)?, ""),
        _ => return Err(NOT_OF_ITS_TYPE.into()),
    };
    let end = out.end();
    out.put_bytes(3, text.as_bytes());
    out.put_varint(2, int as u64);
    out.put_varint(1, kind);
    out.close(end, number);
    Ok(())
}

fn time(out: &mut Backwards, number: u32, text: &str) -> Result<(), String> {
    let end = out.end();
    if !text.is_empty() {
        let (seconds, nanos) = coracle_schema::parse_time(text).ok_or(NOT_OF_ITS_TYPE)?;
        out.put_varint(2, nanos.into());
        out.put_varint(1, seconds as u64);
    }
    out.close(end, number);
    Ok(())
}

/// `JSONSchemaPropsOrArray` and its sisters.
fn schema_or(out: &mut Backwards, scalar: Scalar, value: &Value) -> Result<(), String> {
    let node = json_schema_props().ok_or("no schema of schemas")?;
    match (scalar, value) {
        (Scalar::SchemaOrBool, Value::Bool(allows)) => out.put_varint(1, (*allows).into()),
        (Scalar::SchemaOrBool, schema) => {
            put(out, 2, node, schema)?;
            out.put_varint(1, 1);
        }
        (Scalar::SchemaOrArray, Value::Array(schemas)) => {
            schemas.iter().rev().try_for_each(|schema| put(out, 2, node, schema))?;
        }
        (Scalar::SchemaOrStrings, Value::Array(_)) => strings(out, 2, value)?,
        (_, schema) => put(out, 1, node, schema)?,
    }
    Ok(())
}
