//! Custom resources: what CustomResourceDefinitions in the store make this server serve.
//!
//! Kept true: a definition is served before its `Established` condition says so; its objects are gone before it is.
//! Reads: CustomResourceDefinitions. Writes: their status and cleanup finalizer; deletes their objects.
//! Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/

mod columns;
mod controller;
mod conversion;
pub mod definition;
mod embedded;
mod json_path;
pub mod names;
pub mod rules;
mod scale;
mod selectable;
mod served;
mod spec;
mod strategy;

use std::sync::Arc;

use coracle_schema::{CustomSchema, FieldError, FieldErrorKind, Schema};

use crate::{registry::Served, status::Cause};
pub use columns::Columns;
pub use controller::Controller;
pub use conversion::Conversion;
pub use json_path::JsonPath;
pub use scale::ScalePaths;
pub use served::compare_versions;
pub use strategy::CustomResource;

/// What only custom resources have, of one served version.
pub struct Custom {
    /// `{plural}.{group}`
    pub definition: Arc<str>,
    pub list_kind: Arc<str>,
    pub schema: Arc<CustomSchema>,
    /// `x-kubernetes-validations`
    pub rules: Option<rules::Node>,
    pub columns: Columns,
    pub scale: Option<ScalePaths>,
    /// The fields that selectors may name, each as a list of field names.
    pub selectable: Vec<Vec<String>>,
    pub has_status: bool,
    /// The definition is being deleted: nothing new is created.
    pub terminating: bool,
    /// Who converts between versions; without, nothing but the version's name changes.
    pub conversion: Option<Arc<Conversion>>,
    /// Objects may be stored in another version, or with another schema.
    pub mixed: bool,
    /// The versions that exist and are not served: managers may have written them.
    pub unserved: Arc<[Arc<Served>]>,
    /// Of all versions of the definition, served or not.
    pub schemas: Schemas,
    /// What every use of the version is told: it is to be left.
    pub deprecation: Option<String>,
}

/// The versions of one definition.
#[derive(Clone)]
pub struct Schemas(pub Arc<[(String, Schema)]>);

impl Schemas {
    /// Of `v1`, or of `example.com/v1`.
    pub fn of(&self, version: &str) -> Option<&Schema> {
        let short = version.rsplit_once('/').map_or(version, |(_, short)| short);
        self.0.iter().find(|(own, _)| own == short).map(|(_, schema)| schema)
    }
}

/// `.spec.replicas` as field names.
pub fn simple_path(path: &str) -> Vec<String> {
    path.split('.').filter(|part| !part.is_empty()).map(String::from).collect()
}

pub fn cause(error: FieldError) -> Cause {
    let path = error.path;
    match error.kind {
        FieldErrorKind::Required { detail } => Cause::required(path, &detail),
        FieldErrorKind::Type { value, detail } => {
            Cause { reason: "FieldValueTypeInvalid".into(), ..Cause::invalid(path, value, &detail) }
        }
        FieldErrorKind::Invalid { value, detail } => Cause::invalid(path, value, &detail),
        FieldErrorKind::NotSupported { value, allowed } => {
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            Cause::not_supported(path, value, &allowed)
        }
        FieldErrorKind::Duplicate { value } => Cause::duplicate(path, value),
        // Schemas may have limits below zero.
        FieldErrorKind::TooLong { max } => match usize::try_from(max) {
            Ok(max) => Cause::too_long(path, max),
            Err(_) => Cause::new("FieldValueTooLong", path, "Too long: value is too long"),
        },
        FieldErrorKind::TooMany { actual, max } => match usize::try_from(max) {
            Ok(max) => Cause::too_many(path, actual, max),
            Err(_) => {
                Cause::new("FieldValueTooMany", path, format!("Too many: {actual}: has too many items"))
            }
        },
        FieldErrorKind::Forbidden { detail } => Cause::forbidden(path, &detail),
    }
}
