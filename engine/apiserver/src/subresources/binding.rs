//! `/binding`: a scheduler's decision. Sets `spec.nodeName`, the Binding's labels and annotations, and the condition
//! PodScheduled in one commit.
//!
//! Invariant: a pod is bound once.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/pod/storage/storage.go (`BindingREST`)

use coracle_schema::GroupVersionKind;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    decode,
    http::{body, resource},
    negotiate, object,
    options::{Query, WriteOptions},
    status::{GroupResource, Status},
    subresources::connect,
    types::{Request, Response, State, UserInfo},
    verbs::{
        Target,
        update::{Changed, modify},
    },
};

pub async fn serve(
    state: &State,
    user: &UserInfo,
    target: &Target,
    request: Request,
) -> Result<Response, Status> {
    let options = WriteOptions::parse(&Query::parse(request.uri().query()), "CreateOptions")?;
    let encoding = negotiate::accepted_encoding(request.headers())?;
    let (content_type, bytes) = body::read(request).await?;
    let gvk = GroupVersionKind { group: "".into(), version: "v1".into(), kind: "Binding".into() };
    let decoded = decode::parse(&bytes, decode::format_of(content_type.as_deref())?, &gvk)?;
    let (mut binding, warnings) = decode::posted(decoded, &gvk, options.field_validation)?;
    let name = object::name(&binding);
    if !name.is_empty() && name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    connect::admit_posted(state, user, target, &mut binding, options.dry_run).await?;
    let status = bind_pod(state, user, target, &binding, options.dry_run).await?;
    let mut response = resource::encode(encoding, StatusCode::CREATED, &status)?;
    resource::warn(&mut response, &warnings);
    Ok(response)
}

/// The older form: a Binding posted to the collection names its pod itself.
pub async fn bind(
    state: &State,
    user: &UserInfo,
    target: &Target,
    mut binding: Value,
    dry_run: bool,
) -> Result<Value, Status> {
    let pods = state.resources.get("", "v1", "pods").ok_or_else(Status::unknown_path)?;
    let mut pod = Target::new(pods, &target.namespace, object::name(&binding));
    pod.subresource = "binding".into();
    connect::admit_posted(state, user, &pod, &mut binding, dry_run).await?;
    bind_pod(state, user, &pod, &binding, dry_run).await
}

async fn bind_pod(
    state: &State,
    user: &UserInfo,
    target: &Target,
    binding: &Value,
    dry_run: bool,
) -> Result<Value, Status> {
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    let group_kind = GroupResource::new("", "Binding");
    let refuse = |cause| Err(Status::invalid(group_kind, &target.name, vec![cause]));
    if !matches!(kind, "" | "Node") {
        return refuse(crate::status::Cause::not_supported("target.kind", kind, &["Node", ""]));
    }
    if node.is_empty() {
        return refuse(crate::status::Cause::required("target.name", ""));
    }
    let options = WriteOptions { dry_run, ..WriteOptions::default() };
    modify(state, user, target, &options, |pod| assign(target, pod, binding, node)).await?;
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

fn assign(target: &Target, pod: &Value, binding: &Value, node: &str) -> Result<Changed, Status> {
    let conflict =
        |why: String| Err(Status::conflict(GroupResource::new("", "pods/binding"), &target.name, why));
    let uid = object::meta_str(binding, "uid");
    if !uid.is_empty() && uid != object::meta_str(pod, "uid") {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::meta_str(pod, "uid")
        ));
    }
    if object::is_deleting(pod) {
        return conflict(format!("pod {} is being deleted, cannot be assigned to a host", target.name));
    }
    if let Some(other) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return conflict(format!("pod {} is already assigned to node \"{other}\"", target.name));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {} has non-empty .spec.schedulingGates", target.name));
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = node.into();
    for map in ["annotations", "labels"] {
        for (key, value) in binding["metadata"][map].as_object().into_iter().flatten() {
            pod["metadata"][map][key] = value.clone();
        }
    }
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": object::now(),
    });
    let others = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions: Vec<Value> =
        others.filter(|condition| condition["type"] != "PodScheduled").cloned().collect();
    conditions.push(condition);
    pod["status"]["conditions"] = conditions.into();
    // The place it was promised is of no more use (`ClearingNominatedNodeNameAfterBinding`).
    object::remove(&mut pod["status"], "nominatedNodeName");
    Ok(Changed::Patched(pod.into()))
}
