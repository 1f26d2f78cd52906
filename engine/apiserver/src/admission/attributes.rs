//! A request as an `AdmissionRequest` of `admission.k8s.io/v1` describes it, without the objects: what webhooks are
//! sent, and what expressions know as `request`.
//!
//! Source: https://github.com/kubernetes/api/blob/master/admission/v1/types.go

use coracle_schema::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::{Operation, Request, rules};
use crate::{registry::Served, types::UserInfo};

/// `matched` is the resource in the version of the rule that led here.
pub fn describe(request: &Request<'_>, matched: &Served, object: Option<&Value>) -> Map<String, Value> {
    let target = request.target;
    let mut out = Map::new();
    let mut put = |field: &str, value: Value| {
        if value != "" {
            out.insert(field.into(), value);
        }
    };
    put("kind", kind(kind_of(matched, &target.subresource)));
    put("resource", resource(matched));
    put("subResource", target.subresource.as_str().into());
    put("requestKind", kind(kind_of(&target.served, &target.subresource)));
    put("requestResource", resource(&target.served));
    put("requestSubResource", target.subresource.as_str().into());
    put("name", rules::name(request, object).into());
    put("namespace", rules::namespace(request, object).into());
    put("operation", request.operation.as_str().into());
    put("userInfo", user(request.user));
    put("dryRun", request.dry_run.into());
    if let Some(options) = options(request) {
        put("options", options);
    }
    out
}

/// A subresource has a kind of its own: `Scale`, `Binding`, `PodExecOptions`.
fn kind_of<'a>(served: &'a Served, subresource: &str) -> &'a GroupVersionKind {
    served.subresource(subresource).map_or(&served.api.gvk, |part| &part.gvk)
}

fn kind(gvk: &GroupVersionKind) -> Value {
    json!({"group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind})
}

fn resource(served: &Served) -> Value {
    let gvk = &served.api.gvk;
    json!({"group": *gvk.group, "version": *gvk.version, "resource": *served.api.plural})
}

pub fn user(user: &UserInfo) -> Value {
    let mut out = json!({"username": user.name});
    for (field, value) in
        [("uid", json!(user.uid)), ("groups", json!(user.groups)), ("extra", json!(user.extra))]
    {
        if value != json!("") && value != json!([]) && value != json!({}) {
            out[field] = value;
        }
    }
    out
}

fn options(request: &Request<'_>) -> Option<Value> {
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return None,
    };
    let mut out = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if request.dry_run {
        out["dryRun"] = json!(["All"]);
    }
    Some(out)
}
