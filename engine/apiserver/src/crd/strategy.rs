//! The strategy of every custom resource: generation, status, and the checks of its schema.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/registry/customresource/strategy.go

use serde_json::Value;

use super::{Custom, cause, embedded, rules, scale};
use crate::{
    metadata::qualified_name_problems,
    object,
    status::{Cause, Status, quote},
    strategy::{Context, Strategy},
};

pub struct CustomResource;

fn custom<'a>(context: &Context<'a>) -> Option<&'a Custom> {
    context.served.custom.as_deref()
}

/// Everything but metadata, and but the status where that has a subresource.
fn intent(object: &Value, has_status: bool) -> Vec<(&str, &Value)> {
    let apart =
        |field: &str| matches!(field, "metadata" | "kind" | "apiVersion") || has_status && field == "status";
    let mut fields: Vec<(&str, &Value)> = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, value)| (field.as_str(), value))
        .filter(|(field, _)| !apart(field))
        .collect();
    fields.sort_by_key(|(field, _)| *field);
    fields
}

/// The schema first: rules trust it.
fn validate(custom: &Custom, object: &Value, old: Option<&Value>, subresource: &str) -> Vec<Cause> {
    let mut causes: Vec<Cause> = custom.schema.validate(object, old).into_iter().map(cause).collect();
    causes.extend(custom.scale.iter().flat_map(|paths| scale::validate(paths, object, subresource)));
    // A stock server does not look into what a status embeds.
    if subresource != "status" {
        let before = old.map(|old| embedded::validate(&custom.schema, old)).unwrap_or_default();
        let found = embedded::validate(&custom.schema, object).into_iter();
        causes.extend(found.filter(|cause| !before.contains(cause)));
    }
    causes.extend(custom.schema.validate_lists(object, old).into_iter().map(cause));
    let Some(rules) = &custom.rules else { return causes };
    let blocks = |cause: &Cause| {
        [
            "FieldValueRequired",
            "FieldValueTooLong",
            "FieldValueTooMany",
            "FieldValueTypeInvalid",
            "FieldValueNotSupported",
        ]
        .contains(&&*cause.reason)
    };
    let has_name = object["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
    if !has_name || causes.iter().any(blocks) {
        causes.push(rules::unchecked());
    } else {
        causes.extend(rules.check(object, old));
    }
    causes
}

impl Strategy for CustomResource {
    fn prepare_create(&self, context: Context<'_>, value: &mut Value) -> Result<(), Status> {
        let Some(custom) = custom(&context) else { return Ok(()) };
        if custom.terminating {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::new(405, "MethodNotAllowed", why));
        }
        if custom.has_status {
            object::remove(value, "status");
        }
        object::metadata_mut(value).insert("generation".into(), 1.into());
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, value: &mut Value, old: &Value) -> Result<(), Status> {
        let Some(custom) = custom(&context) else { return Ok(()) };
        if context.subresource == "status" {
            // Of the metadata only what says who wrote it may change with the status.
            let managed = value["metadata"].get("managedFields").cloned();
            value["metadata"] = old["metadata"].clone();
            if let Some(managed) = managed {
                object::metadata_mut(value).insert("managedFields".into(), managed);
            }
            return Ok(());
        }
        if custom.has_status {
            match old.get("status") {
                Some(status) => value["status"] = status.clone(),
                None => drop(object::remove(value, "status")),
            }
        }
        if intent(value, custom.has_status) != intent(old, custom.has_status) {
            let next = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
            object::metadata_mut(value).insert("generation".into(), next.into());
        }
        Ok(())
    }

    fn validate(&self, context: Context<'_>, object: &Value) -> Vec<Cause> {
        let Some(custom) = custom(&context) else { return Vec::new() };
        validate(custom, object, None, context.subresource)
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Vec<Cause> {
        let Some(custom) = custom(&context) else { return Vec::new() };
        validate(custom, object, Some(old), context.subresource)
    }

    /// One that says whose it is meets no other of its name.
    fn warnings(&self, _context: Context<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        let before = old.map(object::finalizers).unwrap_or_default();
        let mut new: Vec<&str> = object::finalizers(object);
        new.retain(|name| !before.contains(name));
        new.sort_unstable();
        new.dedup();
        new.into_iter().flat_map(finalizer_warnings).collect()
    }
}

fn finalizer_warnings(name: &str) -> Vec<String> {
    const PLAIN: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    let mut problems = qualified_name_problems(name);
    if !name.contains('/') && !PLAIN.contains(&name) {
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        problems.push(format!(
            "prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
    problems.iter().map(|problem| format!("metadata.finalizers: {}: {problem}", quote(name))).collect()
}
