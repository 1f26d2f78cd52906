//! Admission of what is opened rather than stored: exec, attach, portforward, proxy.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/rest.go (`ConnectResource`)

use coracle_schema::GroupVersionKind;
use http::Uri;
use serde_json::{Value, json};

use crate::{
    admission::{self, Asked, Operation},
    options::is_true,
    registry::api_version,
    request_info::{RequestInfo, query_pairs},
    status::Status,
    types::{State, UserInfo},
    verbs::Target,
};

/// Returns the texts for `Warning` headers.
pub async fn admit(
    state: &State,
    user: &UserInfo,
    target: &Target,
    kind: &GroupVersionKind,
    info: &RequestInfo,
    uri: &Uri,
) -> Result<Vec<String>, Status> {
    let asked = options(kind, info, uri);
    let attributes =
        admission::Request::new(state, user, target, Operation::Connect, None, Asked::Plain(false));
    let mut admitted = asked.clone();
    admission::mutate(&attributes, &mut admitted).await?;
    if admitted != asked {
        let why = format!(
            "admission changed the {} of a request to {}/{}, which this server cannot follow",
            kind.kind, target.served.api.plural, target.subresource
        );
        return Err(Status::internal(why));
    }
    admission::validate(&attributes, Some(&admitted)).await?;
    Ok(attributes.take_warnings())
}

/// Admission of an object that is posted to a subresource and not stored itself: Binding, Eviction, TokenRequest.
pub async fn admit_posted(
    state: &State,
    user: &UserInfo,
    target: &Target,
    object: &mut Value,
    dry_run: bool,
) -> Result<(), Status> {
    let request =
        admission::Request::new(state, user, target, Operation::Create, None, Asked::Plain(dry_run));
    admission::mutate(&request, object).await?;
    admission::validate(&request, Some(object)).await
}

/// The query as an object of the subresource's kind.
fn options(kind: &GroupVersionKind, info: &RequestInfo, uri: &Uri) -> Value {
    let mut out = json!({"kind": &*kind.kind, "apiVersion": api_version(&kind.group, &kind.version)});
    for (key, value) in query_pairs(uri.query()) {
        match key.as_str() {
            "stdin" | "stdout" | "stderr" | "tty" => {
                out[key.as_str()] = is_true(&value).into();
            }
            "container" => out["container"] = value.into(),
            "command" => push(&mut out["command"], value.into()),
            "ports" => {
                for port in value.split(',').filter_map(|port| port.trim().parse::<i32>().ok()) {
                    push(&mut out["ports"], port.into());
                }
            }
            _ => {}
        }
    }
    if info.subresource == "proxy" {
        let slash = if uri.path().ends_with('/') { "/" } else { "" };
        out["path"] = format!("{}{slash}", info.rest).into();
    }
    out
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        slot => *slot = json!([item]),
    }
}
