//! Removes pods from a node whose `NoExecute` taints they do not tolerate, or no longer.
//!
//! Reads:     Nodes; Pods that are bound to them.
//! Writes:    Pod `status` (condition DisruptionTarget), then its deletion; Events.
//! Invariant: `tolerationSeconds` count from when this controller saw the pod under its taints; a taint that goes ends it.
//! Source:    https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions and
//!            https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/tainteviction/taint_eviction.go

mod plan;

use std::time::Duration;

use coracle_client::{EventRecorder, EventType, object_reference};
use coracle_store::{Event, Reader};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::Client;
use tokio::time::Instant;

use self::plan::Stay;
use crate::{
    disruption_target::{self, pods_on_node},
    error::ControllerError,
    key::ObjectKey,
    node_lifecycle::plan::NO_EXECUTE,
    pods, read,
    runner::{Controller, Requeue, Source},
    unchanged::Unchanged,
};

pub struct TaintEvictionController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    /// The uid of each pod that stays for a limited time only.
    staying: Unchanged<ObjectKey, String>,
}

impl TaintEvictionController {
    pub fn new(reader: Reader, client: Client) -> TaintEvictionController {
        let events = EventRecorder::new(client.clone(), "taint-eviction-controller", None);
        TaintEvictionController { reader, client, events, staying: Unchanged::default() }
    }

    async fn evict(&self, pod: &Pod, key: &ObjectKey) -> Result<(), ControllerError> {
        let message = format!("Marking for deletion Pod {key}");
        self.events.event(&object_reference(pod), EventType::Normal, "TaintManagerEviction", message);
        let why = "Taint manager: deleting due to NoExecute taint";
        let status = disruption_target::status("DeletionByTaintManager", why);
        disruption_target::remove(&self.client, pod, key, Some(status), None).await
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
            if is_tainted(event) { pods_on_node(&reader, &event.object.key.name) } else { Vec::new() }
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
            self.staying.forget(key);
            return Ok(Requeue::OnChange);
        };
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match plan::stay(&taints(&self.reader, pods::node_name(&pod)), tolerations) {
            Stay::Forever => self.staying.forget(key),
            Stay::For(time) => {
                let left = time.saturating_sub(self.staying.for_how_long(key.clone(), uid, Instant::now()));
                if left > Duration::ZERO {
                    return Ok(Requeue::After(left));
                }
                self.evict(&pod, key).await?;
            }
        }
        Ok(Requeue::OnChange)
    }
}
