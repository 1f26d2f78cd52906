//! What aggregated servers add to discovery.
//!
//! Reads: the aggregated discovery or the resource lists that they gave last. A server that is away keeps its place, marked `Stale`.
//! Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery

use serde_json::{Value, json};

use super::{Aggregator, Remote, local};

impl Aggregator {
    /// Adds the groups and versions of other servers to those of this one, which come in the order of their priority.
    /// `custom` tells which of the groups come from definitions.
    pub fn add_groups(&self, groups: &mut Vec<(String, Vec<String>)>, is_custom: impl Fn(&str) -> bool) {
        for remote in self.remotes().iter() {
            if let Some((_, versions)) = groups.iter_mut().find(|(group, _)| *group == remote.group) {
                if !versions.contains(&remote.version) {
                    versions.push(remote.version.clone());
                }
                continue;
            }
            let priority = |group: &str| match self.remotes().iter().find(|other| other.group == group) {
                Some(other) => other.group_priority,
                None if is_custom(group) => local::CUSTOM.0,
                None => i64::MAX,
            };
            let after = |group: &str| (-priority(group), group) > (-remote.group_priority, &remote.group);
            let at = groups.iter().position(|(group, _)| after(group)).unwrap_or(groups.len());
            groups.insert(at, (remote.group.clone(), vec![remote.version.clone()]));
        }
    }
}

/// The entry of a group version in the aggregated document.
pub fn entry(remote: &Remote) -> Value {
    if let Some(told) = &remote.discovery {
        let mut entry = Value::clone(told);
        let is_stale = !remote.available || entry["freshness"] == "Stale";
        entry["freshness"] = if is_stale { "Stale" } else { "Current" }.into();
        return entry;
    }
    let empty = Vec::new();
    let list = remote.resources.as_ref().and_then(|list| list["resources"].as_array()).unwrap_or(&empty);
    let mut resources: Vec<Value> = Vec::new();
    for one in list.iter().filter(|one| !name(one).contains('/')) {
        let mut entry = json!({
            "resource": one["name"],
            "responseKind": kind(one),
            "scope": if one["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": one["singularName"].as_str().unwrap_or_default(),
            "verbs": one["verbs"],
        });
        for field in ["shortNames", "categories"] {
            if one[field].is_array() {
                entry[field] = one[field].clone();
            }
        }
        let parts: Vec<Value> = list
            .iter()
            .filter_map(|part| Some((name(part).split_once('/')?, part)))
            .filter(|((resource, _), _)| *resource == name(one))
            .map(|((_, part), value)| {
                json!({"subresource": part, "responseKind": kind(value), "verbs": value["verbs"]})
            })
            .collect();
        if !parts.is_empty() {
            entry["subresources"] = parts.into();
        }
        resources.push(entry);
    }
    let freshness = if remote.available && remote.resources.is_some() { "Current" } else { "Stale" };
    json!({"version": remote.version, "resources": resources, "freshness": freshness})
}

fn name(resource: &Value) -> &str {
    resource["name"].as_str().unwrap_or_default()
}

fn kind(resource: &Value) -> Value {
    let text = |field: &str| resource[field].as_str().unwrap_or_default();
    json!({"group": text("group"), "version": text("version"), "kind": text("kind")})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_server_tells_its_discovery_itself_or_it_is_made_of_its_resource_list() {
        let service = json!({"namespace": "default", "name": "s"});
        let object = json!({"metadata": {"name": "v1.g"}, "spec": {"group": "g", "version": "v1", "service": service}});
        let mut remote = Remote::of(&object).expect("a remote");
        remote.available = true;
        let verbs = json!(["get"]);
        let listed =
            json!({"name": "as", "singularName": "a", "namespaced": true, "kind": "A", "verbs": verbs});
        remote.resources = Some(Arc::new(json!({"resources": [listed]})));
        let kind = json!({"group": "", "version": "", "kind": "A"});
        let resource = json!({"resource": "as", "responseKind": kind, "scope": "Namespaced", "singularResource": "a", "verbs": verbs});
        let made = json!({"version": "v1", "resources": [resource], "freshness": "Current"});
        let told = json!({"version": "v1", "resources": [{"resource": "as", "categories": ["all"]}], "freshness": "Current"});
        assert_eq!(entry(&remote), made);
        remote.discovery = Some(Arc::new(told.clone()));
        assert_eq!(entry(&remote), told);
        remote.available = false;
        assert_eq!(entry(&remote)["freshness"], "Stale");
    }
}
