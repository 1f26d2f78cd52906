//! The strategy of CustomResourceDefinitions themselves.
//!
//! Kept true: what is accepted can be carried out in full; a definition that is deleted stays until its objects are gone.
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/registry/customresourcedefinition/strategy.go
//! and pkg/apis/apiextensions/validation/validation.go

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{JsonPath, cause, names, rules};
use crate::{
    kinds::{
        self,
        checks::{indexed, text},
    },
    object::{self, finalizers, metadata_mut, strings},
    status::{Cause, Status},
    strategy::{Context, Strategy},
};

pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
const APPROVED: &str = "api-approved.kubernetes.io";

pub struct Definition;

/// The storage version is among those that objects may be stored in.
fn record_storage(value: &mut Value) {
    let versions = value["spec"]["versions"].as_array();
    let storage = versions.into_iter().flatten().find(|version| version["storage"] == true);
    let Some(name) = storage.and_then(|version| version["name"].as_str()).map(String::from) else { return };
    if !value["status"].is_object() {
        value["status"] = json!({});
    }
    match value["status"]["storedVersions"].as_array_mut() {
        Some(stored) if stored.iter().any(|one| *one == *name) => {}
        Some(stored) => stored.push(name.into()),
        None => value["status"]["storedVersions"] = json!([name]),
    }
}

impl Strategy for Definition {
    fn prepare_create(&self, _context: Context<'_>, value: &mut Value) -> Result<(), Status> {
        value["status"] = json!({
            "acceptedNames": {"plural": "", "kind": ""}, "conditions": null, "storedVersions": null
        });
        record_storage(value);
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, value: &mut Value, _old: &Value) -> Result<(), Status> {
        if context.subresource.is_empty() {
            record_storage(value);
        }
        Ok(())
    }

    fn validate(&self, context: Context<'_>, object: &Value) -> Vec<Cause> {
        let mut out = kinds::definition_checks().validate(context, object);
        let group = object["spec"]["group"].as_str().unwrap_or_default();
        let protected = ["k8s.io", "kubernetes.io"]
            .iter()
            .any(|own| group == *own || group.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')));
        if protected && object["metadata"]["annotations"][APPROVED].as_str().unwrap_or_default().is_empty() {
            out.push(Cause::required(
                "metadata.annotations[api-approved.kubernetes.io]",
                "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
            ));
        }
        out.extend(check(object));
        out
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Vec<Cause> {
        if context.subresource == "status" {
            return Vec::new();
        }
        let mut out = kinds::definition_checks().validate_update(context, object, old);
        out.extend(check(object));
        let versions: Vec<&str> = versions(object).filter_map(|version| version["name"].as_str()).collect();
        for (at, stored) in strings(&object["status"]["storedVersions"]).into_iter().enumerate() {
            if !versions.contains(&stored) {
                out.push(Cause::invalid(
                    format!("status.storedVersions[{at}]"),
                    stored,
                    "missing from spec.versions; storedVersions must be migrated to the current storage version, and the entry removed from status.storedVersions, before the version can be removed",
                ));
            }
        }
        out
    }

    fn mark_deleting(&self, value: &mut Value) {
        let mut all: Vec<String> = finalizers(value).into_iter().map(String::from).collect();
        if all.iter().any(|one| one == CLEANUP) {
            return;
        }
        all.push(CLEANUP.into());
        metadata_mut(value).insert("finalizers".into(), all.into());
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        names::set(
            &mut value["status"],
            "Terminating",
            "True",
            "InstanceDeletionPending",
            message,
            &object::now(),
        );
    }

    fn is_held(&self, object: &Value) -> bool {
        finalizers(object).contains(&CLEANUP)
    }
}

fn versions(object: &Value) -> impl Iterator<Item = &Value> {
    object["spec"]["versions"].as_array().into_iter().flatten()
}

fn check(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut out = Vec::new();
    match spec["conversion"]["strategy"].as_str() {
        None | Some("None") => {
            if spec["conversion"]["webhook"].is_object() {
                out.push(Cause::forbidden(
                    "spec.conversion.webhook",
                    "should not be set when strategy is not set to Webhook",
                ));
            }
        }
        Some("Webhook") => check_webhook(&spec["conversion"]["webhook"], &mut out),
        Some(other) => {
            out.push(Cause::not_supported("spec.conversion.strategy", other, &["None", "Webhook"]));
        }
    }
    if spec["preserveUnknownFields"] == true {
        out.push(Cause::invalid(
            "spec.preserveUnknownFields",
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    for (at, version) in versions(object).enumerate() {
        check_version(version, &format!("spec.versions[{at}]"), &mut out);
    }
    out
}

/// The paths are those of upstream's internal form.
fn check_webhook(webhook: &Value, out: &mut Vec<Cause>) {
    const CLIENT: &str = "spec.conversion.webhookClientConfig";
    const VERSIONS: &str = "spec.conversion.conversionReviewVersions";
    if webhook["clientConfig"].is_object() {
        kinds::webhook_client(out, &webhook["clientConfig"], CLIENT);
    } else {
        out.push(Cause::required(CLIENT, "required when strategy is set to Webhook"));
    }
    kinds::review_versions(out, &webhook["conversionReviewVersions"], VERSIONS, "");
}

fn check_version(version: &Value, path: &str, out: &mut Vec<Cause>) {
    let schema = &version["schema"]["openAPIV3Schema"];
    if schema.is_object() {
        let at = format!("{path}.schema.openAPIV3Schema");
        let before = out.len();
        out.extend(coracle_schema::check_custom_schema(schema, &at).into_iter().map(cause));
        // Rules are typed by the schema: one that makes no sense tells them nothing.
        if out.len() == before {
            out.extend(rules::compile(schema, &at).1);
        }
    }
    let columns = version["additionalPrinterColumns"].as_array();
    for (at, column) in columns.into_iter().flatten().enumerate() {
        let path = format!("{path}.additionalPrinterColumns[{at}]");
        let kind = column["type"].as_str().unwrap_or_default();
        let kinds = ["boolean", "date", "integer", "number", "string"];
        if !kinds.contains(&kind) {
            let why = format!("must be one of {}", kinds.join(","));
            out.push(Cause::invalid(format!("{path}.type"), kind, &why));
        }
        let json_path = column["jsonPath"].as_str().unwrap_or_default();
        if json_path.is_empty() {
            out.push(Cause::required(format!("{path}.jsonPath"), ""));
        } else if JsonPath::parse(json_path).is_none() {
            out.push(Cause::invalid(
                format!("{path}.jsonPath"),
                json_path,
                "is not a path that this server understands",
            ));
        }
    }
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        for (field, root) in
            [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", "")]
        {
            let given = scale[field].as_str().unwrap_or_default();
            let at = format!("{path}.subresources.scale.{field}");
            match given {
                "" if field == "labelSelectorPath" => {}
                "" => out.push(Cause::required(at, "")),
                _ if given.contains('[') => {
                    out.push(Cause::invalid(at, given, "should be a simple json path without []"));
                }
                _ if !given.starts_with(root) => {
                    let why = format!("should be a json path under {}", root.trim_end_matches('.'));
                    out.push(Cause::invalid(at, given, &why));
                }
                _ => {}
            }
        }
    }
    selectable(&version["selectableFields"], schema, &format!("{path}.selectableFields"), out);
}

/// How many fields of a version selectors may name.
const MAX_SELECTABLE: usize = 8;

fn selectable(fields: &Value, schema: &Value, path: &str, out: &mut Vec<Cause>) {
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
    if seen.len() > MAX_SELECTABLE {
        out.push(Cause::too_many(path, seen.len(), MAX_SELECTABLE));
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
