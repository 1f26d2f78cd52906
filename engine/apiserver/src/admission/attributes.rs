//! A request as an `AdmissionRequest` of `admission.k8s.io/v1` describes it, without the objects: what webhooks are
//! sent, and what expressions know as `request`.
//!
//! Source: https://github.com/kubernetes/api/blob/master/admission/v1/types.go

use coracle_schema::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::{Asked, Operation, Request, rules};
use crate::{options::FieldValidation, registry::Served, types::UserInfo};

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
    put("options", options(request).unwrap_or_default());
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
    let mut put = |field: &str, value: Value| {
        if !value.is_null() && value != "" {
            out[field] = value;
        }
    };
    if request.dry_run {
        put("dryRun", json!(["All"]));
    }
    match request.asked {
        Asked::Write(options) => {
            put("fieldManager", options.field_manager.as_str().into());
            // What is not said is `Warn`.
            if options.field_validation != FieldValidation::Warn {
                put("fieldValidation", format!("{:?}", options.field_validation).into());
            }
        }
        Asked::Delete(options) => {
            put("gracePeriodSeconds", options.grace_period_seconds.into());
            put("orphanDependents", options.orphan_dependents.into());
            put("propagationPolicy", options.propagation.map(|own| format!("{own:?}")).into());
            let preconditions = [("uid", &options.uid), ("resourceVersion", &options.resource_version)];
            let given = preconditions.into_iter().filter_map(|(field, own)| Some((field, own.as_deref()?)));
            let given: Map<String, Value> = given.map(|(field, own)| (field.into(), own.into())).collect();
            if !given.is_empty() {
                put("preconditions", given.into());
            }
        }
        Asked::Plain(_) => {}
    }
    Some(out)
}
