//! Keeps `status` of every PodDisruptionBudget: how many of its pods may go now. The eviction API spends from it.
//!
//! Reads:     PodDisruptionBudgets; pods that they select; the scale of the pods' controllers, of whatever kind.
//! Writes:    PodDisruptionBudget `status`.
//! Invariant: who cannot be sure allows nothing: a pass that fails leaves `disruptionsAllowed` at 0.
//! Source:    https://kubernetes.io/docs/tasks/run-application/configure-pdb/ and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/disruption/disruption.go

mod plan;
mod scale;
mod stale;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use coracle_client::{Api, EventRecorder, EventType, object_reference, selector::Selector};
use coracle_store::{Reader, Snapshot};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::Pod,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
};
use kube::{Client, api::PostParams};

pub use stale::StaleDisruptionController;

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    kinds::Kinds,
    read,
    runner::{Controller, Requeue, Source},
};

const BUDGETS: &str = "poddisruptionbudgets.policy";

pub struct DisruptionController {
    reader: Reader,
    client: Client,
    kinds: Kinds,
    events: EventRecorder,
}

impl DisruptionController {
    pub fn new(reader: Reader, client: Client) -> DisruptionController {
        let events = EventRecorder::new(client.clone(), "controllermanager", None);
        DisruptionController { kinds: Kinds::new(reader.clone()), reader, client, events }
    }

    async fn wanted(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Arc<Pod>],
        now: Timestamp,
    ) -> PodDisruptionBudgetStatus {
        let record = |reason: &str, message: String| {
            self.events.event(&object_reference(budget), EventType::Normal, reason, message);
        };
        if pods.is_empty() {
            record("NoPods", "No matching pods found".to_owned());
        }
        match self.expected(budget, pods).await {
            Ok(expected) => plan::status(budget, pods, expected, now),
            Err(why) => {
                record(
                    "CalculateExpectedPodCountFailed",
                    format!("Failed to calculate the number of expected pods: {why}"),
                );
                plan::failed(budget, &why, now)
            }
        }
    }

    /// How many pods there should be. Numbers are taken as they are; percentages and `maxUnavailable` are of what the
    /// pods' controllers want.
    async fn expected(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Result<i32, String> {
        if plan::needs_scale(budget) {
            scale::expected(&self.reader, &self.client, &self.kinds, pods).await
        } else {
            Ok(pods.len() as i32)
        }
    }
}

/// An absent selector selects nothing, an empty one everything.
fn selector(budget: &PodDisruptionBudget) -> Option<Selector> {
    Selector::compile(budget.spec.as_ref()?.selector.as_ref()?).ok()
}

fn pods(
    snapshot: &Snapshot,
    namespace: &str,
    budget: &PodDisruptionBudget,
) -> Result<Vec<Arc<Pod>>, ControllerError> {
    let Some(selector) = selector(budget) else { return Ok(Vec::new()) };
    read::list::<Pod>(snapshot, "pods", "Pod", Some(namespace), |object| {
        selector.matches(&*object.meta.labels)
    })
}

impl Controller for DisruptionController {
    type Key = ObjectKey;
    const NAME: &'static str = "disruption-controller";

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        let of_pod = move |event: &coracle_store::Event| {
            let states: Vec<_> =
                [Some(&event.object), event.previous.as_ref()].into_iter().flatten().collect();
            read::keys::<PodDisruptionBudget>(&reader, BUDGETS, &event.object.key.namespace, |budget| {
                let selects =
                    |selector: &Selector| states.iter().any(|object| selector.matches(&*object.meta.labels));
                selector(budget).as_ref().is_some_and(selects)
            })
        };
        vec![Source::primary(BUDGETS), Source::new("pods", of_pod)]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, BUDGETS)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let budget = read::get::<PodDisruptionBudget>(&self.reader, BUDGETS, "PodDisruptionBudget", key)?;
        let Some(budget) = budget else { return Ok(Requeue::OnChange) };
        let now = Timestamp::now();
        let pods = pods(&self.reader.snapshot(), &key.namespace, &budget)?;
        let wanted = self.wanted(&budget, &pods, now).await;
        let next = plan::next_expiry(&wanted, now).map_or(Requeue::OnChange, Requeue::After);
        if budget.status.as_ref() == Some(&wanted) {
            return Ok(next);
        }
        // With the resourceVersion that was read: an eviction that came in between is not forgotten.
        let object = PodDisruptionBudget { status: Some(wanted), ..PodDisruptionBudget::clone(&budget) };
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), &key.namespace);
        absent_is_fine(budgets.replace_status(&key.name, &PostParams::default(), &object).await)
            .map_err(ControllerError::api("write status of", "PodDisruptionBudget", key.to_string()))?;
        Ok(next)
    }
}

/// How long an evicted pod counts as going although nobody deleted it.
const DELETION_TIMEOUT: Duration = Duration::from_secs(2 * 60);
