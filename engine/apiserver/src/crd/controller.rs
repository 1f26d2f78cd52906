//! Keeps what is served in step with the definitions in the store, establishes new ones, empties those that go.
//!
//! Reads:     CustomResourceDefinitions; of one that goes, its objects.
//! Writes:    definitions' status and cleanup finalizer; deletes of their objects.
//! Invariant: served before `Established` is true; the finalizer goes only once the store shows no object.
//! Source:    https://github.com/kubernetes/apiextensions-apiserver/tree/master/pkg/controller (status, establish, finalizer)

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use coracle_store::{Object, Resource, Revision, Scope, Watch, WatchError};
use serde_json::Value;

use super::{definition::CLEANUP, names, served};
use crate::{
    object::{self, finalizers, is_deleting, metadata_mut},
    options::{DeleteOptions, WriteOptions},
    outbound::Outbound,
    registry::{Served, store_resource},
    status::Status,
    types::{State, UserInfo},
    verbs::{
        self, Target,
        update::{Changed, modify},
    },
};

/// While finalizers hold objects of a definition that goes, and after a failure. Failures in a row double it.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Whether a pass left something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    No,
    Failed,
    /// Objects are there that others let go, which may be soon.
    Held,
}

#[derive(Default)]
pub struct Controller {
    /// What each definition made at its revision: unchanged ones are not read again, but for those that wait for a name.
    known: HashMap<Arc<str>, Known>,
}

struct Known {
    revision: Revision,
    group: String,
    generation: i64,
    uid: String,
    status: Value,
    served: Vec<Arc<Served>>,
    deleting: bool,
}

impl Known {
    /// Whether another look at the definition finds nothing new. Names that others hold may be free by now.
    fn is_settled(&self, object: &Object) -> bool {
        let accepted = names::condition(&self.status, "NamesAccepted");
        self.revision == object.revision && accepted.is_some_and(|it| it["status"] == "True")
    }
}

fn scope() -> Scope {
    Scope::all(store_resource("apiextensions.k8s.io", "customresourcedefinitions"))
}

impl Controller {
    /// Follows the store until the server stops.
    pub async fn run(mut self, state: Weak<State>) {
        loop {
            let Some(watch) = state.upgrade().map(|state| state.reader.list_watch(scope()).1) else { return };
            if !self.follow(&state, watch).await {
                return;
            }
        }
    }

    /// False when the server stops.
    async fn follow(&mut self, state: &Weak<State>, mut watch: Watch) -> bool {
        let mut wait = RETRY;
        loop {
            let Some(strong) = state.upgrade() else { return false };
            let again = self.pass(&strong).await;
            let pause = match again {
                Again::No => None,
                Again::Held => Some(RETRY),
                Again::Failed => Some(wait),
            };
            wait = if again == Again::Failed { (wait * 2).min(RETRY_MAX) } else { RETRY };
            let stop = strong.stop.clone();
            drop(strong);
            let retry = async {
                match pause {
                    None => std::future::pending().await,
                    Some(pause) => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return false,
                () = retry => {}
                event = watch.next() => match event {
                    // One pass for all that is there.
                    Ok(_) => while matches!(watch.try_next(), Ok(Some(_))) {},
                    Err(WatchError::Compacted(_)) => return true,
                    Err(WatchError::Closed) => return false,
                },
            }
        }
    }

    /// Serves what should be served, writes what the definitions' status lacks.
    pub async fn pass(&mut self, state: &State) -> Again {
        let snapshot = state.reader.snapshot();
        let objects: Vec<Arc<Object>> = snapshot.list(&scope()).cloned().collect();
        self.known.retain(|name, _| objects.iter().any(|object| object.key.name == *name));
        let now = object::now();
        let mut changed: Vec<(Arc<Object>, Value)> = Vec::new();
        for object in objects {
            if self.known.get(&object.key.name).is_some_and(|known| known.is_settled(&object)) {
                continue;
            }
            match verbs::decode(&object) {
                Ok(value) => changed.push((object, value)),
                Err(error) => {
                    tracing::warn!(definition = %object.key, error = %error, "custom resource definition does not decode");
                }
            }
        }
        // Who holds its names already comes first.
        changed.sort_by_key(|(_, value)| !names::is_established(&value["status"]));
        let mut statuses: Vec<(String, Value)> = Vec::new();
        let mut news = false;
        for (object, value) in &changed {
            let before = self.known.get(&object.key.name).map(|known| (known.revision, known.status.clone()));
            let status = self.observe(object, value, &state.outbound, &now);
            news |= before.is_none_or(|before| before != (object.revision, status.clone()));
            if status != value["status"] {
                statuses.push((object.key.name.to_string(), status));
            }
        }
        if news || state.resources.custom_count() != self.served_count() {
            self.publish(state);
        }
        let mut again = Again::No;
        for (name, status) in statuses {
            if done(&name, "write status", write_status(state, &name, &status).await).is_none() {
                again = again.max(Again::Failed);
                if let Some(known) = self.known.get_mut(&*name) {
                    known.revision = Revision::default();
                }
            }
        }
        let going: Vec<Arc<str>> =
            self.known.iter().filter(|(_, known)| known.deleting).map(|(name, _)| name.clone()).collect();
        for name in going {
            again = again.max(match done(&name, "delete objects", empty(state, &name).await) {
                Some(true) => Again::No,
                Some(false) => Again::Held,
                None => Again::Failed,
            });
        }
        again
    }

    /// Notes what the definition makes; its status as it should be.
    fn observe(&mut self, object: &Object, value: &Value, outbound: &Arc<Outbound>, now: &str) -> Value {
        let group = value["spec"]["group"].as_str().unwrap_or_default().to_owned();
        let mut taken = names::Taken::default();
        for (name, known) in &self.known {
            if *name != object.key.name && known.group == group {
                taken.add(&known.status["acceptedNames"]);
            }
        }
        let status = names::status(value, &taken, now);
        let served = if names::is_established(&status) {
            served::served(value, &status["acceptedNames"], outbound)
        } else {
            Vec::new()
        };
        let known = Known {
            revision: object.revision,
            group,
            generation: value["metadata"]["generation"].as_i64().unwrap_or_default(),
            uid: object.meta.uid.to_string(),
            status: status.clone(),
            served,
            deleting: is_deleting(value),
        };
        self.known.insert(object.key.name.clone(), known);
        status
    }

    fn served_count(&self) -> usize {
        self.known.values().map(|known| known.served.len()).sum()
    }

    fn publish(&self, state: &State) {
        let mut all: Vec<Arc<Served>> =
            self.known.values().flat_map(|known| known.served.iter().cloned()).collect();
        all.sort_by(|a, b| {
            let (a, b) = (&a.api, &b.api);
            a.gvk
                .group
                .cmp(&b.gvk.group)
                .then_with(|| served::compare_versions(&a.gvk.version, &b.gvk.version))
                .then_with(|| a.plural.cmp(&b.plural))
        });
        let mut schemas: Vec<String> = self
            .known
            .values()
            .map(|known| format!("{}/{}/{}", known.uid, known.generation, known.served.len()))
            .collect();
        schemas.sort();
        state.resources.set_custom(all, &schemas.join(","));
    }
}

fn done<T>(definition: &str, what: &str, result: Result<T, Status>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(status) if status.code == 404 || status.code == 409 => None,
        Err(error) => {
            tracing::warn!(definition, what, error = %error, "custom resource definition needs another try");
            None
        }
    }
}

fn target(state: &State, name: &str) -> Result<Target, Status> {
    let served = state.resources.get("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    Ok(Target::new(served.ok_or_else(Status::unknown_path)?, "", name))
}

async fn write_status(state: &State, name: &str, status: &Value) -> Result<(), Status> {
    let target = Target { subresource: "status".into(), ..target(state, name)? };
    let (user, options) = (UserInfo::apiserver(), WriteOptions::default());
    let change = |current: &Value| {
        let mut next = current.clone();
        for field in ["acceptedNames", "conditions"] {
            next["status"][field] = status[field].clone();
        }
        Ok(Changed::Patched(next.into()))
    };
    match modify(state, &user, &target, &options, change).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// Deletes the objects of a definition that goes, then lets it go. True when that is done.
async fn empty(state: &State, name: &str) -> Result<bool, Status> {
    let target = target(state, name)?;
    let Some(current) = state.reader.get(&target.key()) else { return Ok(true) };
    let definition = verbs::decode(&current)?;
    if !is_deleting(&definition) || !finalizers(&definition).contains(&CLEANUP) {
        return Ok(true);
    }
    let objects = Scope::all(Resource::new(name));
    let user = UserInfo::apiserver();
    let options = DeleteOptions { admitted: true, ..DeleteOptions::default() };
    let snapshot = state.reader.snapshot();
    let stays = |object: &&Arc<Object>| object.meta.deletion_timestamp.is_none();
    let fresh: Vec<Arc<Object>> = snapshot.list(&objects).filter(stays).cloned().collect();
    drop(snapshot);
    if !fresh.is_empty()
        && let Some(served) = served::stored(&definition).map(Arc::new)
    {
        for object in &fresh {
            let one = Target::new(served.clone(), &object.key.namespace, &object.key.name);
            match verbs::delete(state, &user, &one, &options).await {
                Err(status) if status.code == 404 => {}
                other => drop(other?),
            }
        }
    }
    let left = state.reader.snapshot().list(&objects).count();
    if left > 0 {
        return Ok(false);
    }
    let change = |current: &Value| {
        let mut next = current.clone();
        let kept: Vec<&str> = finalizers(current).into_iter().filter(|one| *one != CLEANUP).collect();
        metadata_mut(&mut next).insert("finalizers".into(), kept.into());
        let (reason, message) = ("InstanceDeletionCompleted", "removed all instances");
        names::set(&mut next["status"], "Terminating", "False", reason, message, &object::now());
        Ok(Changed::Patched(next.into()))
    };
    modify(state, &user, &target, &WriteOptions::default(), change).await?;
    Ok(true)
}
