//! Whether a schema is structural: its shape stands apart from what narrows values, and is complete.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/schema/validation.go and
//! complete.go beside it

use super::{FieldError, is_true, validate::join};
use regex::Regex;
use serde_json::Value;

/// Where in an object a schema's data is.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// In upstream's order, which is that of the texts.
pub(super) fn structural(root: &Value, path: &str) -> Vec<FieldError> {
    let mut structure = Structure { errors: Vec::new() };
    structure.shape(root, Level::Root, path);
    structure.complete(root, Some(root), path, path);
    structure.errors.sort_by_cached_key(|error| (error.path.clone(), format!("{:?}", error.kind)));
    structure.errors
}

struct Structure {
    errors: Vec<FieldError>,
}

const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// What a schema within a junctor says nothing about, and what is said if it does.
const BARE: [(&str, &str); 12] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];

/// `anyOf` of an integer and a string: the one junctor that may name types.
fn is_int_or_string(schema: &Value) -> bool {
    let of = |at: usize, kind: &str| schema["anyOf"][at] == serde_json::json!({ "type": kind });
    schema["anyOf"].as_array().is_some_and(|all| all.len() == 2) && of(0, "integer") && of(1, "string")
}

fn list<'a>(schema: &'a Value, field: &str, path: &str) -> Vec<(String, &'a Value)> {
    let at = join(path, field);
    let all = schema[field].as_array().into_iter().flatten().enumerate();
    all.map(|(number, inner)| (format!("{at}[{number}]"), inner)).collect()
}

fn fields<'a>(schema: &'a Value, path: &str) -> Vec<(&'a str, String, &'a Value)> {
    let at = join(path, "properties");
    let all = schema["properties"].as_object().into_iter().flatten();
    all.map(|(name, inner)| (name.as_str(), format!("{at}[{name}]"), inner)).collect()
}

impl Structure {
    fn required(&mut self, path: &str, field: &str, why: &str) {
        self.errors.push(FieldError::required(&join(path, field), why));
    }

    fn forbid(&mut self, path: &str, field: &str, why: &str) {
        self.errors.push(FieldError::forbidden(&join(path, field), why));
    }

    fn invalid(&mut self, path: &str, schema: &Value, field: &str, why: &str) {
        let value = if schema[field].is_null() { Value::from("") } else { schema[field].clone() };
        self.errors.push(FieldError::invalid(&join(path, field), value, why));
    }

    fn shape(&mut self, schema: &Value, level: Level, path: &str) {
        let kind = schema["type"].as_str().unwrap_or_default();
        let embedded = is_true(schema, "x-kubernetes-embedded-resource");
        let keeps = is_true(schema, "x-kubernetes-preserve-unknown-fields");
        let int_or_string = is_true(schema, "x-kubernetes-int-or-string");
        let has_others = !schema["additionalProperties"].is_null();
        if schema["items"].is_object() {
            self.shape(&schema["items"], Level::Item, &join(path, "items"));
        } else if kind == "array" {
            self.required(path, "items", "must be specified");
        }
        for (_, at, inner) in fields(schema, path) {
            self.shape(inner, Level::Field, &at);
        }
        if has_others && level == Level::Root {
            self.forbid(path, "additionalProperties", "must not be used at the root");
        }
        if schema["additionalProperties"].is_object() {
            self.shape(&schema["additionalProperties"], Level::Field, &join(path, "additionalProperties"));
        }
        for (field, is_set) in
            [("x-kubernetes-preserve-unknown-fields", keeps), ("x-kubernetes-embedded-resource", embedded)]
        {
            if int_or_string && is_set {
                self.invalid(path, schema, field, "must be false if x-kubernetes-int-or-string is true");
            }
        }
        self.values(schema, path, is_int_or_string(schema), is_int_or_string(&schema["allOf"][0]));
        const EMBEDDED: &str = "must be object if x-kubernetes-embedded-resource is true";
        match (kind, level) {
            ("", _) if embedded => self.required(path, "type", EMBEDDED),
            (_, _) if embedded && kind != "object" => self.invalid(path, schema, "type", EMBEDDED),
            ("", _) if int_or_string || keeps => {}
            ("", Level::Root) => self.required(path, "type", "must not be empty at the root"),
            ("", Level::Item) => self.required(path, "type", "must not be empty for specified array items"),
            ("", Level::Field) => {
                self.required(path, "type", "must not be empty for specified object fields")
            }
            _ => {}
        }
        if embedded && has_others {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            self.forbid(path, "additionalProperties", why);
        }
        if level == Level::Root && !matches!(kind, "" | "object") {
            self.invalid(path, schema, "type", "must be object at the root");
        }
        self.metadata(schema, level, path);
        let bare = schema["properties"].as_object().is_none_or(|all| all.is_empty());
        if embedded && !keeps && bare {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.required(path, "properties", why);
        }
    }

    /// `kind`, `apiVersion` and `metadata` are what they are everywhere.
    fn metadata(&mut self, schema: &Value, level: Level, path: &str) {
        let is_resource = level == Level::Root || is_true(schema, "x-kubernetes-embedded-resource");
        for (name, kind) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
            let own = &schema["properties"][name];
            if is_resource && own.is_object() && own["type"] != kind {
                let at = format!("{}[{name}]", join(path, "properties"));
                self.invalid(&at, own, "type", &format!("must be {kind}"));
            }
        }
        let own = &schema["properties"]["metadata"];
        if level == Level::Root && own.as_object().is_some_and(|own| !is_plain_metadata(own)) {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.forbid(path, "properties[metadata]", why);
        }
    }

    /// What narrows values. `types` and `first_types`: its `anyOf`, or that of the first of `allOf`, may name types.
    fn values(&mut self, schema: &Value, path: &str, types: bool, first_types: bool) {
        for field in JUNCTORS {
            for (number, (at, inner)) in list(schema, field, path).into_iter().enumerate() {
                if !(types && field == "anyOf") {
                    self.nested(inner, &at, first_types && field == "allOf" && number == 0);
                }
            }
        }
        if schema["not"].is_object() {
            self.nested(&schema["not"], &join(path, "not"), false);
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && let Err(error) = Regex::new(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.errors.push(FieldError::invalid(&join(path, "pattern"), pattern, why));
        }
    }

    fn nested(&mut self, schema: &Value, path: &str, types: bool) {
        self.values(schema, path, types, false);
        if schema["items"].is_object() {
            self.nested(&schema["items"], &join(path, "items"), false);
        }
        for (_, at, inner) in fields(schema, path) {
            self.nested(inner, &at, false);
        }
        let empty = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        for (field, why) in BARE {
            let always = matches!(field, "additionalProperties" | "default");
            if if always { !schema[field].is_null() } else { !empty(&schema[field]) } {
                self.forbid(path, field, why);
            }
        }
        if schema["externalDocs"].is_object() {
            self.forbid(path, "externalDocs", "must be undefined to be structural");
        }
        if !empty(&schema["x-kubernetes-validations"]) {
            self.forbid(path, "x-kubernetes-validations", "must be empty to be structural");
        }
        if schema["properties"]["metadata"].is_object() {
            self.forbid(path, "properties[metadata]", "must not be specified in a nested context");
        }
    }

    /// Every field that `values` speaks of at `path` is one of the `schema` at `known`.
    fn complete(&mut self, values: &Value, schema: Option<&Value>, known: &str, path: &str) {
        for field in JUNCTORS {
            for (at, inner) in list(values, field, path) {
                self.complete_nested(inner, schema, known, &at);
            }
        }
        if values["not"].is_object() {
            self.complete_nested(&values["not"], schema, known, &join(path, "not"));
        }
    }

    fn complete_nested(&mut self, values: &Value, schema: Option<&Value>, known: &str, path: &str) {
        let Some(own) = schema else {
            self.errors.push(FieldError::required(known, &format!("because it is defined in {path}")));
            return;
        };
        self.complete(values, schema, known, path);
        if values["items"].is_object() {
            let items = Some(&own["items"]).filter(|items| items.is_object());
            self.complete_nested(&values["items"], items, &join(known, "items"), &join(path, "items"));
        }
        for (name, at, inner) in fields(values, path) {
            let known = format!("{}[{name}]", join(known, "properties"));
            self.complete_nested(inner, own["properties"].get(name), &known, &at);
        }
    }
}

fn is_plain_metadata(metadata: &serde_json::Map<String, Value>) -> bool {
    let names = |fields: &serde_json::Map<String, Value>| {
        fields.keys().all(|name| matches!(name.as_str(), "name" | "generateName"))
    };
    metadata.iter().all(|(field, value)| match field.as_str() {
        "type" | "default" => true,
        "properties" => value.as_object().is_none_or(names),
        _ => false,
    })
}
