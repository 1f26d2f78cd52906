//! `resources.txt` against the discovery documents of a stock server.

use coracle_schema::{ApiResource, Registry};
use serde_json::{Value, json};
use std::path::Path;

fn entry(name: &str, resource: &ApiResource) -> Value {
    let mut entry = json!({
        "kind": &*resource.gvk.kind, "name": name, "namespaced": resource.namespaced,
        "singularName": &*resource.singular, "verbs": words(&resource.verbs),
    });
    let lists = [("shortNames", &resource.short_names), ("categories", &resource.categories)];
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        entry[key] = words(list);
    }
    if let Some(hash) = &resource.storage_version_hash {
        entry["storageVersionHash"] = json!(&**hash);
    }
    entry
}

fn words(list: &[std::sync::Arc<str>]) -> Value {
    list.iter().map(|word| Value::from(&**word)).collect()
}

#[test]
fn resources_are_those_of_the_reference_documents() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kubernetes-1.36/discovery");
    if !folder.is_dir() {
        println!("skipped: `{}` is absent", folder.display());
        return;
    }
    let resources = Registry::builtin().resources();
    let groups = std::collections::BTreeSet::from_iter(
        resources.iter().map(|r| (r.gvk.group.clone(), r.gvk.version.clone())),
    );
    for (group, version) in groups {
        let file = if group.is_empty() {
            format!("api__{version}.json")
        } else {
            format!("apis__{group}__{version}.json")
        };
        let document: Value = serde_json::from_slice(&std::fs::read(folder.join(&file)).unwrap()).unwrap();
        let mut expected: Vec<Value> = Vec::new();
        for resource in resources.iter().filter(|r| r.gvk.group == group && r.gvk.version == version) {
            expected.push(entry(&resource.plural, resource));
            for subresource in &resource.subresources {
                let mut entry = json!({
                    "kind": &*subresource.gvk.kind, "name": format!("{}/{}", resource.plural, subresource.name),
                    "namespaced": resource.namespaced, "singularName": "", "verbs": words(&subresource.verbs),
                });
                if subresource.gvk.group != group || subresource.gvk.version != version {
                    entry["group"] = json!(&*subresource.gvk.group);
                    entry["version"] = json!(&*subresource.gvk.version);
                }
                expected.push(entry);
            }
        }
        assert_eq!(document["resources"], Value::Array(expected), "{file}");
    }
}
