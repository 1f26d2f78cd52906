//! OpenAPI documents of the built-in kinds, made from the table when they are asked for.
//!
//! Nothing is kept: a document is built, sent and dropped. Definition names and extensions are the stock server's, so
//! that `kubectl explain`, `apply` and `diff` find what they look for.

mod custom;
mod definitions;
mod descriptions;
mod paths;

pub use custom::{CustomDocument, add_to_openapi_v2, custom_openapi_v3};
pub use descriptions::{Descriptions, descriptions};
pub use paths::openapi_v3_paths;

use crate::registry::Registry;
use crate::resource::{ApiResource, GroupVersionKind};
use definitions::Definitions;
use serde_json::{Map, Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    pub(crate) fn reference(self, definition: &str) -> Value {
        match self {
            Dialect::V2 => json!({ "$ref": format!("#/definitions/{definition}") }),
            Dialect::V3 => json!({ "$ref": format!("#/components/schemas/{definition}") }),
        }
    }
}

/// The document of one group version, as `/openapi/v3/apis/GROUP/VERSION` gives it. Nothing if it is not served.
pub fn openapi_v3(group: &str, version: &str) -> Option<Value> {
    let registry = Registry::builtin();
    let served: Vec<&ApiResource> = registry
        .resources()
        .iter()
        .filter(|resource| &*resource.gvk.group == group && &*resource.gvk.version == version)
        .collect();
    if served.is_empty() {
        return None;
    }
    let mut definitions = Definitions::new(registry, Dialect::V3);
    let mut paths = Map::new();
    for resource in served {
        paths.append(&mut paths::of(Dialect::V3, resource, &mut |gvk| definitions.want_kind(gvk)));
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "unversioned" },
        "paths": paths,
        "components": {
            "schemas": definitions.render(),
            "securitySchemes": { "BearerToken": {
                "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
            } },
        },
    }))
}

/// The document of everything, as `/openapi/v2` gives it.
pub fn openapi_v2() -> Value {
    let registry = Registry::builtin();
    let mut definitions = Definitions::new(registry, Dialect::V2);
    let mut paths = Map::new();
    for resource in registry.resources() {
        paths.append(&mut paths::of(Dialect::V2, resource, &mut |gvk| definitions.want_kind(gvk)));
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": "v1.36.0" },
        "paths": paths,
        "definitions": definitions.render(),
        "securityDefinitions": { "BearerToken": {
            "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
        } },
        "security": [{ "BearerToken": [] }],
    })
}

/// Names the state of the documents above: equal as long as the table is. For ETags and the index's `?hash=`.
pub fn openapi_hash() -> String {
    let table = crate::registry::TYPES.bytes().chain(crate::registry::RESOURCES.bytes());
    // FNV-1a, twice with different seeds.
    let hash = |seed: u64| {
        table.clone().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    };
    format!("{:016X}{:016X}", hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn gvk_value(gvk: &GroupVersionKind) -> Value {
    json!({ "group": &*gvk.group, "kind": &*gvk.kind, "version": &*gvk.version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every `$ref` of a document, with what it must resolve to.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if key == "$ref" => found.push(text),
                        other => references(other, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    fn check_references(document: &Value) {
        let mut found = Vec::new();
        references(document, &mut found);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_reference_of_every_document_resolves() {
        let resources = Registry::builtin().resources().iter();
        let served: BTreeSet<_> =
            resources.map(|resource| (&resource.gvk.group, &resource.gvk.version)).collect();
        for (group, version) in served {
            check_references(&openapi_v3(group, version).unwrap());
        }
        check_references(&openapi_v2());
        assert_eq!(openapi_v3("apps", "v1beta1"), None);
    }

    #[test]
    fn a_deletion_is_answered_as_the_resource_says() {
        let document = openapi_v2();
        let answered = |path: &str| {
            document["paths"][path]["delete"]["responses"]["200"]["schema"]["$ref"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        for (path, kind) in [
            ("/api/v1/namespaces/{namespace}/pods/{name}", "io.k8s.api.core.v1.Pod"),
            ("/api/v1/namespaces/{namespace}/pods", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
            ("/api/v1/namespaces/{namespace}/secrets/{name}", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
            ("/apis/storage.k8s.io/v1/storageclasses/{name}", "io.k8s.api.storage.v1.StorageClass"),
        ] {
            assert_eq!(answered(path), format!("#/definitions/{kind}"), "{path}");
        }
    }

    #[test]
    fn a_field_carries_what_apply_and_explain_read() {
        let document = openapi_v3("apps", "v1").unwrap();
        let schemas = &document["components"]["schemas"];
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert!(
            containers["description"]
                .as_str()
                .unwrap()
                .starts_with("List of containers belonging to the pod.")
        );
        let mut rest = containers.clone();
        rest.as_object_mut().unwrap().shift_remove("description");
        assert_eq!(
            rest,
            json!({
                "type": "array", "items": { "$ref": "#/components/schemas/io.k8s.api.core.v1.Container" },
                "x-kubernetes-list-map-keys": ["name"], "x-kubernetes-list-type": "map",
                "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge",
            })
        );
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            deployment["x-kubernetes-group-version-kind"],
            json!([{ "group": "apps", "kind": "Deployment", "version": "v1" }])
        );
        assert_eq!(schemas["io.k8s.api.apps.v1.DeploymentSpec"]["required"], json!(["selector", "template"]));
        let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        assert_eq!(
            path["patch"]["x-kubernetes-group-version-kind"],
            json!({ "group": "apps", "kind": "Deployment", "version": "v1" })
        );
        assert!(
            path["patch"]["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some()
        );
    }

    /// Clients refuse an object without what is required, before they ask the server.
    #[test]
    fn only_events_must_have_metadata_and_nothing_with_a_default_is_required() {
        let document = openapi_v2();
        let definitions = document["definitions"].as_object().unwrap();
        let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
        let with_metadata: Vec<&str> = definitions
            .iter()
            .filter(|(_, schema)| required(schema).contains(&json!("metadata")))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(with_metadata, ["io.k8s.api.core.v1.Event"]);
        for (name, schema) in definitions {
            for field in required(schema) {
                let property = &schema["properties"][field.as_str().unwrap()];
                assert!(property.get("default").is_none(), "{name}.{field}");
            }
        }
        assert_eq!(definitions["io.k8s.api.events.v1.Event"]["required"], json!(["eventTime"]));
    }

    #[test]
    fn there_is_one_description_for_every_type_and_field() {
        let table = Registry::builtin().table();
        assert_eq!(descriptions().len(), table.types.len() + table.fields.len());
    }
}
