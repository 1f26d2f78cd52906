//! Deletes what has lost its last owner; carries out foreground deletion and orphaning.
//!
//! Reads:     metadata of every resource, custom ones too (not Events); the graph of owners and dependents.
//! Writes:    deletes; owner references and finalizers.
//! Invariant: an object is deleted only when the store shows that each of its owners is gone or waits for it; an owner of
//!            an unknown kind counts as present.
//! Source:    https://kubernetes.io/docs/concepts/architecture/garbage-collection/

mod apply;
mod graph;
mod plan;

use coracle_store::{Event, EventKind, Key, Object, OwnerReference, Reader};
use graph::Graph;
use kube::Client;
use plan::{Dependents, FOREGROUND, Owner, Plan};

use crate::{
    error::ControllerError,
    kinds::Kinds,
    runner::{Controller, Requeue, Source},
};
use std::sync::Arc;

/// They own nothing and nothing owns them, and they come and go all the time.
const IGNORED: &str = "events";

pub struct GarbageCollector {
    reader: Reader,
    client: Client,
    kinds: Kinds,
    graph: Arc<Graph>,
}

impl GarbageCollector {
    pub fn new(reader: Reader, client: Client) -> GarbageCollector {
        GarbageCollector { kinds: Kinds::new(reader.clone()), reader, client, graph: Arc::default() }
    }

    fn source(&self, resource: &str) -> Source<Key> {
        let (reader, kinds, graph) = (self.reader.clone(), self.kinds.clone(), self.graph.clone());
        Source::new(resource, move |event| concerned(&reader, &kinds, &graph, event))
    }

    /// Where an owner of `dependent` is stored; `None` when its kind is unknown or cannot own it.
    fn owner_key(&self, dependent: &Key, owner: &OwnerReference) -> Option<Key> {
        let kind = self.kinds.of_owner(&owner.api_version, &owner.kind)?;
        let namespace: Arc<str> = if kind.namespaced { dependent.namespace.clone() } else { "".into() };
        let reachable = !kind.namespaced || !dependent.namespace.is_empty();
        reachable.then(|| Key { resource: kind.resource(), namespace, name: (&*owner.name).into() })
    }

    fn dependents(&self, object: &Object) -> Dependents {
        let keys = self.graph.dependents(&object.meta.uid);
        let mut found = keys.iter().filter_map(|key| self.reader.get(key));
        match found.any(|dependent| waits_for_dependents(&dependent)) {
            true => Dependents::Waiting,
            false if keys.is_empty() => Dependents::None,
            false => Dependents::Some,
        }
    }

    fn judge(&self, dependent: &Key, owner: &OwnerReference) -> Owner {
        let Some(key) = self.owner_key(dependent, owner) else { return Owner::Solid };
        match self.reader.get(&key).filter(|found| found.meta.uid == owner.uid) {
            None => Owner::Absent,
            Some(found) if waits_for_dependents(&found) => Owner::Waiting,
            Some(_) => Owner::Solid,
        }
    }
}

fn waits_for_dependents(object: &Object) -> bool {
    let finalizers = &object.meta.finalizers;
    object.meta.deletion_timestamp.is_some() && finalizers.iter().any(|finalizer| &**finalizer == FOREGROUND)
}

/// The objects that a change concerns: itself, what depends on it, and owners that wait for it.
fn concerned(reader: &Reader, kinds: &Kinds, graph: &Graph, event: &Event) -> Vec<Key> {
    graph.observe(event);
    let object = &event.object;
    if event.kind == EventKind::Deleted {
        let mut keys = graph.dependents(&object.meta.uid);
        keys.extend(waiting_owners(reader, kinds, object));
        return keys;
    }
    let before = event.previous.as_ref().map(|previous| &previous.meta);
    let same = before.is_some_and(|before| {
        before.owner_references == object.meta.owner_references
            && before.finalizers == object.meta.finalizers
            && before.deletion_timestamp == object.meta.deletion_timestamp
    });
    let relevant = !object.meta.owner_references.is_empty() || object.meta.deletion_timestamp.is_some();
    let had_owners = before.is_some_and(|before| !before.owner_references.is_empty());
    if same || !(relevant || had_owners) {
        return Vec::new();
    }
    let mut keys = vec![object.key.clone()];
    if waits_for_dependents(object) {
        keys.extend(graph.dependents(&object.meta.uid));
    }
    if let Some(previous) = event.previous.as_ref().filter(|_| had_owners) {
        keys.extend(waiting_owners(reader, kinds, previous));
    }
    keys
}

fn waiting_owners(reader: &Reader, kinds: &Kinds, dependent: &Object) -> Vec<Key> {
    let find = |owner: &OwnerReference| {
        let kind = kinds.of_owner(&owner.api_version, &owner.kind)?;
        let namespace: Arc<str> = if kind.namespaced { dependent.key.namespace.clone() } else { "".into() };
        let found = reader.get(&Key { resource: kind.resource(), namespace, name: (&*owner.name).into() })?;
        (found.meta.uid == owner.uid && waits_for_dependents(&found)).then(|| found.key.clone())
    };
    dependent.meta.owner_references.iter().filter_map(find).collect()
}

impl Controller for GarbageCollector {
    type Key = Key;
    const NAME: &'static str = "garbage-collector-controller";
    const WORKERS: usize = 8;

    fn sources(&self) -> Vec<Source<Key>> {
        let watched = self.kinds.builtin().iter().filter(|kind| kind.stored && &*kind.api.plural != IGNORED);
        watched.map(|kind| self.source(&kind.resource().0)).collect()
    }

    const CUSTOM: bool = true;

    fn custom_source(&self, resource: &str) -> Option<Source<Key>> {
        Some(self.source(resource))
    }

    /// An owner may have gone unseen: look at every dependent.
    fn relisted(&self) -> Vec<Key> {
        self.graph.all()
    }

    async fn reconcile(&self, key: &Key) -> Result<Requeue, ControllerError> {
        let Some(object) = self.reader.get(key) else { return Ok(Requeue::OnChange) };
        let owners: Vec<Owner> =
            object.meta.owner_references.iter().map(|owner| self.judge(key, owner)).collect();
        match plan::plan(&object.meta, &owners, self.dependents(&object)) {
            Plan::Nothing => {}
            Plan::Disown { uids } => self.disown(&object, &uids).await?,
            Plan::Unblock => self.unblock(&object).await?,
            Plan::Delete { policy } => self.delete(&object, policy).await?,
            Plan::Foreground => self.finish_foreground(&object).await?,
            Plan::Orphan => self.orphan_dependents(&object).await?,
        }
        Ok(Requeue::OnChange)
    }
}
