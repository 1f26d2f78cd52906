//! Removes what the schema does not know.
//!
//! Kept true: `apiVersion`, `kind` and `metadata` of the object and of every embedded resource stay, and `metadata` has
//! the built-in shape; below `x-kubernetes-preserve-unknown-fields` only what is specified is pruned. A null that is
//! neither allowed nor replaced by a default goes unsaid, as if it were absent.

use super::{CustomSchema, is_true};
use crate::error::{DecodeError, FieldIssue};
use crate::registry::{META_PACKAGE, Registry};
use serde_json::Value;

impl CustomSchema {
    pub(crate) fn prune(&self, object: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
        let mut issues = Vec::new();
        walk(&self.root, object, true, &mut issues)?;
        if let Some(problem) = self.untyped(object) {
            return Err(DecodeError::Type(problem));
        }
        // As the stock server finds them: those of its own metadata, of the schema, of the metadata of embedded resources.
        issues.sort_by_cached_key(|issue| {
            let path = issue.path();
            let is_embedded = path.contains(".metadata.");
            let round = if path.starts_with("metadata.") { 0 } else { 1 + u8::from(is_embedded) };
            (round, path.to_owned())
        });
        Ok(issues)
    }

    /// What a resource within another says of itself is text.
    fn untyped(&self, object: &Value) -> Option<String> {
        let mut problem = None;
        self.each_embedded(object, &mut |path, fields| {
            for name in ["apiVersion", "kind"] {
                if let Some(value) = fields.get(name).filter(|value| !value.is_string()) {
                    let at = super::validate::join(path, name);
                    problem.get_or_insert_with(|| format!("{at}: Invalid value: {value}: must be a string"));
                }
            }
        });
        problem
    }
}

fn walk(
    schema: &Value,
    value: &mut Value,
    is_resource: bool,
    issues: &mut Vec<FieldIssue>,
) -> Result<(), DecodeError> {
    match value {
        Value::Object(fields) => {
            let is_resource = is_resource || is_true(schema, "x-kubernetes-embedded-resource");
            let keeps = is_true(schema, "x-kubernetes-preserve-unknown-fields");
            let is_closed = |name: &str| {
                schema["properties"].get(name).is_some() || schema["additionalProperties"].is_object()
            };
            let mut gone = Vec::new();
            for (name, value) in fields.iter_mut() {
                let before = issues.len();
                if is_resource && matches!(name.as_str(), "apiVersion" | "kind") {
                    continue;
                } else if is_resource && name == "metadata" {
                    issues.extend(prune_metadata(value)?);
                } else if let Some(known) = inner(schema, name) {
                    if value.is_null() && is_closed(name) && !may_be_null(known) {
                        gone.push(name.clone());
                        continue;
                    }
                    walk(known, value, false, issues)?;
                } else if !keeps {
                    issues.push(FieldIssue::Unknown { path: name.clone() });
                    gone.push(name.clone());
                    continue;
                }
                for issue in &mut issues[before..] {
                    issue.prefix(format_args!("{name}"));
                }
            }
            for name in gone {
                fields.shift_remove(&name);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                let before = issues.len();
                walk(&schema["items"], item, false, issues)?;
                for issue in &mut issues[before..] {
                    issue.prefix(format_args!("[{at}]"));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Allowed, or replaced by a default.
fn may_be_null(schema: &Value) -> bool {
    is_true(schema, "nullable") || schema.get("default").is_some()
}

/// The schema of a field: its own, or that of all others. A bare `true` knows nothing but allows everything.
pub(super) fn inner<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    static ANYTHING: std::sync::LazyLock<Value> =
        std::sync::LazyLock::new(|| serde_json::json!({ "x-kubernetes-preserve-unknown-fields": true }));
    let others = || match &schema["additionalProperties"] {
        Value::Bool(true) => Some(&*ANYTHING),
        Value::Object(_) => Some(&schema["additionalProperties"]),
        _ => None,
    };
    schema["properties"].get(name).or_else(others)
}

pub(crate) fn prune_metadata(value: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
    let name = format!("{META_PACKAGE}.ObjectMeta");
    match Registry::builtin().definition(&name) {
        Some(meta) if !value.is_null() => meta.prune_in_custom(value),
        _ => Ok(Vec::new()),
    }
}

/// Prunes a value that is no object of its own, e.g. a default.
pub(super) fn prune_part(schema: &Value, value: &mut Value) {
    // Malformed metadata of an embedded resource is for validation to see.
    let _ = walk(schema, value, false, &mut Vec::new());
}
