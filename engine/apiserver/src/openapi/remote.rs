//! The documents of aggregated servers within `/openapi/v2`.
//!
//! Kept true: of a server's document only the paths of its group version count, and the definitions that these reach. A
//!            definition whose name means something else here gets another name; its own group never loses one.
//! Source:    https://github.com/kubernetes/kube-openapi/blob/master/pkg/aggregator/aggregator.go

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};

use crate::aggregation::Remote;

const DEFINITIONS: &str = "#/definitions/";

/// The part of a server's document that belongs to its paths below `prefix`; `None` when there is none.
pub fn only_of(mut document: Value, prefix: &str) -> Option<Value> {
    let below =
        |path: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut paths = document["paths"].as_object_mut().map(std::mem::take)?;
    paths.retain(|path, _| below(path));
    if paths.is_empty() {
        return None;
    }
    let known = document["definitions"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut reached = BTreeSet::new();
    paths.values().for_each(|path| names(path, &mut reached));
    let mut open: Vec<String> = reached.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let mut more = BTreeSet::new();
        names(known.get(&name).unwrap_or(&Value::Null), &mut more);
        open.extend(more.into_iter().filter(|name| reached.insert(name.clone())));
    }
    let definitions: Map<String, Value> =
        known.into_iter().filter(|(name, _)| reached.contains(name)).collect();
    Some(json!({"paths": paths, "definitions": definitions}))
}

/// Adds what the servers that answer say of themselves. Paths that are there already stay.
pub fn add(whole: &mut Value, remotes: &[Arc<Remote>]) {
    for document in remotes.iter().filter_map(|remote| remote.openapi.as_ref()) {
        let Ok(own) = serde_json::from_slice(document) else { continue };
        merge(whole, own);
    }
}

/// Names the state of a document: of the whole one, and of the index that names those who answer.
pub fn hash(own: &Arc<str>, document: &[&str], remotes: &[Arc<Remote>]) -> Arc<str> {
    let added: Vec<&[u8]> = match document {
        ["v2"] => remotes.iter().filter_map(|remote| remote.openapi.as_deref()).collect(),
        ["v3"] => remotes.iter().filter(|it| it.available).map(|it| it.name.as_bytes()).collect(),
        _ => Vec::new(),
    };
    if added.is_empty() {
        return own.clone();
    }
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(own.as_bytes());
    added.iter().for_each(|part| context.update(part));
    let digest = context.finish();
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<String>().into()
}

fn merge(whole: &mut Value, mut own: Value) {
    let none = Map::new();
    let known = whole["definitions"].as_object().unwrap_or(&none);
    let added = own["definitions"].as_object().unwrap_or(&none);
    let mut renamed = Vec::new();
    for (name, definition) in added {
        if known.get(name).is_some_and(|other| other != definition) {
            let free = |name: &String| !known.contains_key(name) && !added.contains_key(name);
            let other = (2..).map(|count| format!("{name}_v{count}")).find(free).unwrap_or_default();
            renamed.push((format!("{DEFINITIONS}{name}"), format!("{DEFINITIONS}{other}")));
        }
    }
    refer(&mut own, &renamed);
    let short = |reference: &str| reference.trim_start_matches(DEFINITIONS).to_owned();
    for (part, skip) in [("definitions", false), ("paths", true)] {
        let Some(fields) = own[part].as_object_mut().map(std::mem::take) else { continue };
        let Some(target) = whole[part].as_object_mut() else { continue };
        for (name, value) in fields {
            let other = renamed.iter().find(|(from, _)| !skip && short(from) == name);
            target.entry(other.map_or(name, |(_, to)| short(to))).or_insert(value);
        }
    }
}

/// The names of the definitions that a value refers to.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) =
                fields.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(DEFINITIONS))
            {
                found.insert(name.to_owned());
            }
            fields.values().for_each(|value| names(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

fn refer(value: &mut Value, renamed: &[(String, String)]) {
    match value {
        Value::Object(fields) => {
            let to = fields.get("$ref").and_then(|to| renamed.iter().find(|(from, _)| to == from));
            if let Some((_, to)) = to {
                fields.insert("$ref".into(), to.as_str().into());
            }
            fields.values_mut().for_each(|value| refer(value, renamed));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| refer(value, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_group_is_taken_and_names_that_differ_are_kept_apart() {
        let server = json!({
            "paths": {
                "/apis/w.io/v1/flunders": {"get": {"schema": {"$ref": "#/definitions/Flunder"}}},
                "/apis/w.io/v10/flunders": {}, "/version": {},
            },
            "definitions": {
                "Flunder": {"properties": {"meta": {"$ref": "#/definitions/Meta"}}},
                "Meta": {"type": "string"}, "Unused": {},
            },
        });
        let own = only_of(server, "/apis/w.io/v1").unwrap();
        assert_eq!(own["paths"].as_object().unwrap().len(), 1);
        assert_eq!(own["definitions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Flunder", "Meta"]);
        let mut whole =
            json!({"paths": {"/version": {"get": {}}}, "definitions": {"Meta": {"type": "object"}}});
        merge(&mut whole, own.clone());
        assert_eq!(whole["definitions"]["Meta"], json!({"type": "object"}));
        assert_eq!(whole["definitions"]["Meta_v2"], json!({"type": "string"}));
        let reference = &whole["definitions"]["Flunder"]["properties"]["meta"]["$ref"];
        assert_eq!(reference, "#/definitions/Meta_v2");
        assert!(whole["paths"]["/apis/w.io/v1/flunders"].is_object());
        assert_eq!(whole["paths"]["/version"], json!({"get": {}}));
        assert_eq!(only_of(json!({"paths": {"/version": {}}}), "/apis/w.io/v1"), None);
    }
}
