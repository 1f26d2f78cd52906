//! `/scale`: replicas and selector of a workload as autoscaling/v1 Scale.
//!
//! Writes: `spec.replicas` of the workload.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/apps/deployment/storage/storage.go (`ScaleREST`)

use coracle_schema::GroupVersionKind;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    decode,
    http::{body, resource},
    negotiate::{Accepted, Offer, negotiate},
    object,
    options::{Query, WriteOptions},
    present::{Form, check_form, partial_metadata},
    request_info::RequestInfo,
    status::{Cause, GroupResource, Status, quote},
    tables,
    types::{Request, Response, State, UserInfo},
    verbs::{
        self, Outcome, Target,
        patch::{self, PatchType, Patched},
        update::{Changed, check_name, modify},
    },
};

fn gvk() -> GroupVersionKind {
    GroupVersionKind { group: "autoscaling".into(), version: "v1".into(), kind: "Scale".into() }
}

pub async fn serve(
    state: &State,
    user: &UserInfo,
    target: &Target,
    info: &RequestInfo,
    request: Request,
) -> Result<Response, Status> {
    let query = Query::parse(request.uri().query());
    let accepted =
        negotiate(request.headers(), &query, Offer { protobuf: true, ..Offer::of(&target.served) })?;
    match info.verb.as_str() {
        "get" => get(state, target, accepted).await,
        "update" => update(state, user, target, &query, accepted, request).await,
        _ => patched(state, user, target, &query, accepted, request).await,
    }
}

async fn get(state: &State, target: &Target, accepted: Accepted) -> Result<Response, Status> {
    let workload = verbs::get(state, target, "").await?.into_value()?;
    let paths = target.served.custom.as_ref().and_then(|custom| custom.scale.as_ref());
    if let Some(paths) = paths.filter(|paths| at(&workload, &paths.spec).is_null()) {
        let path = quote(&format!(".{}", paths.spec.join(".")));
        return Err(Status::internal(format!("the spec replicas field {path} does not exist")));
    }
    encode(target, accepted, scale_of(target, &workload))
}

async fn update(
    state: &State,
    user: &UserInfo,
    target: &Target,
    query: &Query,
    accepted: Accepted,
    request: Request,
) -> Result<Response, Status> {
    let options = WriteOptions::parse(query, "UpdateOptions")?.sent_by(request.headers());
    let (content_type, bytes) = body::read(request).await?;
    let mut decoded = decode::parse(&bytes, decode::format_of(content_type.as_deref())?, &gvk())?;
    if let Some(schema) = state.schema.schema(&gvk()) {
        decode::shape(&schema, &gvk(), &mut decoded, options.field_validation)?;
    }
    let scale = decoded.value;
    check_name(&scale, &target.name)?;
    let outcome = modify(state, user, target, &options, |workload| apply(target, workload, &scale)).await?;
    respond(target, accepted, outcome)
}

async fn patched(
    state: &State,
    user: &UserInfo,
    target: &Target,
    query: &Query,
    accepted: Accepted,
    request: Request,
) -> Result<Response, Status> {
    let headers = request.headers().clone();
    let (content_type, bytes) = body::read(request).await?;
    let kind = PatchType::parse(content_type.as_deref())?;
    let options = WriteOptions::parse_patch(query, kind == PatchType::Apply)?.sent_by(&headers);
    let mut sent = patch::parse_body(kind, &bytes)?;
    let gvk = gvk();
    let schema = state.schema.schema(&gvk).ok_or_else(Status::unknown_path)?;
    if kind == PatchType::Apply {
        let (config, syntax) = &mut sent;
        verbs::apply::fit(&schema, &gvk, target, config)?;
        let config = of_workload(target, config);
        let outcome = verbs::apply::apply(state, user, target, config, syntax.lines(), &options).await?;
        return respond(target, accepted, outcome);
    }
    let outcome = modify(state, user, target, &options, |workload| {
        let patched = Patched { schema: &schema, name: &target.name };
        let mut scale = patched.by(kind, &sent, &scale_of(target, workload), &options)?.value;
        decode::check_kind(&gvk, &mut scale)?;
        apply(target, workload, &scale)
    })
    .await?;
    respond(target, accepted, outcome)
}

/// What is applied to a Scale is applied to the workload's number of replicas.
fn of_workload(target: &Target, scale: &Value) -> Value {
    let mut config = json!({
        "apiVersion": target.served.api_version(),
        "kind": &*target.served.api.gvk.kind,
        "metadata": {"name": target.name},
    });
    for field in ["uid", "resourceVersion"] {
        if let Some(value) = scale["metadata"].get(field) {
            config["metadata"][field] = value.clone();
        }
    }
    if let Some(replicas) = scale["spec"]["replicas"].as_i64() {
        set_replicas(target, &mut config, replicas);
    }
    config
}

fn respond(target: &Target, accepted: Accepted, outcome: Outcome) -> Result<Response, Status> {
    let workload = outcome.answer.into_value()?;
    let mut response = encode(target, accepted, scale_of(target, &workload))?;
    resource::warn(&mut response, &outcome.warnings);
    Ok(response)
}

fn encode(target: &Target, accepted: Accepted, scale: Value) -> Result<Response, Status> {
    let package = if target.served.custom.is_some() { "v1" } else { "autoscaling" };
    check_form(accepted.form, false, || format!("*{package}.Scale"))?;
    let shown = match accepted.form {
        Form::Object => scale,
        Form::Metadata { .. } => partial_metadata(&scale, accepted.meta),
        Form::Table(include) => tables::scale(&scale, include, accepted.meta),
    };
    resource::encode(accepted.encoding, StatusCode::OK, &shown)
}

fn apply(target: &Target, workload: &Value, scale: &Value) -> Result<Changed, Status> {
    let revision = object::meta_str(scale, "resourceVersion");
    if !revision.is_empty() && revision != object::meta_str(workload, "resourceVersion") {
        return Err(Status::stale(target.served.group_resource(), &target.name));
    }
    let uid = object::meta_str(scale, "uid");
    let own = object::meta_str(workload, "uid");
    if !uid.is_empty() && uid != own && target.served.custom.is_none() {
        let of = format!("{}/scale", target.served.api.plural);
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}");
        let of = GroupResource::new(&target.served.api.gvk.group, &of);
        return Err(Status::conflict(of, &target.name, why));
    }
    // It was decoded: what is no number is absent, and absent is zero.
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(Status::invalid(GroupResource::new("autoscaling", "Scale"), &target.name, vec![cause]));
    }
    let mut changed = workload.clone();
    set_replicas(target, &mut changed, replicas);
    Ok(Changed::Patched(changed.into()))
}

pub fn set_replicas(target: &Target, workload: &mut Value, replicas: i64) {
    match target.served.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
        Some(paths) => set_at(workload, &paths.spec, replicas.into()),
        None => workload["spec"]["replicas"] = replicas.into(),
    }
}

/// The value at a path of field names.
fn at<'a>(object: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(object, |value, name| &value[name.as_str()])
}

fn set_at(object: &mut Value, path: &[String], new: Value) {
    let mut slot = object;
    for name in path {
        if !slot.is_object() {
            *slot = json!({});
        }
        slot = &mut slot[name.as_str()];
    }
    *slot = new;
}

pub fn scale_of(target: &Target, workload: &Value) -> Value {
    let paths = target.served.custom.as_ref().and_then(|custom| custom.scale.as_ref());
    let (wanted, present, selector) = match paths {
        Some(paths) => (
            at(workload, &paths.spec).as_i64(),
            at(workload, &paths.status).as_i64(),
            paths
                .selector
                .as_ref()
                .and_then(|path| at(workload, path).as_str())
                .unwrap_or_default()
                .to_owned(),
        ),
        None => (
            workload["spec"]["replicas"].as_i64(),
            workload["status"]["replicas"].as_i64(),
            selector_text(&workload["spec"]["selector"]),
        ),
    };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !workload["metadata"][field].is_null() {
            metadata[field] = workload["metadata"][field].clone();
        }
    }
    let mut spec = json!({});
    if let Some(replicas) = wanted.filter(|replicas| *replicas != 0) {
        spec["replicas"] = replicas.into();
    }
    let mut status = json!({"replicas": present.unwrap_or_default()});
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// A selector in the query form, `a=b,c in (d,e)`.
pub fn selector_text(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured { &selector["matchLabels"] } else { selector };
    let mut terms: Vec<(String, String)> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let mut values = object::strings(&expression["values"]);
        values.sort_unstable();
        let values = values.join(",");
        let term = match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort();
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_written_in_the_query_form() {
        for (selector, text) in [
            (json!({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
            (json!({"app": "web"}), "app=web"),
            (
                json!({"matchExpressions": [{"key": "z", "operator": "In", "values": ["y", "x"]}, {"key": "a", "operator": "Exists"}]}),
                "a,z in (x,y)",
            ),
        ] {
            assert_eq!(selector_text(&selector), text);
        }
    }
}
