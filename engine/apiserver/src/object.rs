//! Objects as JSON values: reading and writing metadata, and encoding for the store.
//!
//! Invariant: what [`encode`] gives carries `apiVersion`, `kind` and exactly one `metadata.resourceVersion`, whose
//! digits the store fills in.

use coracle_schema::UNKNOWN;
use coracle_store::{Body, Meta, OwnerReference};
use serde_json::{Map, Value};

/// The order in which the stock server writes ObjectMeta.
const META_ORDER: [&str; 14] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
];

/// `metadata` as a map; made when absent.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let slot = &mut object["metadata"];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(fields) => fields,
        _ => unreachable!("made an object above"),
    }
}

/// A string of `metadata`; empty when absent.
pub fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

pub fn finalizers(object: &Value) -> Vec<&str> {
    strings(&object["metadata"]["finalizers"])
}

/// The strings of an array; empty for everything else.
pub fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Takes a field out of an object, keeping the order of the others.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut().and_then(|fields| fields.shift_remove(field))
}

/// The time as metav1.Time writes it.
pub fn now() -> String {
    time_string(jiff::Timestamp::now())
}

pub fn time_string(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn encode(object: &Value) -> Body {
    let mut json = Vec::with_capacity(2048);
    let mut revision_at = 0;
    json.push(b'{');
    for field in ["kind", "apiVersion"] {
        if json.len() > 1 {
            json.push(b',');
        }
        put_field(&mut json, field, &object[field]);
    }
    json.push(b',');
    put_key(&mut json, "metadata");
    let metadata = object["metadata"].as_object();
    put_metadata(&mut json, metadata, &mut revision_at);
    for (field, value) in unknown_last(object.as_object()) {
        if !matches!(field.as_str(), "kind" | "apiVersion" | "metadata") {
            json.push(b',');
            put_field(&mut json, field, value);
        }
    }
    json.push(b'}');
    Body { json, revision_at }
}

fn put_metadata(json: &mut Vec<u8>, metadata: Option<&Map<String, Value>>, revision_at: &mut usize) {
    json.push(b'{');
    let mut first = true;
    let mut separate = |json: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            json.push(b',');
        }
    };
    for field in META_ORDER {
        if field == "resourceVersion" {
            separate(json);
            json.extend_from_slice(b"\"resourceVersion\":\"");
            *revision_at = json.len();
            json.push(b'"');
        } else if let Some(value) =
            metadata.and_then(|fields| fields.get(field)).filter(|value| !value.is_null())
        {
            separate(json);
            put_field(json, field, value);
        }
    }
    for (field, value) in unknown_last(metadata) {
        if !META_ORDER.contains(&field.as_str()) {
            separate(json);
            put_field(json, field, value);
        }
    }
    json.push(b'}');
}

/// Parts of the object were put in after it.
fn unknown_last(fields: Option<&Map<String, Value>>) -> impl Iterator<Item = (&String, &Value)> {
    let unknown = fields.and_then(|fields| fields.get_key_value(UNKNOWN));
    fields.into_iter().flatten().filter(|(field, _)| *field != UNKNOWN).chain(unknown)
}

fn put_key(json: &mut Vec<u8>, field: &str) {
    // Writing to a Vec and encoding strings do not fail.
    let _ = serde_json::to_writer(&mut *json, field);
    json.push(b':');
}

fn put_field(json: &mut Vec<u8>, field: &str, value: &Value) {
    put_key(json, field);
    let _ = serde_json::to_writer(&mut *json, value);
}

/// The fields that every reader of the store needs.
pub fn meta(object: &Value) -> Meta {
    let metadata = &object["metadata"];
    let mut labels: Vec<(Box<str>, Box<str>)> = metadata["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
        .collect();
    labels.sort();
    let owner_references =
        metadata["ownerReferences"].as_array().into_iter().flatten().map(owner_reference).collect();
    Meta {
        uid: meta_str(object, "uid").into(),
        labels: labels.into(),
        owner_references,
        finalizers: finalizers(object).into_iter().map(Box::from).collect(),
        deletion_timestamp: metadata["deletionTimestamp"].as_str().map(Box::from),
    }
}

fn owner_reference(value: &Value) -> OwnerReference {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    OwnerReference {
        api_version: text("apiVersion").into(),
        kind: text("kind").into(),
        name: text("name").into(),
        uid: text("uid").into(),
        controller: value["controller"].as_bool().unwrap_or_default(),
        block_owner_deletion: value["blockOwnerDeletion"].as_bool().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_goes_right_after_its_quote_and_metadata_keeps_the_stock_order() {
        let object = json!({
            "apiVersion": "v1",
            "metadata": {"labels": {"a": "b"}, "resourceVersion": "7", "name": "x", "uid": "u"},
            "kind": "ConfigMap",
            "data": {"k": "v"}
        });
        let body = encode(&object);
        let (head, tail) = body.json.split_at(body.revision_at);
        let joined = [head, b"42", tail].concat();
        assert_eq!(
            String::from_utf8_lossy(&joined),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","uid":"u","resourceVersion":"42","labels":{"a":"b"}},"data":{"k":"v"}}"#
        );
    }
}
