//! OpenAPI documents in the form of gnostic's `openapi.v2.Document` and `openapi.v3.Document`.
//!
//! kubectl asks for nothing else when it meets a kind that it can't find, and says "no matches for kind" only after it
//! could read this; operators that compare what they applied (TiDB's) read the third version. Schemas are complete; of
//! operations there is what clients look at (ids, media types, extensions), their parameters and responses are left to
//! the JSON form.
//! Source: https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto and
//!         https://github.com/google/gnostic/blob/main/openapiv3/OpenAPIv3.proto

use serde_json::Value;

/// The names and field numbers of a version.
pub struct Dialect {
    /// The document's field that says which one it is.
    version: &'static str,
    /// The document's `paths`, and its list of paths.
    paths: [u32; 2],
    info_version: u32,
    /// Of `PathItem`: its first method and its extensions.
    path_item: [u32; 2],
    /// Where the document has its named schemas, in JSON and as messages within messages.
    schemas: (&'static str, &'static [u32]),
    /// Whether what a schema holds is `SchemaOrReference`.
    or_reference: bool,
    schema: &'static [(&'static str, u32, Kind)],
    extensions: u32,
}

/// How a field of a schema is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Flag,
    Count,
    Double,
    Value,
    Values,
    /// `Schema`
    Schema,
    /// What a schema holds schemas as: `Schema`, or `SchemaOrReference`.
    Schemas,
    /// In a message of its own.
    Items,
    Named,
    Additional,
    /// `TypeItem`
    Type,
    /// `DefaultType`
    Default,
}

pub const V2: Dialect = Dialect {
    version: "swagger",
    paths: [8, 2],
    info_version: 2,
    path_item: [2, 10],
    schemas: ("/definitions", &[9]),
    or_reference: false,
    schema: &[
        ("$ref", 1, Kind::Text),
        ("format", 2, Kind::Text),
        ("title", 3, Kind::Text),
        ("description", 4, Kind::Text),
        ("default", 5, Kind::Value),
        ("required", 19, Kind::Texts),
        ("enum", 20, Kind::Values),
        ("additionalProperties", 21, Kind::Additional),
        ("type", 22, Kind::Type),
        ("items", 23, Kind::Items),
        ("allOf", 24, Kind::Schemas),
        ("properties", 25, Kind::Named),
    ],
    extensions: 31,
};

pub const V3: Dialect = Dialect {
    version: "openapi",
    paths: [4, 1],
    info_version: 6,
    path_item: [4, 14],
    schemas: ("/components/schemas", &[5, 1]),
    or_reference: true,
    schema: &[
        ("nullable", 1, Kind::Flag),
        ("title", 9, Kind::Text),
        ("multipleOf", 10, Kind::Double),
        ("maximum", 11, Kind::Double),
        ("exclusiveMaximum", 12, Kind::Flag),
        ("minimum", 13, Kind::Double),
        ("exclusiveMinimum", 14, Kind::Flag),
        ("maxLength", 15, Kind::Count),
        ("minLength", 16, Kind::Count),
        ("pattern", 17, Kind::Text),
        ("maxItems", 18, Kind::Count),
        ("minItems", 19, Kind::Count),
        ("uniqueItems", 20, Kind::Flag),
        ("maxProperties", 21, Kind::Count),
        ("minProperties", 22, Kind::Count),
        ("required", 23, Kind::Texts),
        ("enum", 24, Kind::Values),
        ("type", 25, Kind::Text),
        ("allOf", 26, Kind::Schemas),
        ("oneOf", 27, Kind::Schemas),
        ("anyOf", 28, Kind::Schemas),
        ("not", 29, Kind::Schema),
        ("items", 30, Kind::Items),
        ("properties", 31, Kind::Named),
        ("additionalProperties", 32, Kind::Additional),
        ("default", 33, Kind::Default),
        ("description", 34, Kind::Text),
        ("format", 35, Kind::Text),
    ],
    extensions: 36,
};

/// The methods of a path in the order of their numbers in `PathItem`.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

impl Dialect {
    pub fn encode(&self, document: &Value) -> Vec<u8> {
        let mut out = Message::default();
        out.text(1, &document[self.version]);
        let mut info = Message::default();
        info.text(1, &document["info"]["title"]);
        info.text(self.info_version, &document["info"]["version"]);
        out.message(2, &info);
        let mut paths = Message::default();
        for (path, item) in entries(&document["paths"]) {
            paths.named(self.paths[1], path, &self.path_item(item));
        }
        out.message(self.paths[0], &paths);
        let (at, numbers) = self.schemas;
        let schemas = self.named(document.pointer(at).unwrap_or(&Value::Null));
        let nested = numbers.iter().rev().fold(schemas, |inner, number| {
            let mut outer = Message::default();
            outer.message(*number, &inner);
            outer
        });
        out.0.extend(nested.0);
        out.0
    }

    fn path_item(&self, item: &Value) -> Message {
        let mut out = Message::default();
        let [first, extensions] = self.path_item;
        for (number, method) in (first..).zip(METHODS) {
            if item[method].is_object() {
                out.message(number, &operation(&item[method]));
            }
        }
        out.extensions(extensions, item);
        out
    }

    fn schema(&self, schema: &Value) -> Message {
        let mut out = Message::default();
        for (name, number, kind) in self.schema {
            if let Some(value) = schema.get(name).filter(|value| !value.is_null()) {
                self.field(&mut out, *number, *kind, value);
            }
        }
        out.extensions(self.extensions, schema);
        out
    }

    fn field(&self, out: &mut Message, number: u32, kind: Kind, value: &Value) {
        let mut inner = Message::default();
        match kind {
            Kind::Text => out.text(number, value),
            Kind::Texts => out.texts(number, value),
            Kind::Flag => out.number(number, u64::from(*value == true)),
            Kind::Count => out.number(number, value.as_u64().unwrap_or_default()),
            Kind::Double => out.double(number, value.as_f64().unwrap_or_default()),
            Kind::Value => out.message(number, &any(value)),
            Kind::Values => items(value).for_each(|value| out.message(number, &any(value))),
            Kind::Schema => out.message(number, &self.schema(value)),
            Kind::Schemas => items(value).for_each(|value| out.message(number, &self.nested(value))),
            Kind::Items => {
                inner.message(1, &self.nested(value));
                out.message(number, &inner);
            }
            Kind::Named => out.message(number, &self.named(value)),
            Kind::Additional => {
                match value {
                    Value::Bool(allowed) => inner.number(2, u64::from(*allowed)),
                    value => inner.message(1, &self.nested(value)),
                }
                out.message(number, &inner);
            }
            Kind::Type => {
                inner.text(1, value);
                inner.texts(1, value);
                out.message(number, &inner);
            }
            Kind::Default => {
                match value {
                    Value::Number(_) => inner.double(1, value.as_f64().unwrap_or_default()),
                    Value::Bool(value) => inner.number(2, u64::from(*value)),
                    Value::String(_) => inner.text(3, value),
                    // There is no form for others.
                    _ => return,
                }
                out.message(number, &inner);
            }
        }
    }

    fn nested(&self, schema: &Value) -> Message {
        if !self.or_reference {
            return self.schema(schema);
        }
        let mut out = Message::default();
        if schema["$ref"].is_string() {
            let mut reference = Message::default();
            reference.text(1, &schema["$ref"]);
            reference.text(3, &schema["description"]);
            out.message(2, &reference);
        } else {
            out.message(1, &self.schema(schema));
        }
        out
    }

    fn named(&self, schemas: &Value) -> Message {
        let mut out = Message::default();
        for (name, value) in entries(schemas) {
            out.named(1, name, &self.nested(value));
        }
        out
    }
}

/// Only the second version has media types here.
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

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
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

    fn double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field << 3 | 1));
        self.0.extend_from_slice(&value.to_le_bytes());
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
        for value in items(values) {
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
        let seen = V2.schema(&json!({"type": "object", "$ref": "r", "x-k": [1]}));
        // _ref = 1, type = 22 { value = 1 }, vendor_extension = 31 { name = 1, value = 2 { yaml = 2 } }
        let expected = b"\x0a\x01r\xb2\x01\x08\x0a\x06object\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]";
        assert_eq!(seen.0, expected);
        let seen =
            V3.schema(&json!({"properties": {"a": {"$ref": "r"}, "b": {"default": 1, "minLength": 2}}}));
        // properties = 31 { named = 1 { name = 1, value = 2 { reference = 2 { _ref = 1 } } } and in the other one
        // { schema = 1 { min_length = 16, default = 33 { number = 1 } } }
        let expected = b"\xfa\x01\x24\x0a\x0a\x0a\x01a\x12\x05\x12\x03\x0a\x01r\
            \x0a\x16\x0a\x01b\x12\x11\x0a\x0f\x80\x01\x02\x8a\x02\x09\x09\0\0\0\0\0\0\xf0\x3f";
        assert_eq!(seen.0, expected);
    }

    #[test]
    fn long_texts_have_lengths_of_several_bytes() {
        let seen = V2.schema(&json!({"description": "d".repeat(300)}));
        assert_eq!(seen.0[..3], [0x22, 0xac, 0x02]);
        assert_eq!(seen.0.len(), 303);
    }
}
