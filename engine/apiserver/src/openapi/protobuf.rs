//! The OpenAPI v2 document in the form of gnostic's `openapi.v2.Document`.
//!
//! kubectl asks for nothing else when it meets a kind that it can't find, and says "no matches for kind" only after it
//! could read this. Schemas are complete; of operations there is what clients look at (ids, media types, extensions),
//! their parameters and responses are left to the JSON form.
//! Source: https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto

use serde_json::Value;

/// The methods of a path with their field numbers in `PathItem`.
const METHODS: [(&str, u32); 7] =
    [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("options", 6), ("head", 7), ("patch", 8)];

pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    out.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in entries(&document["paths"]) {
        paths.named(2, path, &path_item(item));
    }
    out.message(8, &paths);
    out.message(9, &named_schemas(&document["definitions"]));
    out.0
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (method, number) in METHODS {
        if item[method].is_object() {
            out.message(number, &operation(&item[method]));
        }
    }
    out.extensions(10, item);
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &operation["tags"]);
    out.text(3, &operation["description"]);
    out.text(5, &operation["operationId"]);
    out.texts(6, &operation["produces"]);
    out.texts(7, &operation["consumes"]);
    out.extensions(13, operation);
    out
}

fn schema(schema: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, &schema["$ref"]);
    out.text(2, &schema["format"]);
    out.text(3, &schema["title"]);
    out.text(4, &schema["description"]);
    if !schema["default"].is_null() {
        out.message(5, &any(&schema["default"]));
    }
    out.texts(19, &schema["required"]);
    for value in schema["enum"].as_array().into_iter().flatten() {
        out.message(20, &any(value));
    }
    match &schema["additionalProperties"] {
        Value::Bool(allowed) => {
            let mut item = Message::default();
            item.number(2, u64::from(*allowed));
            out.message(21, &item);
        }
        inner @ Value::Object(_) => {
            let mut item = Message::default();
            item.message(1, &self::schema(inner));
            out.message(21, &item);
        }
        _ => {}
    }
    if !schema["type"].is_null() {
        let mut kind = Message::default();
        kind.text(1, &schema["type"]);
        kind.texts(1, &schema["type"]);
        out.message(22, &kind);
    }
    if schema["items"].is_object() {
        let mut items = Message::default();
        items.message(1, &self::schema(&schema["items"]));
        out.message(23, &items);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        out.message(24, &self::schema(part));
    }
    if schema["properties"].is_object() {
        out.message(25, &named_schemas(&schema["properties"]));
    }
    out.extensions(31, schema);
    out
}

fn named_schemas(schemas: &Value) -> Message {
    let mut out = Message::default();
    for (name, value) in entries(schemas) {
        out.named(1, name, &schema(value));
    }
    out
}

/// Readers take the text; JSON is YAML.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, value.to_string().as_bytes());
    out
}

fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

/// The bytes of a message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3));
        self.varint(value);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// Nothing when it is no text.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, values: &Value) {
        for value in values.as_array().into_iter().flatten() {
            self.text(field, value);
        }
    }

    fn named(&mut self, field: u32, name: &str, value: &Message) {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, value);
        self.message(field, &entry);
    }

    fn extensions(&mut self, field: u32, of: &Value) {
        for (name, value) in entries(of).filter(|(name, _)| name.starts_with("x-")) {
            self.named(field, name, &any(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_written_with_the_numbers_of_gnostic() {
        let seen = schema(&json!({"type": "object", "$ref": "r", "x-k": [1]}));
        // _ref = 1, type = 22 { value = 1 }, vendor_extension = 31 { name = 1, value = 2 { yaml = 2 } }
        let expected = b"\x0a\x01r\xb2\x01\x08\x0a\x06object\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]";
        assert_eq!(seen.0, expected);
    }

    #[test]
    fn long_texts_have_lengths_of_several_bytes() {
        let seen = schema(&json!({"description": "d".repeat(300)}));
        assert_eq!(seen.0[..3], [0x22, 0xac, 0x02]);
        assert_eq!(seen.0.len(), 303);
    }
}
