//! From a definition to what is served: one entry for each of its served versions.

use std::{cmp::Ordering, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_schema::{ApiResource, CustomSchema, GroupVersionKind, Schema, Subresource};
use serde_json::Value;

use super::{Columns, Conversion, Custom, CustomResource, ScalePaths, Schemas, rules, simple_path};
use crate::{
    object::{is_deleting, name, strings},
    outbound::Outbound,
    registry::{Served, store_resource},
};

/// As a stock server's discovery orders them for custom resources.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const PART_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Names come from the accepted ones.
pub fn served(definition: &Value, accepted: &Value, outbound: &Arc<Outbound>) -> Vec<Arc<Served>> {
    let versions = definition["spec"]["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(storage) = versions.iter().find(|version| version["storage"] == true) else {
        return Vec::new();
    };
    let conversion = Conversion::of(definition, outbound);
    let schemas = schemas(versions);
    let entries = |served: bool, unserved: &Arc<[Arc<Served>]>| {
        let chosen = versions.iter().filter(|version| (version["served"] == true) == served);
        let entry = |version| {
            let (conversion, unserved) = (conversion.clone(), unserved.clone());
            one(definition, accepted, version, text(storage, "name"), conversion, unserved, &schemas)
        };
        chosen.filter_map(entry).map(Arc::new).collect::<Vec<_>>()
    };
    let unserved = entries(false, &Arc::default()).into();
    entries(true, &unserved)
}

/// The version that is stored, served or not, with nobody to convert to it: for who empties the definition.
pub fn stored(definition: &Value) -> Option<Served> {
    let versions = definition["spec"]["versions"].as_array()?;
    let storage = versions.iter().find(|version| version["storage"] == true)?;
    let (accepted, name) = (&definition["status"]["acceptedNames"], text(storage, "name"));
    one(definition, accepted, storage, name, None, Arc::default(), &schemas(versions))
}

fn schemas(versions: &[Value]) -> Schemas {
    let schema = |version: &Value| {
        let schema = CustomSchema::new(version["schema"]["openAPIV3Schema"].clone());
        Some((text(version, "name").to_owned(), Schema::custom(schema.into())?))
    };
    Schemas(versions.iter().filter_map(schema).collect())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn words(value: &Value) -> Vec<Arc<str>> {
    strings(value).into_iter().map(Arc::from).collect()
}

fn one(
    definition: &Value,
    accepted: &Value,
    version: &Value,
    storage: &str,
    conversion: Option<Arc<Conversion>>,
    unserved: Arc<[Arc<Served>]>,
    schemas: &Schemas,
) -> Option<Served> {
    let spec = &definition["spec"];
    let (group, kind, plural) = (text(spec, "group"), text(accepted, "kind"), text(accepted, "plural"));
    let gvk = GroupVersionKind::new(group, text(version, "name"), kind);
    let storage = GroupVersionKind::new(group, storage, kind);
    let own = schemas.of(&gvk.version)?;
    let schema = own.as_custom()?.clone();
    let parts = &version["subresources"];
    let part = |name: &str, gvk: GroupVersionKind| Subresource {
        name: name.into(),
        gvk,
        verbs: PART_VERBS.map(Arc::from).to_vec(),
    };
    let mut subresources = Vec::new();
    let has_status = parts["status"].is_object();
    if has_status {
        subresources.push(part("status", gvk.clone()));
    }
    let scale = parts["scale"].as_object().map(|_| scale_paths(&parts["scale"]));
    if scale.is_some() {
        subresources.push(part("scale", GroupVersionKind::new("autoscaling", "v1", "Scale")));
    }
    let stored = strings(&definition["status"]["storedVersions"]);
    let custom = Custom {
        definition: name(definition).into(),
        list_kind: text(accepted, "listKind").into(),
        // They were checked when the definition was written.
        rules: rules::compile(&version["schema"]["openAPIV3Schema"], "").0,
        schema,
        columns: Columns::new(&version["additionalPrinterColumns"]),
        scale,
        selectable: version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| simple_path(text(field, "jsonPath")))
            .collect(),
        has_status,
        conversion,
        unserved,
        terminating: is_deleting(definition),
        deprecation: (version["deprecated"] == true).then(|| match version["deprecationWarning"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("{group}/{} {kind} is deprecated", gvk.version),
        }),
        mixed: definition["metadata"]["generation"] != 1
            || stored.iter().any(|version| **version != *storage.version),
        schemas: schemas.clone(),
    };
    Some(Served {
        resource: store_resource(group, plural),
        schema: Some(own.clone()),
        strategy: &CustomResource,
        // The strategy sees to both.
        has_status: false,
        counts_generation: false,
        updates_unconditionally: false,
        custom: Some(Arc::new(custom)),
        api: ApiResource {
            plural: plural.into(),
            singular: text(accepted, "singular").into(),
            namespaced: text(spec, "scope") == "Namespaced",
            short_names: words(&accepted["shortNames"]),
            categories: words(&accepted["categories"]),
            verbs: VERBS.map(Arc::from).to_vec(),
            subresources,
            storage_version_hash: Some(storage_hash(&storage)),
            returns_deleted: false,
            gvk,
        },
        storage,
    })
}

fn scale_paths(scale: &Value) -> ScalePaths {
    ScalePaths {
        spec: simple_path(text(scale, "specReplicasPath")),
        status: simple_path(text(scale, "statusReplicasPath")),
        selector: scale["labelSelectorPath"].as_str().map(simple_path),
    }
}

fn storage_hash(gvk: &GroupVersionKind) -> Arc<str> {
    let text = format!("{}/{}/{}", gvk.group, gvk.version, gvk.kind);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    STANDARD.encode(&digest.as_ref()[..8]).into()
}

/// The order of versions in discovery: `v10`, `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then all others by name.
/// Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major, minor.
fn rank(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let major = major.parse().ok()?;
    match (rest, rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        ("", _, _) => Some((2, major, 0)),
        (_, Some(minor), _) => Some((1, major, minor.parse().ok()?)),
        (_, _, Some(minor)) => Some((0, major, minor.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability_then_age() {
        let mut versions = ["v1alpha1", "foo", "v1", "v11beta2", "v2", "v10", "v1beta1", "v12alpha1"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v1beta1", "v12alpha1", "v1alpha1", "foo"]);
    }
}
