//! Rolls a Deployment's pods from one template to the next, by sizing its ReplicaSets.
//!
//! Reads:     Deployments; ReplicaSets of their namespace; for Recreate also the pods of old ReplicaSets.
//! Writes:    ReplicaSet create, size, annotations and delete; the Deployment's revision annotation and `status`.
//! Invariant: one ReplicaSet per template; limits of a rolling update as `rolling` states them; never acts on a state
//!            older than its own last write.
//! Source:    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/

mod apply;
mod plan;
mod rolling;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use apply::Writes;
use coracle_client::{EventRecorder, EventType, object_reference, selector::Selector};
use coracle_store::{Event, EventKind, Object, Reader, Snapshot};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::Client;
use sets::Set;

use crate::{
    error::ControllerError,
    freshness::Freshness,
    key::{ObjectKey, controller_of, controllers_of},
    ownership, pods, read,
    runner::{Controller, Requeue, Source},
};

const RESOURCE: &str = "deployments.apps";
const SETS: &str = "replicasets.apps";
/// The store publishes a commit right after it acknowledges it; this is how soon a stale pass looks again.
const STALE_RETRY: Duration = Duration::from_millis(1);

pub struct DeploymentController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    freshness: Freshness,
}

impl DeploymentController {
    pub fn new(reader: Reader, client: Client) -> DeploymentController {
        let events = EventRecorder::new(client.clone(), "deployment-controller", None);
        DeploymentController { reader, client, events, freshness: Freshness::default() }
    }

    async fn reconcile_deployment(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
    ) -> Result<Requeue, ControllerError> {
        let now = Timestamp::now();
        let snapshot = self.reader.snapshot();
        let selector = selector_of(deployment).map_err(|source| ControllerError::Selector {
            kind: "Deployment",
            key: key.clone(),
            source,
        })?;
        if selector.is_empty() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            let about = object_reference(deployment);
            self.events.event(&about, EventType::Warning, "SelectingAll", message.to_owned());
            return Ok(Requeue::OnChange);
        }
        let writes = Writes {
            client: &self.client,
            events: &self.events,
            freshness: &self.freshness,
            key,
            deployment,
        };
        let sets = self.claim(&snapshot, &selector, &writes).await?;
        let recreate = deployment.spec.as_ref().is_some_and(|spec| !rolling::is_rolling(spec));
        let old_pods_running = recreate && old_pods_running(&snapshot, deployment, &sets)?;
        let plan = plan::plan(deployment, &sets, old_pods_running, now);
        let requeue = plan.requeue.map_or(Requeue::OnChange, Requeue::After);
        writes.apply(plan, now).await?;
        Ok(requeue)
    }

    /// The ReplicaSets that the Deployment controls, after adopting orphans that match and releasing those that do not.
    async fn claim(
        &self,
        snapshot: &Snapshot,
        selector: &Selector,
        writes: &Writes<'_>,
    ) -> Result<Vec<Set>, ControllerError> {
        let deployment = writes.deployment;
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let changeable = deployment.metadata.deletion_timestamp.is_none();
        let concerns = |object: &Object| match controller_of(&object.meta) {
            Some(owner) => &*owner.uid == uid,
            None => selector.matches(&*object.meta.labels),
        };
        let namespace = Some(&*writes.key.namespace);
        let mut sets = Vec::new();
        for set in read::list::<ReplicaSet>(snapshot, SETS, "ReplicaSet", namespace, concerns)? {
            let mine = set.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid);
            let matches = selector.matches(&set.metadata.labels);
            let changed = match (mine, matches) {
                (true, true) => {
                    sets.push(Set::new(set));
                    continue;
                }
                (true, false) if changeable => ownership::release(&writes.sets(), &*set, deployment).await?,
                (false, true) if changeable && set.metadata.deletion_timestamp.is_none() => {
                    let adopted = ownership::adopt(&writes.sets(), &*set, deployment).await?;
                    sets.push(Set::new(set));
                    adopted
                }
                _ => None,
            };
            let version = changed.and_then(|set| set.metadata.resource_version);
            self.freshness.wrote(writes.key, version.as_deref());
        }
        Ok(sets)
    }
}

fn selector_of(deployment: &Deployment) -> Result<Selector, coracle_client::selector::SelectorError> {
    let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    Selector::compile(&selector)
}

/// Pods of other templates than the present one exist and have not finished, be they terminating.
fn old_pods_running(
    snapshot: &Snapshot,
    deployment: &Deployment,
    all: &[Set],
) -> Result<bool, ControllerError> {
    let new = sets::find_new(deployment, all);
    let old: Vec<&str> = all
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != new)
        .filter_map(|(_, set)| set.object.metadata.uid.as_deref())
        .collect();
    let namespace = deployment.metadata.namespace.as_deref();
    let owned = read::list::<Pod>(snapshot, "pods", "Pod", namespace, |object| {
        controller_of(&object.meta).is_some_and(|owner| old.contains(&&*owner.uid))
    })?;
    Ok(owned.iter().any(|pod| !pods::is_finished(pod)))
}

/// The Deployments that a ReplicaSet concerns: its controller, or, of an orphan, every one that selects it.
fn deployments_of_set(reader: &Reader, event: &Event) -> Vec<ObjectKey> {
    let owners = controllers_of(event, "Deployment");
    if !owners.is_empty() || controller_of(&event.object.meta).is_some() {
        return owners;
    }
    read::keys::<Deployment>(reader, RESOURCE, &event.object.key.namespace, |deployment| {
        selector_of(deployment).is_ok_and(|it| !it.is_empty() && it.matches(&*event.object.meta.labels))
    })
}

/// Recreate waits for the end of old pods.
fn deployments_of_ended_pod(reader: &Reader, event: &Event) -> Vec<ObjectKey> {
    let finished = || event.object.decode::<Pod>().is_ok_and(|pod| pods::is_finished(&pod));
    let owners = controllers_of(event, "ReplicaSet");
    if owners.is_empty()
        || event.kind == EventKind::Added
        || (event.kind != EventKind::Deleted && !finished())
    {
        return Vec::new();
    }
    let namespace = &event.object.key.namespace;
    let deployment_of = |set: &ObjectKey| {
        let set = reader.get(&set.in_resource(SETS))?;
        let owner = controller_of(&set.meta).filter(|owner| &*owner.kind == "Deployment")?;
        let key = ObjectKey { namespace: namespace.clone(), name: (&*owner.name).into() };
        let deployment = reader.get(&key.in_resource(RESOURCE))?.decode::<Deployment>().ok()?;
        let spec = deployment.spec.as_ref()?;
        (!rolling::is_rolling(spec)).then_some(key)
    };
    owners.iter().filter_map(deployment_of).collect()
}

impl Controller for DeploymentController {
    type Key = ObjectKey;
    const NAME: &'static str = "deployment-controller";
    const WORKERS: usize = 5;

    fn sources(&self) -> Vec<Source> {
        let (sets, pods): (Reader, Reader) = (self.reader.clone(), self.reader.clone());
        vec![
            Source::primary(RESOURCE),
            Source::new(SETS, move |event| deployments_of_set(&sets, event)),
            Source::new("pods", move |event| deployments_of_ended_pod(&pods, event)),
        ]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, RESOURCE)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        if !self.freshness.is_fresh(key, &self.reader) {
            return Ok(Requeue::After(STALE_RETRY));
        }
        match read::get::<Deployment>(&self.reader, RESOURCE, "Deployment", key)? {
            Some(deployment) => {
                let deployment: Arc<Deployment> = deployment;
                self.reconcile_deployment(key, &deployment).await
            }
            None => Ok(Requeue::OnChange),
        }
    }
}
