//! Removes pods from a node whose `NoExecute` taints they do not tolerate, or no longer.
//!
//! Reads:     Nodes; Pods that are bound to them.
//! Writes:    Pod `status` (condition DisruptionTarget), then its deletion; Events.
//! Invariant: `tolerationSeconds` count from when this controller saw the pod under its taints; a taint that goes ends it.
//! Source:    https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions and
//!            https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/tainteviction/taint_eviction.go

mod plan;

use std::{collections::HashMap, time::Duration};

use coracle_client::{Api, EventRecorder, EventType, object_reference};
use coracle_store::{Event, Reader};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use self::plan::Stay;
use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    node_lifecycle::plan::NO_EXECUTE,
    pods, read,
    runner::{Controller, Requeue, Source},
};

pub struct TaintEvictionController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    /// The uid of a pod that stays for a limited time only, and since when.
    since: Mutex<HashMap<ObjectKey, (String, Instant)>>,
}

impl TaintEvictionController {
    pub fn new(reader: Reader, client: Client) -> TaintEvictionController {
        let events = EventRecorder::new(client.clone(), "taint-eviction-controller", None);
        TaintEvictionController { reader, client, events, since: Mutex::default() }
    }

    fn stayed(&self, key: &ObjectKey, uid: &str, now: Instant) -> Duration {
        let mut since = self.since.lock();
        let seen = since.entry(key.clone()).or_insert_with(|| (uid.to_owned(), now));
        if seen.0 != uid {
            *seen = (uid.to_owned(), now);
        }
        now - seen.1
    }

    async fn evict(&self, pod: &Pod, key: &ObjectKey) -> Result<(), ControllerError> {
        let name = key.to_string();
        let message = format!("Marking for deletion Pod {name}");
        self.events.event(&object_reference(pod), EventType::Normal, "TaintManagerEviction", message);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": Timestamp::now(),
        });
        let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
        absent_is_fine(pods.patch_status(&key.name, &PatchParams::default(), &patch).await)
            .map_err(ControllerError::api("write status of", "Pod", name.clone()))?;
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        absent_is_fine(pods.delete(&key.name, &params).await)
            .map_err(ControllerError::api("delete", "Pod", name))?;
        Ok(())
    }
}

fn taints(reader: &Reader, node: &str) -> Vec<Taint> {
    let node = reader.get(&ObjectKey::new("", node).in_resource("nodes"));
    let node = node.and_then(|node| node.decode::<Node>().ok());
    let all = node.and_then(|node| node.spec.as_ref()?.taints.clone()).unwrap_or_default();
    all.into_iter().filter(|taint| taint.effect == NO_EXECUTE).collect()
}

fn is_tainted(event: &Event) -> bool {
    let versions = [Some(&event.object), event.previous.as_ref()].into_iter().flatten();
    let mut nodes = versions.filter_map(|version| version.decode::<Node>().ok());
    nodes.any(|node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        taints.iter().any(|taint| taint.effect == NO_EXECUTE)
    })
}

impl Controller for TaintEvictionController {
    type Key = ObjectKey;
    const NAME: &'static str = "taint-eviction-controller";

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        let pods_of_tainted_node = move |event: &Event| {
            if !is_tainted(event) {
                return Vec::new();
            }
            let snapshot = reader.snapshot();
            let on_node = |object: &&std::sync::Arc<coracle_store::Object>| {
                object.decode::<Pod>().is_ok_and(|pod| *pods::node_name(&pod) == *event.object.key.name)
            };
            let scope = read::scope("pods", None);
            snapshot.list(&scope).filter(on_node).map(|it| ObjectKey::of(&it.key)).collect()
        };
        let reader = self.reader.clone();
        let pod_on_tainted_node = move |event: &Event| {
            let Ok(pod) = event.object.decode::<Pod>() else { return Vec::new() };
            let concerned = !taints(&reader, pods::node_name(&pod)).is_empty();
            if concerned { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
        };
        vec![Source::new("nodes", pods_of_tainted_node), Source::new("pods", pod_on_tainted_node)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let pod = read::get::<Pod>(&self.reader, "pods", "Pod", key)?;
        let Some(pod) = pod.filter(|pod| pods::is_active(pod)) else {
            self.since.lock().remove(key);
            return Ok(Requeue::OnChange);
        };
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match plan::stay(&taints(&self.reader, pods::node_name(&pod)), tolerations) {
            Stay::Forever => drop(self.since.lock().remove(key)),
            Stay::For(time) => {
                let left = time.saturating_sub(self.stayed(key, &uid, Instant::now()));
                if left > Duration::ZERO {
                    return Ok(Requeue::After(left));
                }
                self.evict(&pod, key).await?;
            }
        }
        Ok(Requeue::OnChange)
    }
}
