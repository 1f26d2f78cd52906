//! Protobuf bodies of requests, as typed Go clients (and several commands of kubectl) send them, read into JSON.
//!
//! Driven by the field numbers of the schema's table; there is no code per kind. Go writes every plain field, also when
//! it is empty, and pointers only when they are set. JSON leaves empty plain fields out, so this does too; the fields
//! whose emptiness means something are the tables below.
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_schema::{FieldRef, GroupVersionKind, Node, Registry, Scalar, Shape, Struct};
use serde_json::{Map, Value};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// Deeper than any object of Kubernetes; a schema that refers to itself must not exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Optional numbers that are pointers in Go: zero is a value.
const ZERO_COUNTS: [&str; 33] = [
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completions",
    "defaultMode",
    "deletionGracePeriodSeconds",
    "expirationSeconds",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "leaseDurationSeconds",
    "leaseTransitions",
    "limitBytes",
    "maxFailedIndexes",
    "minDomains",
    "minReplicas",
    "mode",
    "parallelism",
    "partition",
    "port",
    "priority",
    "progressDeadlineSeconds",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsUser",
    "sinceSeconds",
    "stabilizationWindowSeconds",
    "startingDeadlineSeconds",
    "successfulJobsHistoryLimit",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
];
/// The same for booleans.
const FALSE_COUNTS: [&str; 20] = [
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "attachRequired",
    "automountServiceAccountToken",
    "blockOwnerDeletion",
    "controller",
    "enableServiceLinks",
    "hostUsers",
    "immutable",
    "optional",
    "orphanDependents",
    "privileged",
    "readOnlyRootFilesystem",
    "ready",
    "runAsNonRoot",
    "serving",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "suspend",
    "terminating",
];
/// The same for strings.
const EMPTY_COUNTS: [&str; 2] = ["ingressClassName", "storageClassName"];

/// The object in the envelope, with its kind and version.
pub fn decode(bytes: &[u8]) -> Result<Value, String> {
    let body = bytes.strip_prefix(MAGIC).ok_or("provided data does not appear to be a protobuf message")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(body) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Fields(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind { group: group.into(), version: version.into(), kind: kind.as_str().into() };
    let schema = Registry::builtin()
        .schema(&gvk)
        .ok_or_else(|| format!("no kind \"{kind}\" is registered for version \"{api_version}\""))?;
    let mut object = Map::new();
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), api_version.into());
    message(schema.shape(), &[], raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.field();
        if item.is_err() {
            self.0 = &[];
        }
        Some(item)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Wire<'a>), String> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| "proto: illegal tag")?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "proto: invalid length")?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok((number, wire))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("proto: integer overflow".into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "unexpected EOF".into())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (head, tail) = self.0.split_at_checked(length).ok_or("unexpected EOF")?;
        self.0 = tail;
        Ok(head)
    }
}

/// `path` leads to an embedded struct: its fields are fields of `shape` in JSON.
fn message(
    shape: Struct<'_>,
    path: &[u32],
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("proto: nested too deeply".into());
    }
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let path: Vec<u32> = path.iter().copied().chain([number]).collect();
        if let Some(field) = shape.fields().find(|field| field.numbers().eq(path.iter().copied())) {
            put(field, wire, out, depth)?;
        } else if let Wire::Bytes(inner) = wire {
            let embeds = |field: FieldRef<'_>| {
                let numbers: Vec<u32> = field.numbers().collect();
                numbers.len() > path.len() && numbers.starts_with(&path)
            };
            if shape.fields().any(embeds) {
                message(shape, &path, inner, out, depth + 1)?;
            }
        }
    }
    Ok(())
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
            if field.required() || !is_unset(name, &value) {
                out.insert(name.into(), value);
            }
        }
    }
    Ok(())
}

/// Whether Go's JSON would leave the plain field out.
fn is_unset(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && !EMPTY_COUNTS.contains(&name),
        Value::Bool(set) => !set && !FALSE_COUNTS.contains(&name),
        Value::Number(number) => number.as_f64() == Some(0.0) && !ZERO_COUNTS.contains(&name),
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
            message(shape, &[], bytes, &mut fields, depth + 1)?;
            Ok(Value::Object(fields))
        }
        (Shape::Scalar(scalar), Wire::Bytes(bytes)) => from_bytes(scalar, bytes),
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

fn from_bytes(scalar: Scalar, bytes: &[u8]) -> Result<Value, String> {
    match scalar {
        Scalar::String => utf8(bytes).map(Value::from),
        Scalar::Bytes => Ok(STANDARD.encode(bytes).into()),
        Scalar::Quantity => utf8(first_bytes(bytes)?).map(Value::from),
        Scalar::IntOrString => int_or_string(bytes),
        Scalar::Time => time(bytes, false),
        Scalar::MicroTime => time(bytes, true),
        Scalar::Raw | Scalar::Json | Scalar::Fields => {
            let raw = first_bytes(bytes)?;
            if raw.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(raw).map_err(|error| error.to_string())
            }
        }
        Scalar::Strings => Fields(bytes)
            .map(|field| match field? {
                (_, Wire::Bytes(text)) => utf8(text).map(Value::from),
                _ => Err("proto: wrong wireType".into()),
            })
            .collect(),
        Scalar::Empty => Ok(Value::Object(Map::new())),
        Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Double => Err("proto: wrong wireType".into()),
        Scalar::SchemaOrArray | Scalar::SchemaOrBool | Scalar::SchemaOrStrings => {
            Err("schemas of custom resources are read from JSON and YAML only".into())
        }
    }
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
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|error| error.to_string())?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(time.strftime(format).to_string().into())
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "proto: invalid UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "/work/shared/kubernetes-1.36/roundtrip";

    /// Kinds of the reference data that are never the body of a request.
    fn is_body(name: &str) -> bool {
        ![
            "WatchEvent",
            "SerializedReference",
            "APIGroup",
            "APIVersions",
            "PodStatusResult",
            "RangeAllocation",
            "Status",
        ]
        .iter()
        .any(|kind| name.ends_with(kind))
    }

    #[test]
    fn reference_objects_read_the_same_from_protobuf_and_json() {
        let Ok(files) = std::fs::read_dir(GOLDEN) else { return };
        let mut differing = Vec::new();
        for file in files.filter_map(Result::ok) {
            let path = file.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|extension| extension != "pb") || !is_body(&name) {
                continue;
            }
            let bytes = std::fs::read(&path).expect("reads");
            let json = std::fs::read(path.with_extension("json")).expect("reads");
            let mut expected: Value = serde_json::from_slice(&json).expect("JSON");
            if name == "core.v1.Pod" {
                without_health_messages(&mut expected);
            }
            match decode(&bytes) {
                Ok(seen) if seen == expected => {}
                Ok(seen) => differing.push(format!("{name}: {}", first_difference("", &seen, &expected))),
                Err(error) => differing.push(format!("{name}: {error}")),
            }
        }
        assert!(differing.is_empty(), "{differing:#?}");
    }

    /// The published crates do not know the number of this field of 1.36 yet. Only kubelets write it.
    fn without_health_messages(pod: &mut Value) {
        for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
            for container in pod["status"][list].as_array_mut().into_iter().flatten() {
                for status in container["allocatedResourcesStatus"].as_array_mut().into_iter().flatten() {
                    for health in status["resources"].as_array_mut().into_iter().flatten() {
                        crate::object::remove(health, "message");
                    }
                }
            }
        }
    }

    fn first_difference(path: &str, seen: &Value, expected: &Value) -> String {
        if let (Value::Object(a), Value::Object(b)) = (seen, expected) {
            for key in a.keys().chain(b.keys()) {
                if a.get(key) != b.get(key) {
                    return first_difference(&format!("{path}.{key}"), &seen[key], &expected[key]);
                }
            }
        }
        if let (Value::Array(a), Value::Array(b)) = (seen, expected)
            && a.len() == b.len()
        {
            for (at, (one, other)) in a.iter().zip(b).enumerate() {
                if one != other {
                    return first_difference(&format!("{path}[{at}]"), one, other);
                }
            }
        }
        format!("{path}: {seen} instead of {expected}")
    }

    #[test]
    fn broken_input_is_refused() {
        for bytes in [
            &b""[..],
            b"k8s",
            b"k8s\0\x0a\xff",
            b"k8s\0\x12\x05abc",
            b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
