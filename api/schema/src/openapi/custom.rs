//! OpenAPI of custom resources: a document of their own for each group version, or added to the document of everything.

use super::{Dialect, definitions::Definitions, gvk_value, paths};
use crate::custom::CustomSchema;
use crate::registry::Registry;
use crate::resource::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

/// One custom resource in one version.
pub struct CustomDocument<'a> {
    pub resource: &'a ApiResource,
    pub list_kind: &'a str,
    pub schema: &'a CustomSchema,
    /// Fields that selectors may name, by their parts.
    pub selectable: &'a [Vec<String>],
}

/// What custom resources refer to: `ObjectMeta` with its parts, lists, statuses, scales.
const SHARED: [(&str, &str, &str); 4] = [
    ("meta.k8s.io", "v1", "PartialObjectMetadataList"),
    ("", "v1", "Status"),
    ("", "v1", "DeleteOptions"),
    ("autoscaling", "v1", "Scale"),
];

/// The document of one group version.
pub fn custom_openapi_v3(documents: &[CustomDocument<'_>]) -> Value {
    let mut definitions = Definitions::new(Registry::builtin(), Dialect::V3);
    for (group, version, kind) in SHARED {
        definitions.want_kind(&GroupVersionKind::new(group, version, kind));
    }
    let mut schemas = definitions.render();
    let mut all_paths = Map::new();
    for document in documents {
        add(document, Dialect::V3, &mut all_paths, &mut schemas);
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes CRD Swagger", "version": "v0.1.0" },
        "paths": all_paths,
        "components": { "schemas": schemas },
    })
}

/// Adds custom resources to the document of everything.
pub fn add_to_openapi_v2(whole: &mut Value, documents: &[CustomDocument<'_>]) {
    for document in documents {
        let (mut all_paths, mut schemas) = (Map::new(), json!({}));
        add(document, Dialect::V2, &mut all_paths, &mut schemas);
        if let Some(paths) = whole["paths"].as_object_mut() {
            paths.append(&mut all_paths);
        }
        if let (Some(known), Some(schemas)) = (whole["definitions"].as_object_mut(), schemas.as_object_mut())
        {
            known.append(schemas);
        }
    }
}

fn add(document: &CustomDocument<'_>, dialect: Dialect, all: &mut Map<String, Value>, schemas: &mut Value) {
    let gvk = &document.resource.gvk;
    let name = definition_name(gvk, &gvk.kind);
    let list_name = definition_name(gvk, document.list_kind);
    let mut definition = document.schema.definition(gvk, dialect);
    if !document.selectable.is_empty() {
        let fields = document.selectable.iter().map(|parts| json!({ "fieldPath": parts.join(".") }));
        definition["x-kubernetes-selectable-fields"] = fields.collect();
    }
    schemas[&name] = definition;
    schemas[&list_name] = list(gvk, document.list_kind, &name, dialect);
    let list_kind = format!("{}List", gvk.kind);
    let mut paths = paths::of(dialect, document.resource, &mut |wanted| {
        let meta = wanted.group.is_empty() && matches!(&*wanted.kind, "Status" | "DeleteOptions" | "Patch");
        Some(match () {
            () if meta => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{}", wanted.kind),
            () if *wanted.kind == *list_kind => list_name.clone(),
            () if &*wanted.kind == "Scale" => "io.k8s.api.autoscaling.v1.Scale".to_string(),
            () => name.clone(),
        })
    });
    paths.values_mut().for_each(without_strategic_merge);
    all.append(&mut paths);
}

/// `com.example.stable.v1.CronTab`
fn definition_name(gvk: &GroupVersionKind, kind: &str) -> String {
    let mut parts: Vec<&str> = gvk.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{kind}", parts.join("."), gvk.version)
}

fn list(gvk: &GroupVersionKind, kind: &str, item: &str, dialect: Dialect) -> Value {
    json!({
        "description": format!("{kind} is a list of {}", gvk.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "items": { "type": "array", "items": dialect.reference(item) },
            "kind": { "type": "string" },
            "metadata": dialect.reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
        },
        "x-kubernetes-group-version-kind": [gvk_value(&GroupVersionKind::new(&gvk.group, &gvk.version, kind))],
    })
}

/// There is no strategic merge of custom resources; kubectl looks here which patch to send.
fn without_strategic_merge(path: &mut Value) {
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    let Some(patch) = path.get_mut("patch") else { return };
    if let Some(content) = patch.pointer_mut("/requestBody/content").and_then(Value::as_object_mut) {
        content.shift_remove(STRATEGIC);
    }
    if let Some(consumes) = patch.get_mut("consumes").and_then(Value::as_array_mut) {
        consumes.retain(|one| one != STRATEGIC);
    }
}
