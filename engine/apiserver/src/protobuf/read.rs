//! From protobuf to JSON.
//!
//! Go writes every plain field, also when it is empty, and pointers only when they are set. JSON leaves empty plain
//! fields out, so this does too.

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_schema::{
    FieldRef, GroupVersionKind, Node, Registry, Scalar, Shape, Struct, UNKNOWN,
    wire::{Field, Fields, Wire},
};
use serde_json::{Map, Value};

use super::{MAGIC, MAX_DEPTH, gvk, json_schema_props, wire::Backwards};

/// Numbers of fields that are no more, which old clients write in every message: plain fields of Go are never left out.
/// Source: `ClusterName` of ObjectMeta and `State` of EventSeries, the latter at
/// https://github.com/kubernetes/kubernetes/blob/v1.18.0/staging/src/k8s.io/api/core/v1/types.go
const RETIRED: [(&str, u32); 2] = [("ObjectMeta", 15), ("EventSeries", 3)];

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not protobuf, or of a kind that nobody knows.
    #[error("{0}")]
    Envelope(String),
    /// The kind is known, its message is broken.
    #[error("{0}")]
    Message(String),
}

/// The object in the envelope, with its kind and version; `expected` fills in what the envelope leaves out.
pub fn decode(bytes: &[u8], expected: Option<&GroupVersionKind>) -> Result<Value, ReadError> {
    let envelope = Envelope::read(bytes).map_err(ReadError::Envelope)?;
    let mut gvk = gvk(&envelope.api_version, &envelope.kind);
    if envelope.api_version.is_empty()
        && let Some(expected) = expected
    {
        (gvk.group, gvk.version) = (expected.group.clone(), expected.version.clone());
    }
    if envelope.kind.is_empty()
        && let Some(expected) = expected
    {
        gvk.kind = expected.kind.clone();
    }
    let schema = Registry::builtin().schema(&gvk).ok_or_else(|| {
        ReadError::Envelope(format!(
            "no kind \"{}\" is registered for version \"{}\"",
            envelope.kind, envelope.api_version
        ))
    })?;
    let mut object = Map::new();
    for (field, text) in [("kind", envelope.kind), ("apiVersion", envelope.api_version)] {
        if !text.is_empty() {
            object.insert(field.into(), text.into());
        }
    }
    message(schema.shape(), envelope.raw, &mut object, 0).map_err(ReadError::Message)?;
    Ok(Value::Object(object))
}

/// `runtime.Unknown`: what the object is, and its message.
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Envelope<'a>, String> {
        if bytes.is_empty() {
            return Err("empty data".into());
        }
        let body = bytes.strip_prefix(MAGIC).ok_or(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        )?;
        let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: &[] };
        for field in Fields(body) {
            match field? {
                (1, Wire::Bytes(type_meta)) => {
                    for field in Fields(type_meta) {
                        match field? {
                            (1, Wire::Bytes(text)) => envelope.api_version = utf8(text)?,
                            (2, Wire::Bytes(text)) => envelope.kind = utf8(text)?,
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(bytes)) => envelope.raw = bytes,
                _ => {}
            }
        }
        Ok(envelope)
    }
}

fn message(
    shape: Struct<'_>,
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    let fields: Vec<FieldRef<'_>> = shape.numbered_fields().collect();
    let unknown = part(&fields, 0, bytes, out, depth)?;
    if !unknown.is_empty() {
        keep_unknown(shape, &unknown, out)?;
    }
    Ok(())
}

/// Fields that the schema has no numbers of, where it has the numbers of all that it knows.
fn keep_unknown(shape: Struct<'_>, unknown: &[u8], out: &mut Map<String, Value>) -> Result<(), String> {
    if !super::numbers_all(shape) {
        return Ok(());
    }
    let mut kept = Vec::with_capacity(unknown.len());
    let mut fields = Fields(unknown);
    while let Some(field) = fields.next_field() {
        let field = field?;
        if !RETIRED.contains(&(shape.name(), field.number)) {
            kept.extend_from_slice(field.bytes);
        }
    }
    if !kept.is_empty() {
        out.insert(UNKNOWN.into(), STANDARD.encode(kept).into());
    }
    Ok(())
}

/// One message of an object. `fields` are ordered by number; `level` structs that Go embeds lie around them, whose
/// fields are fields of one object in JSON. The answer is what the schema does not know; what is so in an embedded
/// struct is still in a field of that struct's number.
fn part(
    fields: &[FieldRef<'_>],
    level: usize,
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<Vec<u8>, String> {
    if depth > MAX_DEPTH {
        return Err("proto: nested too deeply".into());
    }
    let mut unknown = Vec::new();
    let mut rest = Fields(bytes);
    while let Some(field) = rest.next_field() {
        let Field { number, wire, bytes } = field?;
        let start = fields.partition_point(|field| field.number_at(level) < Some(number));
        let same = &fields[start..];
        let same = &same[..same.partition_point(|field| field.number_at(level) == Some(number))];
        match (same, wire) {
            ([], _) => unknown.extend_from_slice(bytes),
            ([field], wire) if field.number_at(level + 1).is_none() => put(*field, wire, out, depth)?,
            ([_, ..], Wire::Bytes(inner)) => {
                let inner = part(same, level + 1, inner, out, depth + 1)?;
                if !inner.is_empty() {
                    let mut embedded = Backwards::default();
                    embedded.put_bytes(number, &inner);
                    unknown.extend(embedded.finish());
                }
            }
            _ => {}
        }
    }
    Ok(unknown)
}

fn put(
    field: FieldRef<'_>,
    wire: Wire<'_>,
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    let name = field.name();
    match field.node().shape() {
        Shape::List(element) => {
            let values = list_values(element, wire, depth)?;
            if let Value::Array(items) = out.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                items.extend(values);
            }
        }
        Shape::Map(element) => {
            let (key, value) = entry(element, wire, depth)?;
            if let Value::Object(fields) = out.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                fields.insert(key, value);
            }
        }
        _ => {
            let value = value(field.node(), wire, depth)?;
            let left_out = value.is_null() || field.omits_zero() && is_zero(&value);
            if !left_out {
                out.insert(name.into(), value);
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

/// One element, or several when numbers are packed.
fn list_values(element: Node<'_>, wire: Wire<'_>, depth: usize) -> Result<Vec<Value>, String> {
    let packed = matches!(element.shape(), Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool));
    match wire {
        Wire::Bytes(bytes) if packed => {
            let mut rest = Fields(bytes);
            let mut values = Vec::new();
            while !rest.0.is_empty() {
                values.push(value(element, Wire::Varint(rest.varint()?), depth)?);
            }
            Ok(values)
        }
        wire => Ok(vec![value(element, wire, depth)?]),
    }
}

fn entry(element: Node<'_>, wire: Wire<'_>, depth: usize) -> Result<(String, Value), String> {
    let Wire::Bytes(bytes) = wire else { return Err("proto: wrong wireType for a map".into()) };
    let (mut key, mut found) = (String::new(), None);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => found = Some(value(element, wire, depth)?),
            _ => {}
        }
    }
    let found = match found {
        Some(value) => value,
        None => value(element, Wire::Bytes(&[]), depth)?,
    };
    Ok((key, found))
}

fn value(node: Node<'_>, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    match (node.shape(), wire) {
        (Shape::Struct(shape), Wire::Bytes(bytes)) => {
            let mut fields = Map::new();
            message(shape, bytes, &mut fields, depth + 1)?;
            Ok(Value::Object(fields))
        }
        (Shape::Scalar(scalar), Wire::Bytes(bytes)) => from_bytes(scalar, bytes, depth),
        (Shape::Scalar(Scalar::Bool), Wire::Varint(number)) => Ok((number != 0).into()),
        (Shape::Scalar(Scalar::Int32), Wire::Varint(number)) => Ok((number as i32).into()),
        (Shape::Scalar(Scalar::Int64), Wire::Varint(number)) => Ok((number as i64).into()),
        (Shape::Scalar(Scalar::Double), Wire::Fixed64(bits)) => Ok(f64::from_bits(bits).into()),
        (Shape::Scalar(Scalar::Double), Wire::Fixed32(bits)) => Ok(f64::from(f32::from_bits(bits)).into()),
        // A list or map inside of a list or map is a message whose first field repeats.
        (Shape::List(element), Wire::Bytes(bytes)) => {
            let mut items = Vec::new();
            for field in Fields(bytes) {
                items.extend(list_values(element, field?.1, depth + 1)?);
            }
            Ok(Value::Array(items))
        }
        _ => Err("proto: wrong wireType".into()),
    }
}

fn from_bytes(scalar: Scalar, bytes: &[u8], depth: usize) -> Result<Value, String> {
    match scalar {
        Scalar::String => utf8(bytes).map(Value::from),
        Scalar::Bytes => Ok(STANDARD.encode(bytes).into()),
        Scalar::Quantity => utf8(first_bytes(bytes)?).map(Value::from),
        Scalar::IntOrString => int_or_string(bytes),
        Scalar::Time => time(bytes, false),
        Scalar::MicroTime => time(bytes, true),
        Scalar::Raw | Scalar::Json | Scalar::Fields => raw(first_bytes(bytes)?, depth),
        Scalar::Strings => Fields(bytes)
            .map(|field| match field? {
                (_, Wire::Bytes(text)) => utf8(text).map(Value::from),
                _ => Err("proto: wrong wireType".into()),
            })
            .collect(),
        Scalar::Empty => Ok(Value::Object(Map::new())),
        Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Double => Err("proto: wrong wireType".into()),
        Scalar::SchemaOrArray | Scalar::SchemaOrBool | Scalar::SchemaOrStrings => {
            schema_or(scalar, bytes, depth)
        }
    }
}

/// An extension holds JSON, or an object in an envelope of its own.
fn raw(bytes: &[u8], depth: usize) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    if bytes.starts_with(MAGIC) && depth < MAX_DEPTH {
        let envelope = Envelope::read(bytes)?;
        let gvk = gvk(&envelope.api_version, &envelope.kind);
        let schema = Registry::builtin().schema(&gvk);
        let schema = schema.ok_or_else(|| format!("no kind \"{}\" is registered", envelope.kind))?;
        let mut object = Map::new();
        object.insert("kind".into(), envelope.kind.into());
        object.insert("apiVersion".into(), envelope.api_version.into());
        message(schema.shape(), envelope.raw, &mut object, depth + 1)?;
        let mut object = Value::Object(object);
        schema.forget_unknown(&mut object);
        return Ok(object);
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// `JSONSchemaPropsOrArray` and its sisters: the first field is the schema (of `OrBool` the second).
fn schema_or(scalar: Scalar, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let node = json_schema_props().ok_or("no schema of schemas")?;
    let (mut one, mut allows, mut many) = (None, false, Vec::new());
    for field in Fields(bytes) {
        match (scalar, field?) {
            (Scalar::SchemaOrBool, (1, Wire::Varint(set))) => allows = set != 0,
            (Scalar::SchemaOrBool, (2, wire)) => one = Some(value(node, wire, depth + 1)?),
            (_, (1, wire)) => one = Some(value(node, wire, depth + 1)?),
            (Scalar::SchemaOrStrings, (2, Wire::Bytes(text))) => many.push(utf8(text)?.into()),
            (Scalar::SchemaOrArray, (2, wire)) => many.push(value(node, wire, depth + 1)?),
            _ => {}
        }
    }
    Ok(match (one, scalar) {
        (Some(schema), _) => schema,
        (None, Scalar::SchemaOrBool) => allows.into(),
        (None, _) => Value::Array(many),
    })
}

fn first_bytes(bytes: &[u8]) -> Result<&[u8], String> {
    for field in Fields(bytes) {
        if let (1, Wire::Bytes(inner)) = field? {
            return Ok(inner);
        }
    }
    Ok(&[])
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value as i32,
            (3, Wire::Bytes(value)) => text = utf8(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Varint(value)) => seconds = value as i64,
            (2, Wire::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    // As Go's `time.Unix` takes nanoseconds outside of a second.
    let seconds = seconds.saturating_add(nanos.div_euclid(1_000_000_000).into());
    Ok(coracle_schema::print_time(seconds, nanos.rem_euclid(1_000_000_000) as u32, micro).into())
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "proto: invalid UTF-8".into())
}
