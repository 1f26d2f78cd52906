//! The shape of custom resources: what a CustomResourceDefinition's `openAPIV3Schema` says, applied to objects.
//!
//! Kept true: a schema that [`check`] accepts is structural; objects are pruned, defaulted and validated as a stock
//! server does it. The schema is walked as the JSON it is: nothing is compiled but its patterns.
//! Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema

mod check;
mod default;
mod field_error;
mod format;
mod openapi;
mod prune;
mod structural;
mod validate;

pub use check::check;
pub use field_error::{FieldError, FieldErrorKind};
pub(crate) use prune::prune_metadata;

use crate::registry::Registry;
use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;

const JSON_SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// One version's schema.
pub struct CustomSchema {
    root: Value,
    patterns: HashMap<String, Regex>,
    has_defaults: bool,
    has_embedded: bool,
}

impl CustomSchema {
    /// `root` is an `openAPIV3Schema` that [`check`] accepts; a pattern that does not compile matches everything.
    pub fn new(mut root: Value) -> CustomSchema {
        // It is published, and readers of OpenAPI are strict.
        if let Some(schemas) = Registry::builtin().definition(JSON_SCHEMA_PROPS) {
            schemas.forget_unknown(&mut root);
        }
        let mut patterns = HashMap::new();
        let (mut has_defaults, mut has_embedded) = (false, false);
        each_schema(&root, &mut |schema| {
            has_defaults |= schema.get("default").is_some();
            has_embedded |= is_true(schema, "x-kubernetes-embedded-resource");
            if let Some(pattern) = schema["pattern"].as_str()
                && let Ok(compiled) = Regex::new(pattern)
            {
                patterns.insert(pattern.to_owned(), compiled);
            }
        });
        CustomSchema { root, patterns, has_defaults, has_embedded }
    }

    /// Whether an object that was stored before may lack what it is to be shown with.
    pub fn has_defaults(&self) -> bool {
        self.has_defaults
    }

    /// The schema as it was written, without what protobuf said beyond schemas.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Calls `see` with each object within that is a resource of its own (`x-kubernetes-embedded-resource`), and its path.
    pub fn each_embedded(&self, object: &Value, see: &mut dyn FnMut(&str, &serde_json::Map<String, Value>)) {
        if self.has_embedded {
            validate::embedded(&self.root, object, "", see);
        }
    }

    /// The schema at a path of field names, where there is one.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |schema, name| schema["properties"].get(*name))
    }
}

/// The formats that a schema speaks of and that nothing checks.
pub fn unrecognized_formats(schema: &Value) -> Vec<String> {
    let mut formats = Vec::new();
    each_schema(schema, &mut |schema| {
        if let Some(format) = schema["format"].as_str().filter(|format| !format.is_empty())
            && validate::format(schema).is_none()
        {
            formats.push(format.to_owned());
        }
    });
    formats
}

pub fn has_defaults(schema: &Value) -> bool {
    let mut found = false;
    each_schema(schema, &mut |schema| found |= schema.get("default").is_some());
    found
}

pub(crate) fn is_true(schema: &Value, field: &str) -> bool {
    schema[field].as_bool() == Some(true)
}

/// Calls `see` with the schema and every schema within it.
fn each_schema<'a>(schema: &'a Value, see: &mut dyn FnMut(&'a Value)) {
    see(schema);
    for (_, inner) in schema["properties"].as_object().into_iter().flatten() {
        each_schema(inner, see);
    }
    for field in ["items", "additionalProperties", "not"] {
        if schema[field].is_object() {
            each_schema(&schema[field], see);
        }
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        for inner in schema[field].as_array().into_iter().flatten() {
            each_schema(inner, see);
        }
    }
}
