//! Removes pods that no kubelet will ever end: those of a node that is gone.
//!
//! Reads:     Pods, Nodes.
//! Writes:    Pod `status` (phase Failed, condition DisruptionTarget), then a delete without grace.
//! Invariant: a pod is left alone for 40 s since its node was seen to be absent, so that a restart of everything costs
//!            no pod.
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection

use std::time::Duration;

use coracle_store::{Event, EventKind, Reader};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::time::Instant;

use crate::{
    disruption_target::{self, pods_on_node},
    error::ControllerError,
    key::ObjectKey,
    pods, read,
    runner::{Controller, Requeue, Source},
    unchanged::Unchanged,
};

/// As long as the stock controller waits for a node to come back.
const QUARANTINE: Duration = Duration::from_secs(40);

pub struct PodGcController {
    reader: Reader,
    client: Client,
    /// Pods whose node is not there, by uid.
    orphans: Orphans,
}

type Orphans = Unchanged<ObjectKey, Option<String>>;

impl PodGcController {
    pub fn new(reader: Reader, client: Client) -> PodGcController {
        PodGcController { reader, client, orphans: Unchanged::default() }
    }

    async fn remove(&self, pod: &Pod, key: &ObjectKey) -> Result<(), ControllerError> {
        let status = (!pods::is_finished(pod)).then(|| {
            let mut status = disruption_target::status("DeletionByPodGC", "PodGC: node no longer exists");
            status["phase"] = "Failed".into();
            status
        });
        disruption_target::remove(&self.client, pod, key, status, Some(0)).await?;
        tracing::info!(pod = %key, node = pods::node_name(pod), "removed a pod of a node that is gone");
        Ok(())
    }
}

/// Whether the pod has a node, and that is not there.
fn is_orphan(reader: &Reader, pod: &Pod) -> bool {
    let node = pods::node_name(pod);
    !node.is_empty() && reader.get(&ObjectKey::new("", node).in_resource("nodes")).is_none()
}

/// A pod may come with its node, or be bound to it later.
fn orphans(reader: &Reader, event: &Event) -> Vec<ObjectKey> {
    let pod = event.object.decode::<Pod>().ok().filter(|_| event.kind != EventKind::Deleted);
    let is_orphan = pod.is_some_and(|pod| is_orphan(reader, &pod));
    if is_orphan { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
}

/// How long the pod's node has still to stay away.
fn quarantine(seen: &Orphans, pod: &Pod, key: &ObjectKey, now: Instant) -> Duration {
    QUARANTINE.saturating_sub(seen.for_how_long(key.clone(), pod.metadata.uid.clone(), now))
}

impl Controller for PodGcController {
    type Key = ObjectKey;
    const NAME: &'static str = "pod-garbage-collector-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        let pods_of_gone_node = move |event: &Event| {
            let gone = event.kind == EventKind::Deleted;
            if gone { pods_on_node(&reader, &event.object.key.name) } else { Vec::new() }
        };
        let reader = self.reader.clone();
        let orphans = move |event: &Event| orphans(&reader, event);
        vec![Source::new("pods", orphans), Source::new("nodes", pods_of_gone_node)]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, "pods")
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let pod = read::get::<Pod>(&self.reader, "pods", "Pod", key)?;
        let Some(pod) = pod.filter(|pod| is_orphan(&self.reader, pod)) else {
            self.orphans.forget(key);
            return Ok(Requeue::OnChange);
        };
        let left = quarantine(&self.orphans, &pod, key, Instant::now());
        if left > Duration::ZERO {
            return Ok(Requeue::After(left));
        }
        self.remove(&pod, key).await?;
        self.orphans.forget(key);
        Ok(Requeue::OnChange)
    }
}

#[cfg(test)]
mod tests;
