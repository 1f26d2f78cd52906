//! Takes back `DisruptionTarget` from pods that were to go and are still there.
//!
//! Reads:     pods.
//! Writes:    the condition `DisruptionTarget` of pod `status`.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/disruption/disruption.go
//! (`syncStalePodDisruption`)

use std::time::Duration;

use coracle_client::Api;
use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::DELETION_TIMEOUT;
use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    pods, read,
    runner::{Controller, Requeue, Source},
};

const TARGET: &str = "DisruptionTarget";

pub struct StaleDisruptionController {
    reader: Reader,
    client: Client,
}

impl StaleDisruptionController {
    pub fn new(reader: Reader, client: Client) -> StaleDisruptionController {
        StaleDisruptionController { reader, client }
    }
}

/// How long the condition still stands; `None` when the pod is no target, or goes.
pub fn time_left(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let condition = pods::condition(pod, TARGET).filter(|condition| condition.status == "True")?;
    if pods::is_terminating(pod) || pods::is_finished(pod) {
        return None;
    }
    let since = condition.last_transition_time.as_ref().map_or(now, |time| time.0);
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(DELETION_TIMEOUT.saturating_sub(passed))
}

impl Controller for StaleDisruptionController {
    type Key = ObjectKey;
    const NAME: &'static str = "stale-pod-disruption-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::new("pods", |event| {
            let target =
                event.object.decode::<Pod>().is_ok_and(|pod| time_left(&pod, Timestamp::now()).is_some());
            if target { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
        })]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let pod = read::get::<Pod>(&self.reader, "pods", "Pod", key)?;
        let Some(left) = pod.and_then(|pod| time_left(&pod, Timestamp::now())) else {
            return Ok(Requeue::OnChange);
        };
        if !left.is_zero() {
            return Ok(Requeue::After(left));
        }
        let condition = json!({ "type": TARGET, "status": "False", "lastTransitionTime": Timestamp::now() });
        let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        absent_is_fine(pods.patch_status(&key.name, &PatchParams::default(), &patch).await)
            .map_err(ControllerError::api("write status of", "Pod", key.to_string()))?;
        Ok(Requeue::OnChange)
    }
}
