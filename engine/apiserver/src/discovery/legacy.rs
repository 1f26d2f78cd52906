//! `/api`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`.

use serde_json::{Value, json};

use super::{group_versions, of_version, strings};
use crate::{
    registry::{Served, api_version},
    types::State,
};

pub fn versions(state: &State) -> Value {
    let address = std::net::SocketAddr::new(state.config.node_ip, state.config.bind.port());
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address.to_string()}],
    })
}

pub fn groups(state: &State) -> Value {
    let groups: Vec<Value> = group_versions(state)
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_value(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

pub fn group(state: &State, group: &str) -> Option<Value> {
    let groups = group_versions(state);
    let (name, versions) = groups.iter().find(|(name, _)| name == group && !name.is_empty())?;
    let mut value = json!({"kind": "APIGroup", "apiVersion": "v1"});
    let Value::Object(fields) = group_value(name, versions) else { return None };
    value.as_object_mut()?.extend(fields);
    Some(value)
}

fn group_value(group: &str, versions: &[String]) -> Value {
    let version = |version: &String| json!({"groupVersion": api_version(group, version), "version": version});
    let all: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": group, "versions": all, "preferredVersion": all[0]})
}

pub fn resources(state: &State, group: &str, version: &str) -> Option<Value> {
    let of_version = of_version(state, group, version);
    let mut resources: Vec<Value> = of_version.iter().flat_map(|served| entries(served)).collect();
    if resources.is_empty() {
        return None;
    }
    resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let mut list = json!({"kind": "APIResourceList"});
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list["groupVersion"] = api_version(group, version).into();
    list["resources"] = resources.into();
    Some(list)
}

fn entries(served: &Served) -> Vec<Value> {
    let api = &served.api;
    let mut main = json!({
        "name": &*api.plural,
        "singularName": &*api.singular,
        "namespaced": api.namespaced,
        "kind": &*api.gvk.kind,
        "verbs": strings(&api.verbs),
    });
    if !api.short_names.is_empty() {
        main["shortNames"] = strings(&api.short_names);
    }
    if !api.categories.is_empty() {
        main["categories"] = strings(&api.categories);
    }
    if let Some(hash) = &api.storage_version_hash {
        main["storageVersionHash"] = (**hash).into();
    }
    let mut all = vec![main];
    for subresource in &api.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", api.plural, subresource.name),
            "singularName": "",
            "namespaced": api.namespaced,
        });
        let gvk = &subresource.gvk;
        if gvk.group != api.gvk.group || gvk.version != api.gvk.version {
            entry["group"] = (*gvk.group).into();
            entry["version"] = (*gvk.version).into();
        }
        entry["kind"] = (*gvk.kind).into();
        entry["verbs"] = strings(&subresource.verbs);
        all.push(entry);
    }
    all
}
