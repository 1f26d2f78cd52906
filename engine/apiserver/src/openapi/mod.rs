//! `/openapi/v2` and `/openapi/v3`: the schemas of everything that is served.
//!
//! Reads: the schema's table, what aggregated servers say of themselves. Invariant: no document of our own is kept; a
//! document is built, compressed when the client takes it, sent and dropped. Its hash names it, so clients ask once.
//! Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition

mod protobuf;
mod remote;

pub use remote::only_of;

use std::{io::Write, sync::Arc};

use coracle_schema::CustomDocument;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    aggregation::Remote,
    negotiate::clauses,
    options::Query,
    registry::Served,
    status::Status,
    types::{Request, Response, State, body_from},
};

const A_YEAR: &str = "public, max-age=31536000, immutable";
/// The protobuf of each version: what clients ask for, and what they are answered: an `@` isn't allowed in a media type,
/// and client-go could not read it.
const PROTOBUF: [(&str, &str, &str, protobuf::Dialect); 2] = [
    (
        "v2",
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        protobuf::V2,
    ),
    (
        "v3",
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
        protobuf::V3,
    ),
];

pub fn serve(state: &State, segments: &[&str], request: &Request) -> Result<Response, Status> {
    let headers = request.headers();
    let is_index = segments == ["v3"];
    let as_protobuf = PROTOBUF.iter().find(|form| segments.first() == Some(&form.0) && only(headers, form));
    // The index is JSON for everybody.
    if !is_index && as_protobuf.is_none() && !takes_json(headers) {
        return Err(Status::not_acceptable(&["application/json"]));
    }
    let own = state.resources.openapi_hash();
    let asked = Query::parse(request.uri().query()).text("hash").to_owned();
    if !asked.is_empty() && asked != *own {
        return moved(request.uri().path(), &own);
    }
    let remotes = state.aggregator.remotes();
    let etag = format!("\"{}\"", remote::hash(&own, segments, &remotes));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == etag.as_str()) {
        let mut response = http::Response::new(body_from(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(tagged(response, &etag));
    }
    let document = match segments {
        ["v2"] => whole(state, &remotes),
        ["v3"] => index(state, &own),
        ["v3", "api", version] => coracle_schema::openapi_v3("", version).ok_or_else(Status::unknown_path)?,
        ["v3", "apis", group, version] => coracle_schema::openapi_v3(group, version)
            .or_else(|| custom(state, group, version))
            .ok_or_else(Status::unknown_path)?,
        _ => return Err(Status::unknown_path()),
    };
    let (media_type, bytes) = match as_protobuf {
        Some((_, _, media_type, dialect)) if !is_index => (*media_type, dialect.encode(&document)),
        _ => ("application/json", serde_json::to_vec(&document).map_err(Status::internal)?),
    };
    let mut response = tagged(respond(headers, media_type, bytes)?, &etag);
    if asked == *own {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(A_YEAR));
    }
    Ok(response)
}

/// The document of everything, as `/openapi/v2` gives it.
fn whole(state: &State, remotes: &[Arc<Remote>]) -> Value {
    let mut document = coracle_schema::openapi_v2();
    let all = state.resources.all();
    coracle_schema::add_to_openapi_v2(&mut document, &documents(all.iter()));
    remote::add(&mut document, remotes);
    document
}

/// A document under another hash is to be asked for by its own: what was answered here would be kept for a year.
fn moved(path: &str, hash: &str) -> Result<Response, Status> {
    let mut response = http::Response::new(body_from(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let place = HeaderValue::from_str(&format!("{path}?hash={hash}")).map_err(Status::internal)?;
    response.headers_mut().insert(header::LOCATION, place);
    Ok(response)
}

/// The document of a group version of custom resources.
fn custom(state: &State, group: &str, version: &str) -> Option<Value> {
    let all = state.resources.all();
    let own = all.iter().filter(|it| &*it.api.gvk.group == group && &*it.api.gvk.version == version);
    let documents = documents(own);
    (!documents.is_empty()).then(|| coracle_schema::custom_openapi_v3(&documents))
}

fn documents<'a>(all: impl Iterator<Item = &'a Arc<Served>>) -> Vec<CustomDocument<'a>> {
    all.filter_map(|served| {
        let custom = served.custom.as_ref()?;
        Some(CustomDocument {
            resource: &served.api,
            list_kind: &custom.list_kind,
            schema: &custom.schema,
            selectable: &custom.selectable,
        })
    })
    .collect()
}

/// Where the document of each group version is.
fn index(state: &State, hash: &str) -> Value {
    let mut paths = Map::new();
    for served in state.resources.all().iter() {
        let gvk = &served.api.gvk;
        let path = if gvk.group.is_empty() {
            format!("api/{}", gvk.version)
        } else {
            format!("apis/{}/{}", gvk.group, gvk.version)
        };
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.entry(path).or_insert_with(|| json!({"serverRelativeURL": url}));
    }
    for remote in state.aggregator.remotes().iter().filter(|remote| remote.available) {
        let path = format!("apis/{}/{}", remote.group, remote.version);
        let url = format!("/openapi/v3/{path}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// Whether the client takes nothing but this form.
fn only(headers: &HeaderMap, (_, asked, answered, _): &(&str, &str, &str, protobuf::Dialect)) -> bool {
    let clauses = clauses(headers);
    !clauses.is_empty() && clauses.iter().all(|clause| [*asked, *answered].contains(&clause.media_type))
}

fn takes_json(headers: &HeaderMap) -> bool {
    let clauses = clauses(headers);
    let is_json = |media_type: &str| matches!(media_type, "application/json" | "application/*" | "*/*");
    clauses.is_empty() || clauses.iter().any(|clause| is_json(clause.media_type))
}

fn tagged(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    response
}

fn respond(headers: &HeaderMap, media_type: &'static str, bytes: Vec<u8>) -> Result<Response, Status> {
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|one| one.trim().starts_with("gzip")));
    let bytes = if takes_gzip { gzip(&bytes).map_err(Status::internal)? } else { bytes };
    let mut response = http::Response::new(body_from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if takes_gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
