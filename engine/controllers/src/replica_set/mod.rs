//! Keeps the number of Pods a ReplicaSet controls equal to `spec.replicas`.
//!
//! Reads:     ReplicaSets; Pods of their namespace, by label and by controlling owner reference.
//! Writes:    Pod create and delete, owner references of pods (adopt, release), ReplicaSet `status`.
//! Invariant: never deletes a Pod that another controller owns; never acts on a state older than its own last write.
//! Source:    https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/

mod apply;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use apply::Writes;
use coracle_client::{Api, EventRecorder, selector::Selector};
use coracle_store::{Event, Object, Reader, Snapshot};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{Client, api::PostParams};
use status::Failure;

use crate::{
    error::ControllerError,
    freshness::Freshness,
    key::{ObjectKey, controller_of, controllers_of},
    pods, read,
    runner::{Controller, Requeue, Source},
};

const RESOURCE: &str = "replicasets.apps";
/// The store publishes a commit right after it acknowledges it; this is how soon a stale pass looks again.
const STALE_RETRY: Duration = Duration::from_millis(1);

pub struct ReplicaSetController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    freshness: Freshness,
}

impl ReplicaSetController {
    pub fn new(reader: Reader, client: Client) -> ReplicaSetController {
        let events = EventRecorder::new(client.clone(), "replicaset-controller", None);
        ReplicaSetController { reader, client, events, freshness: Freshness::default() }
    }

    async fn reconcile_set(&self, key: &ObjectKey, set: &ReplicaSet) -> Result<Requeue, ControllerError> {
        let now = Timestamp::now();
        let snapshot = self.reader.snapshot();
        let writes =
            Writes { client: &self.client, events: &self.events, freshness: &self.freshness, key, set };
        let owned = self.claim(&snapshot, &writes).await?;
        let active: Vec<Arc<Pod>> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let terminating =
            owned.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count();
        let failure = if set.metadata.deletion_timestamp.is_none() {
            let desired = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0) as usize;
            let related =
                if desired < active.len() { related_per_node(&snapshot, set)? } else { HashMap::new() };
            writes.apply(plan::plan(desired, &active, &related, now)).await.err()
        } else {
            None
        };
        self.write_status(key, set, &active, terminating, failure.as_ref(), now).await?;
        match failure {
            Some(Failure { reason, message }) => {
                Err(ControllerError::Pods { reason, key: key.clone(), message })
            }
            None => Ok(status::next_available(set, &active, now).map_or(Requeue::OnChange, Requeue::After)),
        }
    }

    /// The pods that this set controls, after adopting orphans that match and releasing pods that no longer do.
    async fn claim(
        &self,
        snapshot: &Snapshot,
        writes: &Writes<'_>,
    ) -> Result<Vec<Arc<Pod>>, ControllerError> {
        let set = writes.set;
        let selector = selector_of(set, writes.key)?;
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let concerns = |object: &Object| match controller_of(&object.meta) {
            Some(owner) => &*owner.uid == uid,
            None => selector.matches(&*object.meta.labels),
        };
        let pods = read::list::<Pod>(snapshot, "pods", "Pod", Some(&writes.key.namespace), concerns)?;
        let mut owned = Vec::with_capacity(pods.len());
        for pod in pods {
            let mine = pod.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid);
            let matches = selector.matches(&pod.metadata.labels);
            let changeable = set.metadata.deletion_timestamp.is_none();
            match (mine, matches) {
                (true, true) => owned.push(pod),
                (true, false) if changeable => writes.release(&pod).await?,
                (false, true) if changeable && pods::is_active(&pod) => {
                    writes.adopt(&pod).await?;
                    owned.push(pod);
                }
                _ => {}
            }
        }
        Ok(owned)
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        active: &[Arc<Pod>],
        terminating: usize,
        failure: Option<&Failure>,
        now: Timestamp,
    ) -> Result<(), ControllerError> {
        let new = status::status(set, active, terminating, failure, now);
        if set.status.as_ref() == Some(&new) {
            return Ok(());
        }
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let object = ReplicaSet { status: Some(new), ..set.clone() };
        let written = sets
            .replace_status(&key.name, &PostParams::default(), &object)
            .await
            .map_err(ControllerError::api("write status of", "ReplicaSet", key.to_string()))?;
        self.freshness.wrote(key, written.metadata.resource_version.as_deref());
        Ok(())
    }
}

fn selector_of(set: &ReplicaSet, key: &ObjectKey) -> Result<Selector, ControllerError> {
    let selector = set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    Selector::compile(&selector).map_err(|source| ControllerError::Selector {
        kind: "ReplicaSet",
        key: key.clone(),
        source,
    })
}

/// Active pods per node of all ReplicaSets that share this one's controller (or of this one alone).
fn related_per_node(
    snapshot: &Snapshot,
    set: &ReplicaSet,
) -> Result<HashMap<String, usize>, ControllerError> {
    let namespace = set.metadata.namespace.as_deref();
    let uid = set.metadata.uid.clone().unwrap_or_default();
    let family = set.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let sets: Vec<Arc<str>> = match family {
        None => vec![uid.into()],
        Some(family) => snapshot
            .list(&read::scope(RESOURCE, namespace))
            .filter(|object| controller_of(&object.meta).is_some_and(|owner| *owner.uid == *family.uid))
            .map(|object| object.meta.uid.clone())
            .collect(),
    };
    let related = read::list::<Pod>(snapshot, "pods", "Pod", namespace, |object| {
        controller_of(&object.meta).is_some_and(|owner| sets.contains(&owner.uid))
    })?;
    let mut per_node = HashMap::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *per_node.entry(pods::node_name(pod).to_owned()).or_default() += 1;
    }
    Ok(per_node)
}

/// The sets that a pod concerns: its controller, or, of an orphan, every set that selects it.
fn sets_of_pod(reader: &Reader, event: &Event) -> Vec<ObjectKey> {
    let owners = controllers_of(event, "ReplicaSet");
    if !owners.is_empty() || controller_of(&event.object.meta).is_some() {
        return owners;
    }
    read::keys::<ReplicaSet>(reader, RESOURCE, &event.object.key.namespace, |set| {
        let selector = set.spec.as_ref().map(|spec| Selector::compile(&spec.selector));
        selector.is_some_and(|it| it.is_ok_and(|it| !it.is_empty() && it.matches(&*event.object.meta.labels)))
    })
}

impl Controller for ReplicaSetController {
    type Key = ObjectKey;
    const NAME: &'static str = "replicaset-controller";
    const WORKERS: usize = 5;

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        vec![Source::primary(RESOURCE), Source::new("pods", move |event| sets_of_pod(&reader, event))]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, RESOURCE)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        if !self.freshness.is_fresh(key, &self.reader) {
            return Ok(Requeue::After(STALE_RETRY));
        }
        match read::get::<ReplicaSet>(&self.reader, RESOURCE, "ReplicaSet", key)? {
            Some(set) => self.reconcile_set(key, &set).await,
            None => Ok(Requeue::OnChange),
        }
    }
}
