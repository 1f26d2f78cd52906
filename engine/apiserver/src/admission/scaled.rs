//! What a request is about where that is not the object that is written: `/scale` of a workload is a Scale.

use std::borrow::Cow;

use serde_json::Value;

use super::{Operation, Request};
use crate::{status::Status, subresources::scale};

/// The object as the request's path shows it.
pub fn seen<'a>(request: &Request<'_>, object: &'a Value) -> Cow<'a, Value> {
    match request.target.subresource.as_str() {
        "scale" => Cow::Owned(scale::scale_of(request.target, object)),
        _ => Cow::Borrowed(object),
    }
}

/// Takes over what a webhook or a policy made of what it saw. It stays of its kind.
pub fn take(request: &Request<'_>, object: &mut Value, seen: Value) -> Result<(), Status> {
    if request.target.subresource == "scale" {
        let replicas = seen["spec"]["replicas"].as_i64().unwrap_or_default();
        scale::set_replicas(request.target, object, replicas);
        return Ok(());
    }
    let of = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let [made, own] =
        [&seen, object].map(|object| format!("{}, Kind={}", of(object, "apiVersion"), of(object, "kind")));
    if made != own {
        return Err(Status::internal(format!(
            "failed to convert object: converting ({made}) to ({own}): unknown conversion"
        )));
    }
    *object = seen;
    Ok(())
}

/// Binding a pod changes it, but what is asked for is a Binding: that was judged before.
pub fn is_step(request: &Request<'_>) -> bool {
    request.operation == Operation::Update && request.target.subresource == "binding"
}
