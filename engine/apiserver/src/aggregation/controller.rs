//! Keeps routes and the status of APIServices in step with the store, and with whether the servers behind answer.
//!
//! Reads:     APIServices, what definitions serve; of remote ones, their Services and EndpointSlices.
//! Writes:    APIServices of local groups, the condition `Available` of all.
//! Invariant: nothing is asked over the network while no APIService names a service.
//! Source:    https://github.com/kubernetes/kube-aggregator/tree/master/pkg/controllers (autoregister, status)

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use coracle_store::{Event, Scope, Watch, WatchError};
use futures::{FutureExt, StreamExt, future::join_all, stream};
use serde_json::Value;
use tokio::sync::Notify;

use super::{Remote, availability, local, managed, metrics::Look};
use crate::{
    crd::names,
    object,
    options::{DeleteOptions, WriteOptions},
    registry::store_resource,
    status::Status,
    types::{State, UserInfo},
    verbs::{
        self, Target,
        update::{Changed, modify},
    },
};

const GROUP: &str = "apiregistration.k8s.io";
/// How often servers are asked whether they are still there.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon one that is not there is asked again, at first; each time it takes twice as long, up to the period.
const RETRY: Duration = Duration::from_millis(100);
/// How many objects are written at the same time.
const PARALLEL: usize = 64;

#[derive(Default)]
pub struct Controller {
    remotes: Vec<Arc<Remote>>,
    /// Passes in a row that found servers missing, and none more than before.
    failures: u32,
}

fn scope(group: &str, plural: &str) -> Scope {
    Scope::all(store_resource(group, plural))
}

/// The kinds that matter. Endpoints come and go all the time: they only count while a remote API is behind them.
struct Watches {
    services: Watch,
    /// Told once definitions are served, or no longer.
    definitions: Arc<Notify>,
    endpoints: [Watch; 2],
}

impl Watches {
    fn new(state: &State) -> Watches {
        let watch = |group: &str, plural: &str| state.reader.list_watch(scope(group, plural)).1;
        Watches {
            services: watch(GROUP, "apiservices"),
            definitions: state.resources.changed(),
            endpoints: [watch("", "services"), watch("discovery.k8s.io", "endpointslices")],
        }
    }

    /// Until something is to be done; an error when the watches must be opened anew.
    async fn wait(&mut self, remotes: &[Arc<Remote>], pause: Duration) -> Result<(), WatchError> {
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            let [services, slices] = &mut self.endpoints;
            let about_remote = |event: &Event| {
                let (key, meta) = (&event.object.key, &event.object.meta);
                let service = meta.label("kubernetes.io/service-name").unwrap_or(&key.name);
                remotes.iter().any(|remote| remote.namespace == *key.namespace && remote.service == service)
            };
            tokio::select! {
                event = self.services.next() => return event.map(drop),
                () = self.definitions.notified() => return Ok(()),
                event = services.next() => if about_remote(&*event?) { return Ok(()) },
                event = slices.next() => if about_remote(&*event?) { return Ok(()) },
                () = &mut pause, if !remotes.is_empty() => return Ok(()),
            }
        }
    }

    /// One pass for all that is there.
    fn drain(&mut self) {
        let [services, slices] = &mut self.endpoints;
        for watch in [&mut self.services, services, slices] {
            while matches!(watch.try_next(), Ok(Some(_))) {}
        }
    }
}

impl Controller {
    /// Follows the store until the server stops.
    pub async fn run(mut self, state: Weak<State>) {
        loop {
            let Some(mut watches) = state.upgrade().map(|state| Watches::new(&state)) else { return };
            loop {
                let Some(strong) = state.upgrade() else { return };
                watches.drain();
                self.pass(&strong).await;
                let stop = strong.stop.clone();
                drop(strong);
                let waited = tokio::select! {
                    () = stop.cancelled() => return,
                    waited = watches.wait(&self.remotes, self.pause()) => waited,
                };
                match waited {
                    Ok(()) => {}
                    Err(WatchError::Compacted(_)) => break,
                    Err(WatchError::Closed) => return,
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => PERIOD,
            failures => RETRY.saturating_mul(1 << (failures - 1).min(16)).min(PERIOD),
        }
    }

    /// Counted anew when another server goes missing.
    fn failures_with(&self, remotes: &[Remote]) -> u32 {
        let missing: Vec<&Remote> = remotes.iter().filter(|remote| !remote.available).collect();
        let was_missing = |name: &str| self.remotes.iter().any(|it| it.name == name && !it.available);
        match missing.iter().all(|remote| was_missing(&remote.name)) {
            _ if missing.is_empty() => 0,
            true => self.failures.saturating_add(1),
            false => 1,
        }
    }

    pub async fn pass(&mut self, state: &State) {
        Controller::register(state).await;
        let objects = objects(state);
        let mut remotes: Vec<Remote> = objects.iter().filter_map(Remote::of).collect();
        for remote in &mut remotes {
            if let Some(before) = self.remotes.iter().find(|before| before.name == remote.name) {
                remote.resources = before.resources.clone();
                remote.discovery = before.discovery.clone();
                remote.openapi = before.openapi.clone();
            }
        }
        let verdicts = join_all(remotes.iter().map(|remote| availability::check(state, remote))).await;
        let mut statuses: Vec<(String, Value)> = Vec::new();
        let mut looks = Vec::new();
        for (remote, verdict) in remotes.iter_mut().zip(verdicts) {
            looks.push(Look {
                name: remote.name.clone(),
                was_available: remote.available,
                missing: Some(verdict.reason).filter(|_| !verdict.available),
            });
            remote.available = verdict.available;
            remote.resources = verdict.resources.or(remote.resources.take());
            if verdict.available {
                remote.openapi = verdict.openapi;
                remote.discovery = verdict.discovery;
            }
            let value = if verdict.available { "True" } else { "False" };
            statuses.push((remote.name.clone(), condition(value, verdict.reason, &verdict.message)));
        }
        self.failures = self.failures_with(&remotes);
        self.remotes = remotes.into_iter().map(Arc::new).collect();
        state.aggregator.publish(self.remotes.clone());
        for object in objects.iter().filter(|object| !object["spec"]["service"].is_object()) {
            let (reason, message) = availability::LOCAL;
            looks.push(Look { name: object::name(object).to_owned(), was_available: true, missing: None });
            statuses.push((object::name(object).to_owned(), condition("True", reason, message)));
        }
        state.aggregator.availability.note(looks);
        for (name, wanted) in statuses {
            let object = objects.iter().find(|object| object::name(object) == name);
            if object.is_some_and(|object| !has(object, &wanted)) {
                report(&name, "write status", write_status(state, &name, &wanted).await);
            }
        }
    }

    /// What was available when this server ended is passed on at once, and asked soon whether it still is.
    pub fn recall(state: &State) {
        state.aggregator.publish(objects(state).iter().filter_map(Remote::of).map(Arc::new).collect());
    }

    /// Makes the APIServices of local groups, and takes away those whose definition is gone.
    pub async fn register(state: &State) {
        let wanted = local::wanted(&state.resources);
        let objects = objects(state);
        let there = |name: &str| objects.iter().any(|object| object::name(object) == name);
        let mut writes = Vec::new();
        for (name, object) in &wanted {
            if !there(name) {
                writes.push(create(state, name, object).boxed());
            }
        }
        for object in &objects {
            let name = object::name(object);
            if managed(object) == local::CUSTOM_LABEL && !wanted.contains_key(name) {
                writes.push(delete(state, name).boxed());
            }
        }
        stream::iter(writes).buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
    }
}

fn objects(state: &State) -> Vec<Value> {
    let snapshot = state.reader.snapshot();
    snapshot.list(&scope(GROUP, "apiservices")).filter_map(|object| verbs::decode(object).ok()).collect()
}

fn condition(status: &str, reason: &str, message: &str) -> Value {
    serde_json::json!({"status": status, "reason": reason, "message": message})
}

/// Whether `Available` says so already.
fn has(object: &Value, wanted: &Value) -> bool {
    let own = names::condition(&object["status"], "Available");
    own.is_some_and(|own| ["status", "reason", "message"].iter().all(|field| own[field] == wanted[field]))
}

fn target(state: &State, name: &str) -> Result<Target, Status> {
    let served = state.resources.get(GROUP, "v1", "apiservices");
    Ok(Target::new(served.ok_or_else(Status::unknown_path)?, "", name))
}

async fn create(state: &State, name: &str, object: &Value) {
    let result = async {
        let target = target(state, name)?;
        let (user, options) = (UserInfo::apiserver(), WriteOptions::default());
        verbs::create(state, &user, &target, object.clone(), &options).await
    };
    report(name, "create", result.await.map(drop));
}

async fn delete(state: &State, name: &str) {
    let result = async {
        let target = target(state, name)?;
        verbs::delete(state, &UserInfo::apiserver(), &target, &DeleteOptions::default()).await
    };
    report(name, "delete", result.await.map(drop));
}

async fn write_status(state: &State, name: &str, wanted: &Value) -> Result<(), Status> {
    let target = Target { subresource: "status".into(), ..target(state, name)? };
    let (user, options) = (UserInfo::apiserver(), WriteOptions::default());
    let now = object::now();
    let change = |current: &Value| {
        let mut next = current.clone();
        let text = |field: &str| wanted[field].as_str().unwrap_or_default();
        if !next["status"].is_object() {
            next["status"] = serde_json::json!({});
        }
        names::set(&mut next["status"], "Available", text("status"), text("reason"), text("message"), &now);
        Ok(Changed::Patched(next.into()))
    };
    modify(state, &user, &target, &options, change).await.map(drop)
}

/// Gone or there already is as good as done; the next pass tries anything else again.
fn report(name: &str, what: &str, result: Result<(), Status>) {
    match result {
        Ok(()) => {}
        Err(status) if status.code == 404 || status.code == 409 => {}
        Err(error) => {
            tracing::warn!(api_service = name, what, error = %error, "APIService needs another try")
        }
    }
}
