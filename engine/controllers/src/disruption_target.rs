//! How a controller takes a pod away that its owner did not: the pod's status says why, then it is deleted.
//!
//! Source: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions

use coracle_client::Api;
use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    pods, read,
};

/// `status` with the condition DisruptionTarget.
pub fn status(reason: &str, message: &str) -> Value {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": Timestamp::now(),
    });
    json!({ "conditions": [condition] })
}

/// Writes `status`, if there is one to write, and deletes this pod, not one that came in its place.
pub async fn remove(
    client: &Client,
    pod: &Pod,
    key: &ObjectKey,
    status: Option<Value>,
    grace_period_seconds: Option<u32>,
) -> Result<(), ControllerError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    if let Some(status) = status {
        let patch = Patch::Strategic(json!({ "status": status }));
        absent_is_fine(pods.patch_status(&key.name, &PatchParams::default(), &patch).await)
            .map_err(ControllerError::api("write status of", "Pod", key.to_string()))?;
    }
    let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { grace_period_seconds, preconditions: Some(same), ..DeleteParams::default() };
    absent_is_fine(pods.delete(&key.name, &params).await).map_err(ControllerError::api(
        "delete",
        "Pod",
        key.to_string(),
    ))?;
    Ok(())
}

pub fn pods_on_node(reader: &Reader, node: &str) -> Vec<ObjectKey> {
    let snapshot = reader.snapshot();
    let on_node = |object: &&std::sync::Arc<coracle_store::Object>| {
        object.decode::<Pod>().is_ok_and(|pod| *pods::node_name(&pod) == *node)
    };
    snapshot.list(&read::scope("pods", None)).filter(on_node).map(|it| ObjectKey::of(&it.key)).collect()
}
