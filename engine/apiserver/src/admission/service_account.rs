//! ServiceAccount: every pod has an account; its token, the cluster's CA and the namespace are mounted into it.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/serviceaccount/admission.go

use std::time::Duration;

use coracle_store::{Key, Resource, Scope};
use serde_json::{Value, json};

use super::{Operation, Request, namespace_lifecycle};
use crate::{names, status::Status};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// An hour and a bit: the kubelet renews it before, and tokens of an hour's age are not refused over clock skew.
pub const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The account that every namespace gets from a controller, soon after it is made.
const DEFAULT: &str = "default";
/// Upstream looks ten times, 100 to 200 ms apart.
const DEFAULT_COMES_WITHIN: Duration = Duration::from_millis(1500);

/// The account of a pod that is created; absent for all else.
fn asked<'a>(request: &Request<'_>, pod: &'a Value) -> Option<&'a str> {
    let created = request.operation == Operation::Create && request.is("", "pods") && pod["spec"].is_object();
    if !created || is_mirror(pod) {
        return None;
    }
    let names = [&pod["spec"]["serviceAccountName"], &pod["spec"]["serviceAccount"]];
    let asked = names.into_iter().find_map(|value| value.as_str().filter(|name| !name.is_empty()));
    Some(asked.unwrap_or(DEFAULT))
}

/// A picture of what a node runs by itself.
pub fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"][MIRROR].is_string()
}

fn key(request: &Request<'_>, name: &str) -> Key {
    Key::new(Resource("serviceaccounts".into()), &request.target.namespace, name)
}

/// A pod may follow its namespace so fast that the account `default` is not there yet.
pub async fn wait_for_default(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    if asked(request, pod) != Some(DEFAULT) {
        return Ok(());
    }
    let key = key(request, DEFAULT);
    if request.state.reader.get(&key).is_some() {
        return Ok(());
    }
    // Where nothing can be created, nothing is waited for.
    namespace_lifecycle::admit(request, pod)?;
    let (before, mut watch) = request.state.reader.list_watch(Scope::object(&key));
    if before.get(&key).is_none() {
        // Whatever happens to it, `find` says what is so then.
        let _ = tokio::time::timeout(DEFAULT_COMES_WITHIN, watch.next()).await;
    }
    Ok(())
}

pub fn admit(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    let Some(name) = asked(request, pod).map(str::to_owned) else { return Ok(()) };
    let account = find(request, &name, pod)?;
    let spec = &mut pod["spec"];
    spec["serviceAccountName"] = name.as_str().into();
    spec["serviceAccount"] = name.as_str().into();
    if wants_token(spec, &account) {
        mount_token(spec);
    }
    let own_secrets = spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty);
    if let (true, Some(secrets)) =
        (own_secrets, account["imagePullSecrets"].as_array().filter(|list| !list.is_empty()))
    {
        spec["imagePullSecrets"] = secrets.clone().into();
    }
    Ok(())
}

pub fn find(request: &Request<'_>, name: &str, pod: &Value) -> Result<Value, Status> {
    match request.state.reader.get(&key(request, name)) {
        Some(account) => crate::verbs::decode(&account),
        None => {
            let why = format!(
                "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
                request.target.namespace
            );
            Err(request.forbid(pod, why))
        }
    }
}

/// The pod's word counts before the account's.
fn wants_token(spec: &Value, account: &Value) -> bool {
    let asked = |object: &Value| object["automountServiceAccountToken"].as_bool();
    asked(spec).or(asked(account)).unwrap_or(true)
}

fn mount_token(spec: &mut Value) {
    let existing = spec["volumes"].as_array().into_iter().flatten().find_map(|volume| {
        let name = volume["name"].as_str()?;
        let projected = volume["projected"].is_object() && name.starts_with("kube-api-access-");
        projected.then(|| name.to_owned())
    });
    let is_new = existing.is_none();
    let name = existing.unwrap_or_else(|| format!("kube-api-access-{}", names::random(5)));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array();
            if mounts.into_iter().flatten().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            used = true;
            push(
                &mut container["volumeMounts"],
                json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}),
            );
        }
    }
    if used && is_new {
        push(&mut spec["volumes"], volume(&name));
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        slot => *slot = json!([item]),
    }
}

fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
                }]}}
            ],
            "defaultMode": 420
        }
    })
}
