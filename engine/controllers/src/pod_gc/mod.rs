//! Removes pods that no kubelet will ever end: those of a node that is gone.
//!
//! Reads:     Pods, Nodes.
//! Writes:    Pod `status` (phase Failed, condition DisruptionTarget), then a delete without grace.
//! Invariant: a node must have been absent for 40 s, so that a restart of everything costs no pod.
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection

use std::time::Duration;

use coracle_store::{EventKind, Reader};
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
    /// Nodes that are not there.
    absent: Unchanged<String, ()>,
}

impl PodGcController {
    pub fn new(reader: Reader, client: Client) -> PodGcController {
        PodGcController { reader, client, absent: Unchanged::default() }
    }

    /// How long the node has still to stay away; `None`: it is there.
    fn quarantine(&self, node: &str, now: Instant) -> Option<Duration> {
        if self.reader.get(&ObjectKey::new("", node).in_resource("nodes")).is_some() {
            self.absent.forget(node);
            return None;
        }
        Some(QUARANTINE.saturating_sub(self.absent.for_how_long(node.to_owned(), (), now)))
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

impl Controller for PodGcController {
    type Key = ObjectKey;
    const NAME: &'static str = "pod-garbage-collector-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        let pods_of_gone_node = move |event: &coracle_store::Event| {
            let gone = event.kind == EventKind::Deleted;
            if gone { pods_on_node(&reader, &event.object.key.name) } else { Vec::new() }
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
