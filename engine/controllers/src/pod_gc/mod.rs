//! Removes pods that no kubelet will ever end: those of a node that is gone.
//!
//! Reads:     Pods, Nodes.
//! Writes:    Pod `status` (phase Failed, condition DisruptionTarget), then a delete without grace.
//! Invariant: a node must have been absent for 40 s, so that a restart of everything costs no pod.
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection

use std::{collections::HashMap, time::Duration};

use coracle_client::Api;
use coracle_store::{EventKind, Reader};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    pods, read,
    runner::{Controller, Requeue, Source},
};

/// As long as the stock controller waits for a node to come back.
const QUARANTINE: Duration = Duration::from_secs(40);

pub struct PodGcController {
    reader: Reader,
    client: Client,
    /// Since when a node is absent.
    absent: Mutex<HashMap<String, Instant>>,
}

impl PodGcController {
    pub fn new(reader: Reader, client: Client) -> PodGcController {
        PodGcController { reader, client, absent: Mutex::default() }
    }

    /// How long the node has still to stay away; `None`: it is there.
    fn quarantine(&self, node: &str, now: Instant) -> Option<Duration> {
        let mut absent = self.absent.lock();
        if self.reader.get(&ObjectKey::new("", node).in_resource("nodes")).is_some() {
            absent.remove(node);
            return None;
        }
        let since = *absent.entry(node.to_owned()).or_insert(now);
        Some(QUARANTINE.saturating_sub(now - since))
    }

    async fn remove(&self, pod: &Pod, key: &ObjectKey) -> Result<(), ControllerError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        if !pods::is_finished(pod) {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists", "lastTransitionTime": Timestamp::now(),
            });
            let patch = json!({ "status": { "phase": "Failed", "conditions": [condition] } });
            let patched =
                pods.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            absent_is_fine(patched).map_err(ControllerError::api(
                "write status of",
                "Pod",
                key.to_string(),
            ))?;
        }
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params =
            DeleteParams { grace_period_seconds: Some(0), preconditions: Some(same), ..Default::default() };
        absent_is_fine(pods.delete(&key.name, &params).await).map_err(ControllerError::api(
            "delete",
            "Pod",
            key.to_string(),
        ))?;
        tracing::info!(pod = %key, node = pods::node_name(pod), "removed a pod of a node that is gone");
        Ok(())
    }
}

impl Controller for PodGcController {
    type Key = ObjectKey;
    const NAME: &'static str = "pod-garbage-collector-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        let pods_of_gone_node = move |event: &coracle_store::Event| {
            if event.kind != EventKind::Deleted {
                return Vec::new();
            }
            let snapshot = reader.snapshot();
            let on_node = |object: &&std::sync::Arc<coracle_store::Object>| {
                object.decode::<Pod>().is_ok_and(|pod| *pods::node_name(&pod) == *event.object.key.name)
            };
            snapshot
                .list(&read::scope("pods", None))
                .filter(on_node)
                .map(|it| ObjectKey::of(&it.key))
                .collect()
        };
        let new_pods = |event: &coracle_store::Event| {
            if event.kind == EventKind::Added { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
        };
        vec![Source::new("pods", new_pods), Source::new("nodes", pods_of_gone_node)]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, "pods")
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let pod = read::get::<Pod>(&self.reader, "pods", "Pod", key)?;
        let Some(pod) = pod.filter(|pod| !pods::node_name(pod).is_empty()) else {
            return Ok(Requeue::OnChange);
        };
        match self.quarantine(pods::node_name(&pod), Instant::now()) {
            None => Ok(Requeue::OnChange),
            Some(left) if left > Duration::ZERO => Ok(Requeue::After(left)),
            Some(_) => {
                self.remove(&pod, key).await?;
                Ok(Requeue::OnChange)
            }
        }
    }
}
