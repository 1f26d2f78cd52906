//! apidiscovery.k8s.io/v2 APIGroupDiscoveryList: everything in one document, with an ETag.

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{document_response, group_versions, of_version, strings, with_etag};
use crate::{
    aggregation::documents,
    registry::Served,
    types::{Response, State, body_from},
};

const CONTENT_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub fn response(state: &State, core: bool, headers: &HeaderMap) -> Response {
    let document = document(state, core);
    let etag = etag(&document);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known == Some(&*etag) {
        let mut response = http::Response::new(body_from(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return with_etag(response, &etag, CONTENT_TYPE);
    }
    with_etag(document_response(&document), &etag, CONTENT_TYPE)
}

fn etag(document: &Value) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, document.to_string().as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("\"{hex}\"")
}

fn document(state: &State, core: bool) -> Value {
    let items: Vec<Value> = group_versions(state)
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> =
                versions.iter().map(|version| version_value(state, group, version)).collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn version_value(state: &State, group: &str, version: &str) -> Value {
    if let Some(remote) = state.aggregator.find(group, version) {
        return documents::entry(&remote);
    }
    let mut all = of_version(state, group, version);
    all.sort_by(|a, b| a.api.plural.cmp(&b.api.plural));
    let resources: Vec<Value> = all.iter().map(|served| resource(served)).collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn resource(served: &Served) -> Value {
    let api = &served.api;
    let mut value = json!({
        "resource": &*api.plural,
        // Only what differs from the place in the document is spelled out.
        "responseKind": {"group": "", "version": "", "kind": &*api.gvk.kind},
        "scope": if api.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": &*api.singular,
        "verbs": strings(&api.verbs),
    });
    if !api.short_names.is_empty() {
        value["shortNames"] = strings(&api.short_names);
    }
    if !api.categories.is_empty() {
        value["categories"] = strings(&api.categories);
    }
    if !api.subresources.is_empty() {
        value["subresources"] = api
            .subresources
            .iter()
            .map(|subresource| {
                let gvk = &subresource.gvk;
                let same = gvk.group == api.gvk.group && gvk.version == api.gvk.version;
                let (group, version) = if same { ("", "") } else { (&*gvk.group, &*gvk.version) };
                json!({
                    "subresource": &*subresource.name,
                    "responseKind": {"group": group, "version": version, "kind": &*gvk.kind},
                    "verbs": strings(&subresource.verbs),
                })
            })
            .collect();
    }
    value
}
