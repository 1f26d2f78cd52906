//! What this server serves, as clients ask for it: the legacy documents and the aggregated one.
//!
//! Reads: the registry of served resources.
//! Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api

mod aggregated;
mod legacy;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::{
    negotiate::{Encoding, Offer, clauses, negotiate},
    options::Query,
    registry::Served,
    status::Status,
    types::{Response, State, json_response},
};

pub fn serve(state: &State, segments: &[&str], headers: &HeaderMap) -> Result<Response, Status> {
    if segments.len() == 1 && wants_aggregated(headers) {
        return Ok(aggregated::response(state, segments[0] == "api", headers));
    }
    let mut document = match segments {
        ["api"] => legacy::versions(state),
        ["apis"] => legacy::groups(state),
        ["api", version] => legacy::resources(state, "", version).ok_or_else(Status::unknown_path)?,
        ["apis", group] => legacy::group(state, group).ok_or_else(Status::unknown_path)?,
        ["apis", group, version] => {
            legacy::resources(state, group, version).ok_or_else(Status::unknown_path)?
        }
        _ => return Err(Status::unknown_path()),
    };
    let encoding = negotiate(headers, &Query::default(), Offer::PLAIN)?.encoding;
    if encoding == Encoding::Protobuf {
        // The oldest documents do not say their version in JSON; the envelope of protobuf always does.
        document["apiVersion"] = "v1".into();
    }
    crate::http::resource::encode(encoding, StatusCode::OK, &document)
}

/// Whether the first clause that this server understands asks for the aggregated form.
fn wants_aggregated(headers: &HeaderMap) -> bool {
    for clause in clauses(headers) {
        if clause.media_type != "application/json" && clause.media_type != "*/*" {
            continue;
        }
        match clause.parameter("as") {
            None => return false,
            Some("APIGroupDiscoveryList") => {
                if clause.parameter("g") == Some("apidiscovery.k8s.io") && clause.parameter("v") == Some("v2")
                {
                    return true;
                }
            }
            Some(_) => {}
        }
    }
    false
}

/// The groups in order, each with its versions in order.
fn group_versions(state: &State) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for served in state.resources.all().iter() {
        let gvk = &served.api.gvk;
        let at = match groups.iter().position(|(group, _)| **group == *gvk.group) {
            Some(at) => at,
            None => {
                groups.push((gvk.group.to_string(), Vec::new()));
                groups.len() - 1
            }
        };
        let versions = &mut groups[at].1;
        if !versions.iter().any(|version| **version == *gvk.version) {
            versions.push(gvk.version.to_string());
        }
    }
    let is_custom = |group: &str| {
        let all = state.resources.all();
        let mut own = all.iter().filter(|served| &*served.api.gvk.group == group);
        own.all(|served| served.custom.is_some())
    };
    state.aggregator.add_groups(&mut groups, is_custom);
    groups
}

fn of_version(state: &State, group: &str, version: &str) -> Vec<Arc<Served>> {
    let all = state.resources.all();
    let own =
        all.iter().filter(|served| *served.api.gvk.group == *group && *served.api.gvk.version == *version);
    own.cloned().collect()
}

fn strings(values: &[Arc<str>]) -> Value {
    values.iter().map(|value| Value::from(&**value)).collect()
}

fn with_etag(mut response: Response, etag: &str, content_type: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(value) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, value);
    }
    response
}

fn document_response(document: &Value) -> Response {
    json_response(StatusCode::OK, document)
}
