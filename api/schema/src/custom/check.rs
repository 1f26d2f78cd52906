//! Whether a schema of a CustomResourceDefinition can be carried out: it is structural, its defaults fit it, and it
//! uses nothing of OpenAPI that Kubernetes does not have.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go
//! (`ValidateCustomResourceDefinitionOpenAPISchema`)

use super::{CustomSchema, FieldError, FieldErrorKind, is_true, structural::structural, validate::join};
use serde_json::Value;

/// What is wrong with an `openAPIV3Schema`; `path` is where it stands in its definition.
pub fn check(root: &Value, path: &str) -> Vec<FieldError> {
    let mut openapi = OpenApi { errors: Vec::new(), unreadable: false };
    openapi.schema(root, path, Place { is_root: true, ..Place::default() });
    let mut errors = Vec::new();
    if is_true(root, "nullable") {
        errors.push(FieldError::forbidden(&join(path, "nullable"), "nullable cannot be true at the root"));
    }
    if !openapi.unreadable {
        let found = structural(root, path);
        if found.is_empty() {
            defaults(&CustomSchema::new(root.clone()), root, path, &mut errors);
        }
        errors.extend(found);
    }
    errors.extend(openapi.errors);
    errors
}

#[derive(Clone, Copy, Default)]
struct Place<'a> {
    is_root: bool,
    /// Within `metadata`, `kind` or `apiVersion` of a resource.
    in_metadata: bool,
    /// Why no default may be here.
    no_default: Option<&'a str>,
}

struct OpenApi {
    errors: Vec<FieldError>,
    /// It uses what no structural schema can say.
    unreadable: bool,
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REFUSED: [&str; 6] =
    ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];

impl OpenApi {
    fn forbid(&mut self, path: &str, field: &str, why: &str) {
        self.errors.push(FieldError::forbidden(&join(path, field), why));
    }

    fn required(&mut self, path: &str, field: &str, why: &str) {
        self.errors.push(FieldError::required(&join(path, field), why));
    }

    fn invalid(&mut self, path: &str, field: &str, value: impl Into<Value>, why: &str) {
        self.errors.push(FieldError::invalid(&join(path, field), value, why));
    }

    fn not_supported(&mut self, path: &str, field: &str, value: &str, allowed: &[&str]) {
        let allowed = allowed.iter().map(ToString::to_string).collect();
        let kind = FieldErrorKind::NotSupported { value: value.into(), allowed };
        self.errors.push(FieldError { path: join(path, field), kind });
    }

    fn schema(&mut self, schema: &Value, path: &str, place: Place<'_>) {
        self.standard(schema, path, place);
        if is_true(schema, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbid(path, "uniqueItems", why);
        }
        let properties = schema["properties"].as_object().filter(|all| !all.is_empty());
        let others = &schema["additionalProperties"];
        if properties.is_some() && (others.is_object() || *others == false) {
            let why = "additionalProperties and properties are mutual exclusive";
            self.forbid(path, "additionalProperties", why);
        }
        let inner = Place { is_root: false, ..place };
        if others.is_object() {
            let no_default = if place.in_metadata {
                Some("inside additionalProperties applying to object metadata")
            } else {
                place.no_default
            };
            self.schema(others, &join(path, "additionalProperties"), Place { no_default, ..inner });
        }
        for (name, own) in properties.into_iter().flatten() {
            let at = format!("{}[{name}]", join(path, "properties"));
            let is_resource = place.is_root || is_true(schema, "x-kubernetes-embedded-resource");
            let is_meta = is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
            let why = format!("in top-level {name}");
            let no_default = if is_meta && place.is_root { Some(why.as_str()) } else { place.no_default };
            let in_metadata = place.in_metadata || is_meta;
            self.schema(own, &at, Place { is_root: false, in_metadata, no_default });
        }
        for field in ["not", "items"] {
            if schema[field].is_object() {
                self.schema(&schema[field], &join(path, field), inner);
            }
        }
        for field in ["allOf", "oneOf", "anyOf"] {
            for (at, own) in schema[field].as_array().into_iter().flatten().enumerate() {
                self.schema(own, &format!("{}[{at}]", join(path, field)), inner);
            }
        }
        self.extensions(schema, path);
    }

    /// What OpenAPI knows and Kubernetes does not.
    fn standard(&mut self, schema: &Value, path: &str, place: Place<'_>) {
        let kind = schema["type"].as_str().unwrap_or_default();
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.not_supported(path, "type", kind, &TYPES);
        }
        if let (Some(why), true) = (place.no_default, schema.get("default").is_some()) {
            self.forbid(path, "default", &format!("must not be set {why}"));
        }
        for field in REFUSED.into_iter().filter(|field| schema.get(*field).is_some()) {
            self.unreadable = true;
            self.forbid(path, field, &format!("{field} is not supported"));
        }
        if kind == "null" {
            self.forbid(path, "type", "type cannot be set to null, use nullable as an alternative");
        }
        if schema["items"].is_array() {
            self.unreadable = true;
            self.forbid(path, "items", "items must be a schema object and not an array");
        }
        if place.in_metadata && is_true(schema, "x-kubernetes-embedded-resource") {
            self.forbid(path, "x-kubernetes-embedded-resource", "must not be used inside of resource meta");
        }
    }

    fn extensions(&mut self, schema: &Value, path: &str) {
        const MAP: &str = "x-kubernetes-map-type";
        if schema["x-kubernetes-preserve-unknown-fields"] == false {
            let field = "x-kubernetes-preserve-unknown-fields";
            self.invalid(path, field, false, "must be true or undefined");
        }
        if let Some(map) = schema[MAP].as_str() {
            self.typed(schema, path, "object", MAP);
            if !matches!(map, "atomic" | "granular") {
                self.not_supported(path, MAP, map, &["atomic", "granular"]);
            }
        }
        self.list(schema, path);
    }

    /// `field` makes sense only with that type.
    fn typed(&mut self, schema: &Value, path: &str, wanted: &str, field: &str) -> bool {
        let why = format!("must be {wanted} if {field} is specified");
        match schema["type"].as_str().unwrap_or_default() {
            own if own == wanted => return true,
            "" => self.required(path, "type", &why),
            own => self.invalid(path, "type", own, &why),
        }
        false
    }

    fn list(&mut self, schema: &Value, path: &str) {
        const LIST: &str = "x-kubernetes-list-type";
        const KEYS: &str = "x-kubernetes-list-map-keys";
        let given = schema[LIST].as_str();
        let items = Some(&schema["items"]).filter(|items| items.is_object());
        let keys = schema[KEYS].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(list) = given {
            if self.typed(schema, path, "array", LIST) && list == "set" {
                self.set(items, path);
            }
            if !matches!(list, "atomic" | "set" | "map") {
                self.not_supported(path, LIST, list, &["atomic", "set", "map"]);
            }
        }
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        match given {
            None if !keys.is_empty() => self.required(path, LIST, why),
            Some(list) if !keys.is_empty() && list != "map" => self.invalid(path, LIST, list, why),
            _ => {}
        }
        if given == Some("map") {
            if keys.is_empty() {
                self.required(path, KEYS, "must not be empty if x-kubernetes-list-type is map");
            }
            match items {
                None if schema["items"].is_null() => {
                    self.required(path, "items", "must have a schema if x-kubernetes-list-type is map");
                }
                Some(items) if items["type"] != "object" => {
                    let kind = items["type"].as_str().unwrap_or_default();
                    let why = "must be object if parent array's x-kubernetes-list-type is map";
                    self.invalid(path, "items.type", kind, why);
                }
                Some(items) => self.keys(&schema[KEYS], keys, items, path),
                None => {}
            }
        }
        let Some((list, items)) = given.filter(|list| matches!(*list, "set" | "map")).zip(items) else {
            return;
        };
        if is_true(items, "nullable") {
            let why = format!("cannot be nullable when x-kubernetes-list-type is {list}");
            self.forbid(path, "items.nullable", &why);
        }
        for key in keys.iter().filter(|_| list == "map").filter_map(Value::as_str) {
            let Some(own) = items["properties"].get(key) else { continue };
            let at = format!("items.properties[{key}]");
            let required = items["required"].as_array().into_iter().flatten().any(|name| name == key);
            if !required && own.get("default").is_none() {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.required(path, &format!("{at}.default"), why);
            }
            if is_true(own, "nullable") {
                let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                self.forbid(path, &format!("{at}.nullable"), why);
            }
        }
    }

    /// The items of a set are compared as a whole.
    fn set(&mut self, items: Option<&Value>, path: &str) {
        const WHY: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let Some(items) = items else { return };
        let list = items["x-kubernetes-list-type"].clone();
        if items["type"] == "array" && list.as_str().is_some_and(|list| list != "atomic") {
            self.invalid(path, "items.x-kubernetes-list-type", list, WHY);
        } else if items["type"] == "object" && items["x-kubernetes-map-type"] != "atomic" {
            // Upstream shows the type of the list here too.
            self.invalid(path, "items.x-kubernetes-map-type", list, WHY);
        }
    }

    fn keys(&mut self, list: &Value, keys: &[Value], items: &Value, path: &str) {
        const KEYS: &str = "x-kubernetes-list-map-keys";
        for (at, key) in keys.iter().enumerate() {
            let name = key.as_str().unwrap_or_default();
            match items["properties"].get(name).map(|own| own["type"].as_str().unwrap_or_default()) {
                Some("array" | "object") => {
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    self.invalid(path, &format!("items.properties[{name}].type"), "object", why);
                }
                Some(_) => {}
                None => {
                    self.invalid(path, KEYS, list.clone(), "entries must all be names of item properties");
                }
            }
            if keys[..at].contains(key) {
                self.invalid(path, KEYS, list.clone(), "must not contain duplicate entries");
            }
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
