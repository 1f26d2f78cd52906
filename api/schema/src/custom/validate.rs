//! Checks a custom resource's values against its schema.
//!
//! Kept true: paths, kinds, texts and order of the errors are the stock server's (where that has an order); what an
//! update leaves as it was is not checked again (ratcheting). A value of the wrong type is held to all else as well.
//! Source: https://github.com/kubernetes/kube-openapi/tree/master/pkg/validation/validate and
//! https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting

mod alternatives;
mod lists;
mod number;
mod types;

pub(in crate::custom) use types::format;

use super::{CustomSchema, FieldError, FieldErrorKind, format as formats, is_true, prune::inner};
use serde_json::{Map, Value};

impl CustomSchema {
    /// `old` is the object before, of an update.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Checker { schema: self }.check(&self.root, object, old, "").errors;
        for error in errors.iter_mut().filter(|error| error.path.is_empty()) {
            "<nil>".clone_into(&mut error.path);
        }
        errors
    }

    /// Checks a value that is no object of its own, e.g. a default, at `path`.
    pub(super) fn validate_part(&self, schema: &Value, value: &Value, path: &str) -> Vec<FieldError> {
        let mut errors = Checker { schema: self }.check(schema, value, None, "").errors;
        embedded(schema, value, "", &mut |path, fields| {
            for name in ["apiVersion", "kind"] {
                match fields.get(name).and_then(Value::as_str) {
                    None => errors.push(FieldError::required(&join(path, name), "")),
                    Some("") => errors.push(FieldError::invalid(&join(path, name), "", "must not be empty")),
                    Some(_) => {}
                }
            }
        });
        lists::check(schema, value, None, "", &mut errors);
        for error in &mut errors {
            error.path = match &*error.path {
                "" => path.to_owned(),
                inner if inner.starts_with('[') => format!("{path}{inner}"),
                inner => join(path, inner),
            };
        }
        errors
    }
}

/// What a schema says of a value.
#[derive(Default)]
struct Found {
    errors: Vec<FieldError>,
    /// How many checks held: of several alternatives, the one that holds most is told about.
    held: u32,
}

impl Found {
    fn one(error: FieldError) -> Found {
        Found { errors: vec![error], held: 0 }
    }

    /// One whole check more.
    fn merge(&mut self, other: Found) {
        self.add(other);
        self.held += 1;
    }

    /// A part of one check.
    fn add(&mut self, other: Found) {
        self.errors.extend(other.errors);
        self.held += other.held;
    }
}

struct Checker<'a> {
    schema: &'a CustomSchema,
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Calls `see` with each object that the schema says is a resource of its own, and its path.
pub(super) fn embedded(
    schema: &Value,
    value: &Value,
    path: &str,
    see: &mut dyn FnMut(&str, &Map<String, Value>),
) {
    match value {
        Value::Object(fields) => {
            if is_true(schema, "x-kubernetes-embedded-resource") {
                see(path, fields);
            }
            for (name, value) in fields {
                if let Some(known) = inner(schema, name) {
                    let is_named = schema["properties"].get(name).is_some();
                    let at = if is_named { join(path, name) } else { format!("{path}[{name}]") };
                    embedded(known, value, &at, see);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                embedded(&schema["items"], item, &format!("{path}[{at}]"), see);
            }
        }
        _ => {}
    }
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, old: Option<&Value>, path: &str) -> Found {
        let mut found = Found::default();
        if old == Some(value) {
            return found;
        }
        if value.is_null() {
            found.add(types::check(schema, value, path).unwrap_or_default());
            found.add(check_enum(schema, value, path));
            return found;
        }
        if let Some(typed) = types::check(schema, value, path) {
            found.merge(typed);
        }
        found.merge(self.alternatives(schema, value, path));
        if let Value::String(text) = value {
            found.merge(self.check_string(schema, text, path));
            if let Some(name) = types::format(schema) {
                found.merge(check_format(name, text, path));
            }
        }
        if let Value::Number(number) = value {
            found.merge(number::check(schema, number, path));
        }
        if let Value::Array(items) = value {
            found.merge(self.check_array(schema, items, old, path));
        }
        found.merge(check_enum(schema, value, path));
        if let Value::Object(fields) = value {
            found.merge(self.check_object(schema, fields, old, path));
        }
        found.held += 1;
        found
    }

    fn check_object(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        old: Option<&Value>,
        path: &str,
    ) -> Found {
        let (mut found, count) = (Found::default(), fields.len());
        found.errors.extend(check_count(
            schema,
            ["minProperties", "maxProperties"],
            count,
            "properties",
            path,
        ));
        // Others come before those that have a name of their own.
        for named in [false, true] {
            for (name, value) in fields {
                if schema["properties"].get(name).is_some() != named {
                    continue;
                }
                let Some(known) = inner(schema, name) else { continue };
                let before = old.and_then(|old| old.get(name));
                found.add(self.check(known, value, before, &join(path, name)));
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                found.errors.push(FieldError::required(&join(path, name), ""));
            }
        }
        found
    }

    fn check_array(&self, schema: &Value, items: &[Value], old: Option<&Value>, path: &str) -> Found {
        let (mut found, count) = (Found::default(), items.len());
        for (at, item) in items.iter().enumerate() {
            let before = old.and_then(|old| counterpart(schema, item, old));
            found.add(self.check(&schema["items"], item, before, &format!("{path}[{at}]")));
        }
        found.errors.extend(check_count(schema, ["minItems", "maxItems"], count, "items", path));
        found.held += 1;
        found
    }

    /// The first that does not hold.
    fn check_string(&self, schema: &Value, text: &str, path: &str) -> Found {
        let length = text.chars().count();
        if let Some(max) = limit(schema, "maxLength").filter(|max| above(length, *max)) {
            return Found::one(FieldError { path: path.into(), kind: FieldErrorKind::TooLong { max } });
        }
        if let Some(min) = limit(schema, "minLength").filter(|min| below(length, *min)) {
            let detail = format!("{path} in body should be at least {min} chars long");
            return Found::one(FieldError::invalid(path, text, detail));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && self.schema.patterns.get(pattern).is_some_and(|compiled| !compiled.is_match(text))
        {
            let detail = format!("{path} in body should match '{pattern}'");
            return Found::one(FieldError::invalid(path, text, detail));
        }
        Found::default()
    }
}

fn check_format(name: &str, text: &str, path: &str) -> Found {
    if formats::fits(name, text) {
        return Found::default();
    }
    types::unlike(path, name, text)
}

/// Of properties or items: not too few of them, not too many.
fn check_count(
    schema: &Value,
    [min, max]: [&str; 2],
    count: usize,
    of: &str,
    path: &str,
) -> impl Iterator<Item = FieldError> {
    let few = limit(schema, min).filter(|min| below(count, *min)).map(|min| {
        let detail = format!("{path} in body should have at least {min} {of}");
        FieldError::invalid(path, count, detail)
    });
    let many = limit(schema, max)
        .filter(|max| above(count, *max))
        .map(|max| FieldError { path: path.into(), kind: FieldErrorKind::TooMany { actual: count, max } });
    few.into_iter().chain(many)
}

fn check_enum(schema: &Value, value: &Value, path: &str) -> Found {
    let allowed = schema["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
    if allowed.is_empty() || allowed.iter().any(|one| !one.is_null() && same(one, value)) {
        return Found::default();
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Found::one(FieldError {
        path: path.into(),
        kind: FieldErrorKind::NotSupported {
            value: value.clone(),
            allowed: allowed.iter().map(text).collect(),
        },
    })
}

/// The item of the old list that this one was, where the list says how to tell.
pub(super) fn counterpart<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema["x-kubernetes-list-type"].as_str() != Some("map") {
        return None;
    }
    old.as_array()?.iter().find(|other| keys(schema).all(|key| other.get(key) == item.get(key)))
}

fn keys(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn limit(schema: &Value, field: &str) -> Option<i64> {
    schema[field].as_i64()
}

fn below(count: usize, min: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count < min)
}

fn above(count: usize, max: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count > max)
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
