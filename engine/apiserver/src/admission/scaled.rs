//! What a request is about where that is not the object that is written: `/scale` of a workload is a Scale.

use std::borrow::Cow;

use serde_json::Value;

use super::{Operation, Request};
use crate::subresources::scale;

/// The object as the request's path shows it.
pub fn seen<'a>(request: &Request<'_>, object: &'a Value) -> Cow<'a, Value> {
    match request.target.subresource.as_str() {
        "scale" => Cow::Owned(scale::scale_of(request.target, object)),
        _ => Cow::Borrowed(object),
    }
}

/// Takes over what a webhook or a policy made of what it saw.
pub fn take(request: &Request<'_>, object: &mut Value, seen: Value) {
    match request.target.subresource.as_str() {
        "scale" => {
            let replicas = seen["spec"]["replicas"].as_i64().unwrap_or_default();
            scale::set_replicas(request.target, object, replicas);
        }
        _ => *object = seen,
    }
}

/// Binding a pod changes it, but what is asked for is a Binding: that was judged before.
pub fn is_step(request: &Request<'_>) -> bool {
    request.operation == Operation::Update && request.target.subresource == "binding"
}
