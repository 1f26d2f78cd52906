//! Checks a custom resource's values against its schema.
//!
//! Kept true: paths, kinds and texts of the errors are the stock server's; what an update leaves as it was is not checked
//! again (ratcheting).
//! Source: https://github.com/kubernetes/kube-openapi/tree/master/pkg/validation and
//! https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting

use super::{CustomSchema, FieldError, FieldErrorKind, format, is_true, prune::inner};
use serde_json::{Map, Value};
use std::cmp::Ordering;

impl CustomSchema {
    /// `old` is the object before, of an update.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let checker = Checker { schema: self };
        checker.check(&self.root, object, old, "", &mut errors);
        errors
    }

    /// Sets and maps have no item twice; apart from [`CustomSchema::validate`] for the order of errors.
    pub fn validate_lists(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        Checker { schema: self }.lists(&self.root, object, old, "", &mut errors);
        errors
    }

    /// Checks a value that is no object of its own, e.g. a default, at `path`.
    pub(super) fn validate_part(&self, schema: &Value, value: &Value, path: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let checker = Checker { schema: self };
        checker.check(schema, value, None, path, &mut errors);
        embedded(schema, value, path, &mut |path, fields| {
            for name in ["apiVersion", "kind"] {
                if fields.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                    errors.push(FieldError::required(&join(path, name), ""));
                }
            }
        });
        checker.lists(schema, value, None, path, &mut errors);
        errors
    }
}

struct Checker<'a> {
    schema: &'a CustomSchema,
}

type Errors = Vec<FieldError>;

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

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// What errors at the object itself call it.
fn shown(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, old: Option<&Value>, path: &str, errors: &mut Errors) {
        if old == Some(value) {
            return;
        }
        if value.is_null() && is_true(schema, "nullable") {
            return;
        }
        if !self.check_type(schema, value, path, errors) {
            return;
        }
        self.check_enum(schema, value, path, errors);
        match value {
            Value::Object(fields) => self.check_object(schema, fields, old, path, errors),
            Value::Array(items) => self.check_array(schema, items, old, path, errors),
            Value::String(text) => self.check_string(schema, text, path, errors),
            Value::Number(number) => check_number(schema, number, path, errors),
            _ => {}
        }
        self.check_junctors(schema, value, path, errors);
    }

    fn check_type(&self, schema: &Value, value: &Value, path: &str, errors: &mut Errors) -> bool {
        let found = type_of(value);
        let int_or_string = is_true(schema, "x-kubernetes-int-or-string");
        let expected = match schema["type"].as_str() {
            _ if int_or_string && matches!(found, "integer" | "string") => return true,
            _ if int_or_string => "integer,string",
            // Without a type everything fits, but not null.
            None if value.is_null() && schema.as_object().is_some_and(|fields| !fields.is_empty()) => {
                return true;
            }
            None => return true,
            Some("number") if found == "integer" => return true,
            Some(expected) if expected == found => return true,
            Some(expected) => expected,
        };
        let at = shown(path);
        errors.push(FieldError {
            path: at.to_owned(),
            kind: FieldErrorKind::Type {
                value: found.into(),
                detail: format!("{} in body must be of type {expected}: \"{found}\"", path),
            },
        });
        false
    }

    fn check_enum(&self, schema: &Value, value: &Value, path: &str, errors: &mut Errors) {
        let Some(allowed) = schema["enum"].as_array() else { return };
        if allowed.iter().any(|one| same(one, value)) {
            return;
        }
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        errors.push(FieldError {
            path: shown(path).to_owned(),
            kind: FieldErrorKind::NotSupported {
                value: value.clone(),
                allowed: allowed.iter().map(text).collect(),
            },
        });
    }

    fn check_object(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        old: Option<&Value>,
        path: &str,
        errors: &mut Errors,
    ) {
        let count = fields.len();
        if let Some(max) = size(schema, "maxProperties").filter(|max| count > *max) {
            let kind = FieldErrorKind::TooMany { actual: count, max };
            errors.push(FieldError { path: shown(path).to_owned(), kind });
        }
        if let Some(min) = size(schema, "minProperties").filter(|min| count < *min) {
            let detail = format!("{path} in body should have at least {min} properties");
            errors.push(FieldError::invalid(shown(path), Value::Object(fields.clone()), detail));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                errors.push(FieldError::required(&join(path, name), ""));
            }
        }
        let is_resource = path.is_empty() || is_true(schema, "x-kubernetes-embedded-resource");
        for (name, value) in fields {
            if is_resource && matches!(name.as_str(), "apiVersion" | "kind") {
                continue;
            }
            let Some(known) = inner(schema, name) else { continue };
            let named = schema["properties"].get(name).is_some();
            let at = if named || !name.contains('.') { join(path, name) } else { format!("{path}[{name}]") };
            // Limits of an object's metadata apply to the fields that are specified.
            let before = old.and_then(|old| old.get(name));
            self.check(known, value, before, &at, errors);
        }
    }

    fn check_array(
        &self,
        schema: &Value,
        items: &[Value],
        old: Option<&Value>,
        path: &str,
        errors: &mut Errors,
    ) {
        let count = items.len();
        if let Some(max) = size(schema, "maxItems").filter(|max| count > *max) {
            let kind = FieldErrorKind::TooMany { actual: count, max };
            errors.push(FieldError { path: shown(path).to_owned(), kind });
        }
        if let Some(min) = size(schema, "minItems").filter(|min| count < *min) {
            let detail = format!("{path} in body should have at least {min} items");
            errors.push(FieldError::invalid(shown(path), Value::Array(items.to_vec()), detail));
        }
        for (at, item) in items.iter().enumerate() {
            let before = old.and_then(|old| counterpart(schema, item, old));
            self.check(&schema["items"], item, before, &format!("{path}[{at}]"), errors);
        }
    }

    fn check_string(&self, schema: &Value, text: &str, path: &str, errors: &mut Errors) {
        let length = text.chars().count();
        if let Some(max) = size(schema, "maxLength").filter(|max| length > *max) {
            errors.push(FieldError { path: shown(path).to_owned(), kind: FieldErrorKind::TooLong { max } });
        }
        if let Some(min) = size(schema, "minLength").filter(|min| length < *min) {
            let detail = format!("{path} in body should be at least {min} chars long");
            errors.push(FieldError::invalid(shown(path), text, detail));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && self.schema.patterns.get(pattern).is_some_and(|compiled| !compiled.is_match(text))
        {
            let detail = format!("{path} in body should match '{pattern}'");
            errors.push(FieldError::invalid(shown(path), text, detail));
        }
        if let Some(name) = schema["format"].as_str().filter(|name| !format::fits(name, text)) {
            errors.push(FieldError {
                path: shown(path).to_owned(),
                kind: FieldErrorKind::Type {
                    value: text.into(),
                    detail: format!("{path} in body must be of type {name}: {text:?}"),
                },
            });
        }
    }

    fn check_junctors(&self, schema: &Value, value: &Value, path: &str, errors: &mut Errors) {
        let against = |one: &Value| {
            let mut found = Vec::new();
            self.check(one, value, None, path, &mut found);
            found
        };
        let complain = |errors: &mut Errors, what: &str| {
            errors.push(FieldError::invalid(shown(path), "", format!("{path} in body must {what}")));
        };
        // What `x-kubernetes-int-or-string` may carry says nothing new.
        if is_true(schema, "x-kubernetes-int-or-string") && schema["anyOf"].is_array() {
            return;
        }
        if let Some(all) = schema["anyOf"].as_array() {
            let results: Vec<Errors> = all.iter().map(against).collect();
            if !results.iter().any(Vec::is_empty) {
                complain(errors, "validate at least one schema (anyOf)");
                errors.extend(results.into_iter().min_by_key(Vec::len).into_iter().flatten());
            }
        }
        if let Some(all) = schema["oneOf"].as_array() {
            let results: Vec<Errors> = all.iter().map(against).collect();
            let fitting = results.iter().filter(|found| found.is_empty()).count();
            if fitting != 1 {
                let found = if fitting == 0 { "Found none valid" } else { "" };
                let found =
                    if fitting > 1 { format!("Found {fitting} valid alternatives") } else { found.into() };
                complain(errors, &format!("validate one and only one schema (oneOf). {found}"));
                if fitting == 0 {
                    errors.extend(results.into_iter().min_by_key(Vec::len).into_iter().flatten());
                }
            }
        }
        if let Some(all) = schema["allOf"].as_array() {
            let results: Vec<Errors> = all.iter().map(against).collect();
            if results.iter().any(|found| !found.is_empty()) {
                complain(errors, "validate all the schemas (allOf)");
                errors.extend(results.into_iter().flatten());
            }
        }
        if schema["not"].is_object() && against(&schema["not"]).is_empty() {
            complain(errors, "not validate the schema (not)");
        }
    }

    /// Sets and maps have no item twice.
    fn lists(&self, schema: &Value, value: &Value, old: Option<&Value>, path: &str, errors: &mut Errors) {
        if old == Some(value) {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(known) = inner(schema, name) {
                        let before = old.and_then(|old| old.get(name));
                        self.lists(known, value, before, &join(path, name), errors);
                    }
                }
            }
            Value::Array(items) => {
                let mut seen: Vec<Value> = Vec::new();
                for (at, item) in items.iter().enumerate() {
                    let key = match schema["x-kubernetes-list-type"].as_str() {
                        Some("set") => item.clone(),
                        Some("map") => Value::Object(
                            keys(schema)
                                .filter_map(|key| Some((key.to_owned(), item.get(key)?.clone())))
                                .collect(),
                        ),
                        _ => continue,
                    };
                    if seen.contains(&key) {
                        let kind = FieldErrorKind::Duplicate { value: key };
                        errors.push(FieldError { path: format!("{path}[{at}]"), kind });
                    } else {
                        seen.push(key);
                    }
                }
                for (at, item) in items.iter().enumerate() {
                    let before = old.and_then(|old| counterpart(schema, item, old));
                    self.lists(&schema["items"], item, before, &format!("{path}[{at}]"), errors);
                }
            }
            _ => {}
        }
    }
}

fn keys(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The item of the old list that this one was, where the list says how to tell.
pub(super) fn counterpart<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema["x-kubernetes-list-type"].as_str() != Some("map") {
        return None;
    }
    old.as_array()?.iter().find(|other| keys(schema).all(|key| other.get(key) == item.get(key)))
}

fn size(schema: &Value, field: &str) -> Option<usize> {
    schema[field].as_u64().and_then(|number| usize::try_from(number).ok())
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn check_number(schema: &Value, number: &serde_json::Number, path: &str, errors: &mut Errors) {
    let mut complain = |what: String| {
        let detail = format!("{path} in body should be {what}");
        errors.push(FieldError::invalid(shown(path), Value::Number(number.clone()), detail));
    };
    if let Some(order) = compare(number, &schema["maximum"]) {
        match is_true(schema, "exclusiveMaximum") {
            true if order != Ordering::Less => complain(format!("less than {}", schema["maximum"])),
            false if order == Ordering::Greater => {
                complain(format!("less than or equal to {}", schema["maximum"]));
            }
            _ => {}
        }
    }
    if let Some(order) = compare(number, &schema["minimum"]) {
        match is_true(schema, "exclusiveMinimum") {
            true if order != Ordering::Greater => complain(format!("greater than {}", schema["minimum"])),
            false if order == Ordering::Less => {
                complain(format!("greater than or equal to {}", schema["minimum"]));
            }
            _ => {}
        }
    }
    if let (Some(factor), Some(number)) = (schema["multipleOf"].as_f64(), number.as_f64())
        && factor > 0.0
        && (number / factor).fract() != 0.0
    {
        complain(format!("a multiple of {}", schema["multipleOf"]));
    }
    let whole = number.as_i64();
    let (narrow, kind) = match schema["format"].as_str() {
        Some("int32") => (whole.is_some_and(|whole| i32::try_from(whole).is_ok()), "int32"),
        Some("int64") => (whole.is_some() || number.as_f64().is_some_and(|it| it.abs() < 9.2e18), "int64"),
        _ => return,
    };
    if !narrow {
        let detail = format!("Checked value must be of type integer with format {kind}");
        errors.push(FieldError::invalid(
            shown(path),
            Value::Number(number.clone()),
            format!("{path} in body {detail}"),
        ));
    }
}

fn compare(number: &serde_json::Number, limit: &Value) -> Option<Ordering> {
    let limit = limit.as_number()?;
    match (number.as_i64(), limit.as_i64()) {
        (Some(number), Some(limit)) => Some(number.cmp(&limit)),
        _ => number.as_f64()?.partial_cmp(&limit.as_f64()?),
    }
}
