//! Which fields of custom resources selectors may name.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go
//! (`ValidateCustomResourceSelectableFields`)

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    kinds::checks::{indexed, text},
    status::Cause,
};

/// How many fields of a version selectors may name.
const MAX_FIELDS: usize = 8;

/// `excused`: there were as many before.
pub fn check(out: &mut Vec<Cause>, fields: &Value, schema: &Value, path: &str, excused: bool) {
    const TYPES: &str = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (at, field) in indexed(fields, path) {
        let (given, at) = (text(&field["jsonPath"]), format!("{at}.jsonPath"));
        if given.is_empty() {
            out.push(Cause::required(at, ""));
            continue;
        }
        let found = match selected(given, schema) {
            Ok(found) => found,
            Err(why) => {
                out.push(Cause::invalid(at, given, &format!("is an invalid path: {why}")));
                continue;
            }
        };
        if given.split('.').nth(1) == Some("metadata") {
            out.push(Cause::invalid(at.as_str(), given, "must not point to fields in metadata"));
        }
        if !matches!(text(&found["type"]), "string" | "boolean" | "integer") {
            out.push(Cause::invalid(at.as_str(), given, TYPES));
        }
        if !seen.insert(given) {
            out.push(Cause::duplicate(at, given));
        }
    }
    if seen.len() > MAX_FIELDS && !excused {
        out.push(Cause::too_many(path, seen.len(), MAX_FIELDS));
    }
}

const ARRAYS: &str = "array notation is not allowed";

/// The schema that `.spec.color` leads to, read as upstream reads the paths of rules.
fn selected<'s>(path: &str, mut schema: &'s Value) -> Result<&'s Value, String> {
    let mut rest = path;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('.') else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            let why = || format!("expected [ or . but got: {}", &rest[..end]);
            return Err(if rest.starts_with('[') { ARRAYS.into() } else { why() });
        };
        let end = after.find(['.', '[', ']']).unwrap_or(after.len());
        if after.is_empty() {
            return Err("unexpected end of JSON path".into());
        }
        let (name, properties) = (&after[..end], &schema["properties"]);
        let inner = match properties {
            Value::Null => Some(&schema["additionalProperties"]).filter(|own| own.is_object()),
            properties => properties.get(name),
        };
        schema = inner.ok_or("does not refer to a valid field")?;
        rest = &after[end..];
    }
    Ok(schema)
}
