//! Lists in each form and encoding.
//!
//! Invariant: an answer is not assembled in memory, except as YAML, which only people read. Every item is made when its
//! turn comes.

use std::sync::Arc;

use coracle_store::Object;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use super::resource;
use crate::{
    frames::Frames,
    negotiate::{Accepted, Encoding},
    present::{Form, Presenter},
    protobuf,
    registry::Served,
    status::Status,
    types::{Body, BoxError, Response},
    verbs::{self, list::Listed},
};

pub fn respond(served: &Arc<Served>, accepted: Accepted, listed: Listed) -> Result<Response, Status> {
    Presenter::new(served, accepted).check(true)?;
    let (body, content_type) = match (accepted.encoding, accepted.form) {
        (Encoding::Json, Form::Object) => (listed.into_body(served), "application/json"),
        (Encoding::Json, _) => (as_json(served, accepted, listed), "application/json"),
        (Encoding::Protobuf, _) => (as_protobuf(served, accepted, listed)?, protobuf::MEDIA_TYPE),
        (Encoding::Yaml, _) => return as_yaml(served, accepted, listed),
    };
    let mut response = http::Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// The list without its items, and the name of the field that they are in.
pub fn frame(presenter: &Presenter, metadata: Value) -> (Value, &'static str) {
    let served = &presenter.served;
    match presenter.form {
        Form::Table(_) => (presenter.table(metadata), "rows"),
        Form::Metadata { .. } => (
            json!({"kind": "PartialObjectMetadataList", "apiVersion": presenter.meta, "metadata": metadata}),
            "items",
        ),
        Form::Object => (
            json!({"kind": served.list_kind(), "apiVersion": served.api_version(), "metadata": metadata}),
            "items",
        ),
    }
}

fn as_json(served: &Arc<Served>, accepted: Accepted, listed: Listed) -> Body {
    let presenter = Presenter::new(served, accepted);
    let (list, field) = frame(&presenter, listed.metadata(&presenter.served, presenter.form));
    let mut head = list.to_string();
    head.pop();
    head.push_str(&format!(",\"{field}\":["));
    let mut frames = Frames::default();
    frames.push(head.as_bytes());
    let mut objects = listed.objects.into_iter();
    let mut between: &[u8] = b"";
    let mut ended = false;
    let frames = std::iter::from_fn(move || {
        while !ended && !frames.is_full() {
            let Some(object) = objects.next() else {
                frames.push(b"]}\n");
                ended = true;
                break;
            };
            let item = verbs::decode_as(&presenter.served, &object).map(|value| presenter.item(value));
            match item.and_then(|item| serde_json::to_vec(&item).map_err(Status::internal)) {
                Ok(bytes) => {
                    frames.push(between);
                    frames.push_shared(&bytes.into(), 0);
                }
                Err(status) => return Some(Err(BoxError::from(status.to_string()))),
            }
            between = b",";
        }
        frames.take().map(|bytes| Ok(Frame::data(bytes)))
    });
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

fn as_protobuf(served: &Arc<Served>, accepted: Accepted, listed: Listed) -> Result<Body, Status> {
    let presenter = Presenter::new(served, accepted);
    let (list, _) = frame(&presenter, listed.metadata(&presenter.served, presenter.form));
    let shown = presenter.item_schema().ok_or_else(|| Status::internal("no message of this kind"))?;
    let encode = move |object: &Arc<Object>| {
        let item = presenter.item(verbs::decode_as(&presenter.served, object)?);
        protobuf::message(shown.shape(), &item).map_err(Status::internal)
    };
    let text = |field: &str| list[field].as_str().unwrap_or_default();
    let items = protobuf::Items { objects: listed.objects, encode };
    protobuf::list_body(text("apiVersion"), text("kind"), &list["metadata"], items)
}

fn as_yaml(served: &Arc<Served>, accepted: Accepted, listed: Listed) -> Result<Response, Status> {
    let presenter = Presenter::new(served, accepted);
    let (mut list, field) = frame(&presenter, listed.metadata(&presenter.served, presenter.form));
    let item = |object: &Arc<Object>| {
        let mut item = presenter.item(verbs::decode_as(served, object)?);
        // What the list says of all.
        if presenter.form == Form::Object && served.custom.is_none() {
            crate::object::remove(&mut item, "kind");
            crate::object::remove(&mut item, "apiVersion");
        }
        Ok(item)
    };
    list[field] = listed.objects.iter().map(item).collect::<Result<Value, Status>>()?;
    resource::encode(accepted.encoding, StatusCode::OK, &list)
}
