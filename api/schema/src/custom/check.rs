//! Whether a schema is structural, and whether all of it can be carried out.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/schema/validation.go

use super::{CustomSchema, FieldError, FieldErrorKind, each_schema, is_true, validate::join};
use regex::Regex;
use serde_json::Value;

/// What is wrong with an `openAPIV3Schema`; `path` is where it stands in its definition.
pub fn check(root: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut checker = Checker { errors: &mut errors };
    match root["type"].as_str() {
        None => {
            checker.errors.push(FieldError::required(&join(path, "type"), "must not be empty at the root"))
        }
        Some("object") => {}
        Some(other) => {
            checker.errors.push(FieldError::invalid(
                &join(path, "type"),
                other,
                "must be object at the root",
            ));
        }
    }
    for field in ["nullable"] {
        if is_true(root, field) {
            checker
                .errors
                .push(FieldError::forbidden(&join(path, field), "nullable cannot be true at the root"));
        }
    }
    checker.schema(root, path, true);
    if errors.is_empty() {
        let compiled = CustomSchema::new(root.clone());
        defaults(&compiled, root, path, &mut errors);
    }
    errors
}

struct Checker<'a> {
    errors: &'a mut Vec<FieldError>,
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REFUSED: [(&str, &str); 6] = [
    ("$ref", "$ref is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("id", "id is not supported"),
];

impl Checker<'_> {
    fn forbid(&mut self, path: &str, field: &str, why: &str) {
        self.errors.push(FieldError::forbidden(&join(path, field), why));
    }

    fn schema(&mut self, schema: &Value, path: &str, root: bool) {
        for (field, why) in REFUSED {
            if schema.get(field).is_some() {
                self.forbid(path, field, why);
            }
        }
        if is_true(schema, "uniqueItems") {
            self.forbid(
                path,
                "uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
        self.kind(schema, path, root);
        self.extensions(schema, path);
        if let Some(pattern) = schema["pattern"].as_str()
            && let Err(error) = Regex::new(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.errors.push(FieldError::invalid(&join(path, "pattern"), pattern, why));
        }
        if schema["additionalProperties"] == Value::Bool(false) {
            self.forbid(path, "additionalProperties", "additionalProperties cannot be set to false");
        }
        let has_properties = schema["properties"].as_object().is_some_and(|all| !all.is_empty());
        if has_properties && schema.get("additionalProperties").is_some() {
            self.forbid(
                path,
                "additionalProperties",
                "additionalProperties and properties are mutual exclusive",
            );
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{}[{name}]", join(path, "properties"));
            if root && name == "metadata" {
                self.root_metadata(inner, &at);
            }
            self.schema(inner, &at, false);
        }
        for field in ["items", "additionalProperties"] {
            if schema[field].is_object() {
                self.schema(&schema[field], &join(path, field), false);
            }
        }
        if schema["items"].is_array() {
            self.forbid(path, "items", "items must be a schema object and not an array");
        }
        if schema["type"] == "array" && !schema["items"].is_object() {
            self.errors.push(FieldError::required(&join(path, "items"), "must be specified"));
        }
        self.junctors(schema, path);
    }

    fn root_metadata(&mut self, metadata: &Value, path: &str) {
        let other = metadata["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(name, _)| !matches!(name.as_str(), "name" | "generateName"));
        if other || metadata["type"].as_str().is_some_and(|kind| kind != "object") {
            self.errors.push(FieldError::forbidden(
                path,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            ));
        }
    }

    fn kind(&mut self, schema: &Value, path: &str, root: bool) {
        let at = join(path, "type");
        match schema["type"].as_str() {
            Some(kind) if TYPES.contains(&kind) => {
                if is_true(schema, "x-kubernetes-int-or-string") {
                    self.forbid(path, "type", "must be empty if x-kubernetes-int-or-string is true");
                }
            }
            Some(kind) => self.errors.push(FieldError {
                path: at,
                kind: FieldErrorKind::NotSupported {
                    value: kind.into(),
                    allowed: TYPES.iter().map(ToString::to_string).collect(),
                },
            }),
            None if root
                || is_true(schema, "x-kubernetes-int-or-string")
                || is_true(schema, "x-kubernetes-preserve-unknown-fields") => {}
            None => {
                self.errors.push(FieldError::required(&at, "must not be empty for specified object fields"))
            }
        }
    }

    fn extensions(&mut self, schema: &Value, path: &str) {
        if is_true(schema, "x-kubernetes-embedded-resource") {
            if schema["type"].as_str() != Some("object") {
                let why = "must be object if x-kubernetes-embedded-resource is true";
                self.errors.push(FieldError::invalid(&join(path, "type"), schema["type"].clone(), why));
            }
            if !is_true(schema, "x-kubernetes-preserve-unknown-fields") && !schema["properties"].is_object() {
                let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
                self.errors.push(FieldError::required(&join(path, "properties"), why));
            }
        }
        if let Some(list) = schema["x-kubernetes-list-type"].as_str() {
            self.list_type(schema, list, path);
        } else if schema.get("x-kubernetes-list-map-keys").is_some() {
            self.forbid(
                path,
                "x-kubernetes-list-map-keys",
                "must only be used with x-kubernetes-list-type map",
            );
        }
    }

    fn list_type(&mut self, schema: &Value, list: &str, path: &str) {
        let at = join(path, "x-kubernetes-list-type");
        if schema["type"].as_str() != Some("array") {
            let why = "must be array if x-kubernetes-list-type is specified";
            self.errors.push(FieldError::invalid(&join(path, "type"), schema["type"].clone(), why));
        }
        match list {
            "atomic" => {}
            "set" => {
                let items = &schema["items"];
                if items["type"] == "object" && items["x-kubernetes-map-type"].as_str() != Some("atomic") {
                    let why = "must be set to atomic if x-kubernetes-list-type is set and items are objects";
                    self.errors.push(FieldError::invalid(&at, list, why));
                }
            }
            "map" => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                if keys.is_none_or(Vec::is_empty) {
                    let why = "must not be empty if x-kubernetes-list-type is map";
                    self.errors.push(FieldError::required(&join(path, "x-kubernetes-list-map-keys"), why));
                }
                for key in keys.into_iter().flatten().filter_map(Value::as_str) {
                    let items = &schema["items"];
                    if items["properties"].get(key).is_none() {
                        let at = join(path, "x-kubernetes-list-map-keys");
                        let why = "entries must all be names of item properties";
                        self.errors.push(FieldError::invalid(&at, key, why));
                        continue;
                    }
                    let required = items["required"].as_array().into_iter().flatten().any(|name| name == key);
                    if !required && items["properties"][key].get("default").is_none() {
                        let at = format!("{}.items.properties[{key}].default", path);
                        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        self.errors.push(FieldError::required(&at, why));
                    }
                }
            }
            other => self.errors.push(FieldError {
                path: at,
                kind: FieldErrorKind::NotSupported {
                    value: other.into(),
                    allowed: ["atomic", "map", "set"].map(String::from).to_vec(),
                },
            }),
        }
    }

    /// Junctors only narrow: they say nothing about types, and nothing that the server acts on.
    fn junctors(&mut self, schema: &Value, path: &str) {
        let int_or_string = is_true(schema, "x-kubernetes-int-or-string");
        let mut all: Vec<(String, &Value)> = Vec::new();
        for field in ["allOf", "anyOf", "oneOf"] {
            for (at, inner) in schema[field].as_array().into_iter().flatten().enumerate() {
                all.push((format!("{}[{at}]", join(path, field)), inner));
            }
        }
        if schema["not"].is_object() {
            all.push((join(path, "not"), &schema["not"]));
        }
        for (at, inner) in all {
            let mut found = Vec::new();
            each_schema(inner, &mut |schema| {
                for (field, what) in [
                    ("type", "must be empty to be structural"),
                    ("default", "must be undefined to be structural"),
                    ("nullable", "must be false to be structural"),
                    ("description", "must be empty to be structural"),
                    ("title", "must be empty to be structural"),
                    ("additionalProperties", "must be undefined to be structural"),
                    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
                    ("x-kubernetes-embedded-resource", "must be false to be structural"),
                ] {
                    let stated = schema.get(field).is_some_and(|value| *value != Value::Bool(false));
                    if stated && !(field == "type" && int_or_string) {
                        found.push(FieldError::forbidden(&join(&at, field), what));
                    }
                }
                if schema["x-kubernetes-validations"].as_array().is_some_and(|rules| !rules.is_empty()) {
                    found.push(FieldError::forbidden(
                        &join(&at, "x-kubernetes-validations"),
                        "must be empty to be structural",
                    ));
                }
                if let Some(pattern) = schema["pattern"].as_str()
                    && let Err(error) = Regex::new(pattern)
                {
                    let why = format!("must be a valid regular expression, but isn't: {error}");
                    found.push(FieldError::invalid(&join(&at, "pattern"), pattern, why));
                }
            });
            self.errors.append(&mut found);
        }
    }
}

/// Every default fits its own schema and is not pruned by it.
fn defaults(compiled: &CustomSchema, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(default) = schema.get("default") {
        let at = join(path, "default");
        let mut pruned = default.clone();
        super::prune::prune_part(schema, &mut pruned);
        if pruned != *default {
            errors.push(FieldError::invalid(&at, default.clone(), "must not have unknown fields"));
        }
        errors.extend(compiled.validate_part(schema, default, &at));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        defaults(compiled, inner, &format!("{}[{name}]", join(path, "properties")), errors);
    }
    for field in ["items", "additionalProperties"] {
        if schema[field].is_object() {
            defaults(compiled, &schema[field], &join(path, field), errors);
        }
    }
}
