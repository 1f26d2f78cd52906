//! The harness of every controller: watches become keys, keys become passes.
//!
//! Reads:     the store's watches of a controller's sources.
//! Invariant: one pass per key at a time; a pass that fails or panics is retried with back-off, unless its namespace is
//!            being deleted; a pass that asks for it runs again later. At rest nothing wakes up: no timers, no polling.
//! Source:    https://github.com/kubernetes-sigs/controller-runtime/blob/main/pkg/reconcile/reconcile.go (contract)

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use coracle_lifecycle::Beat;
use coracle_store::{Event, EventKind, Reader, Resource, Scope, Watch, WatchError};
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{error::ControllerError, key::ObjectKey, queue::Queue, queue_metrics::Counts};

/// When a key that went well runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// When something that it watches changes.
    OnChange,
    /// And after this time in any case.
    After(Duration),
}

/// The keys that a change concerns. Called with each object that exists at the start as if it had just been added.
pub type KeyMap<K> = Box<dyn Fn(&Event) -> Vec<K> + Send + Sync>;

/// One watched resource.
pub struct Source<K = ObjectKey> {
    pub resource: Resource,
    pub keys: KeyMap<K>,
}

impl<K> Source<K> {
    pub fn new(resource: &str, keys: impl Fn(&Event) -> Vec<K> + Send + Sync + 'static) -> Source<K> {
        Source { resource: Resource(resource.into()), keys: Box::new(keys) }
    }
}

impl Source {
    /// The resource a controller is about: its objects are the keys.
    pub fn primary(resource: &str) -> Source {
        Source::new(resource, |event| vec![ObjectKey::of(&event.object.key)])
    }
}

pub trait Controller: Send + Sync + 'static {
    /// What a pass is about.
    type Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static;
    /// As it stands in logs, e.g. `replicaset-controller`.
    const NAME: &'static str;
    /// Passes at a time, over different keys.
    const WORKERS: usize = 2;

    fn sources(&self) -> Vec<Source<Self::Key>>;

    /// Whether custom resources are watched too, as definitions come.
    const CUSTOM: bool = false;

    /// The source for a custom resource, by its name in the store.
    fn custom_source(&self, _resource: &str) -> Option<Source<Self::Key>> {
        None
    }

    /// A watch fell behind and its resource was listed anew: keys that may have missed a deletion.
    fn relisted(&self) -> Vec<Self::Key> {
        Vec::new()
    }

    /// One idempotent pass over `key`, which may be gone by now.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Requeue, ControllerError>> + Send;
}

/// The number of the watch of definitions, apart from those of the sources.
const DEFINITIONS: usize = usize::MAX;
const DEFINITION_RESOURCE: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Runs `controller` until `stop`, or until the store is closed.
pub async fn run<C: Controller>(
    controller: Arc<C>,
    reader: Reader,
    mut beat: Beat,
    counts: Arc<Counts>,
    stop: CancellationToken,
) {
    let mut sources: Vec<Source<C::Key>> = controller.sources();
    let numbered = |index: usize, resource: &Resource| {
        changes(reader.clone(), resource.clone()).map(move |event| (index, event)).boxed()
    };
    let watches = sources.iter().enumerate().map(|(index, source)| numbered(index, &source.resource));
    let mut events = stream::select_all(watches);
    let mut custom: HashSet<Arc<str>> = HashSet::new();
    if C::CUSTOM {
        events.push(numbered(DEFINITIONS, &Resource(DEFINITION_RESOURCE.into())));
    }
    let mut queue = Queue::new(counts);
    let mut passes = Passes { tasks: JoinSet::new(), keys: HashMap::new() };
    loop {
        while passes.tasks.len() < C::WORKERS
            && let Some(key) = queue.take(Instant::now())
        {
            passes.start(controller.clone(), key);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => match event {
                Some((DEFINITIONS, event)) => {
                    // A definition has the name of its resource. The watch outlives it: it may come back.
                    let Some(name) = event.map(|event| event.object.key.name.clone()) else { continue };
                    if custom.insert(name.clone()) && let Some(source) = controller.custom_source(&name) {
                        events.push(numbered(sources.len(), &source.resource));
                        sources.push(source);
                    }
                }
                Some((index, Some(event))) => (sources[index].keys)(&event).into_iter().for_each(|key| queue.add(key)),
                Some((_, None)) => controller.relisted().into_iter().for_each(|key| queue.add(key)),
                None => return,
            },
            Some((key, result)) = passes.next() => finish(C::NAME, &mut queue, key, result),
            () = sleep_until(queue.next_due()) => {}
            () = beat.answer() => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn finish<K: Clone + Eq + Hash + fmt::Display>(
    controller: &'static str,
    queue: &mut Queue<K>,
    key: K,
    result: Result<Requeue, ControllerError>,
) {
    queue.done(&key);
    match result {
        Ok(requeue) => {
            queue.forget(&key);
            if let Requeue::After(delay) = requeue {
                queue.add_at(key, Instant::now() + delay);
            }
        }
        Err(error) if error.is_namespace_terminating() => {
            queue.forget(&key);
            let (object, error) = (key.to_string(), error.chain());
            tracing::debug!(controller, object, error, "namespace goes away, not retrying");
        }
        Err(error) => {
            let expected = error.is_conflict();
            let chain = error.chain();
            let object = key.to_string();
            let delay = queue.retry(key, Instant::now());
            let delay_ms = delay.as_millis() as u64;
            if expected {
                tracing::debug!(controller, object, error = chain, delay_ms, "pass lost a race, retrying");
            } else {
                tracing::warn!(controller, object, error = chain, delay_ms, "pass failed, retrying");
            }
        }
    }
}

/// The passes that are running.
struct Passes<K> {
    tasks: JoinSet<Result<Requeue, ControllerError>>,
    keys: HashMap<tokio::task::Id, K>,
}

impl<K: Clone + Send + Sync + 'static> Passes<K> {
    fn start<C: Controller<Key = K>>(&mut self, controller: Arc<C>, key: K) {
        let of = key.clone();
        // Boxed: a task of one type for all controllers, instead of the scheduler's code for each.
        let task = self.tasks.spawn(async move { controller.reconcile(&of).await }.boxed());
        self.keys.insert(task.id(), key);
    }

    async fn next(&mut self) -> Option<(K, Result<Requeue, ControllerError>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(ControllerError::Panicked { what: panic_text(error) })),
        };
        self.keys.remove(&id).map(|key| (key, result))
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast_ref::<&str>().map_or("unknown", |text| text).to_owned(),
        },
        Err(_) => "cancelled".to_owned(),
    }
}

/// Everything there is in `resource`, then every change. A watch that fell behind starts anew, after a `None`.
fn changes(reader: Reader, resource: Resource) -> BoxStream<'static, Option<Arc<Event>>> {
    let scope = Scope { resource, namespace: None, name: None };
    stream::unfold((reader, scope, None, Vec::new()), next_change).boxed()
}

type ChangeState = (Reader, Scope, Option<Watch>, Vec<Arc<Event>>);

async fn next_change(
    (reader, scope, mut watch, mut listed): ChangeState,
) -> Option<(Option<Arc<Event>>, ChangeState)> {
    loop {
        if let Some(event) = listed.pop() {
            return Some((Some(event), (reader, scope, watch, listed)));
        }
        listed.shrink_to_fit();
        let Some(current) = &mut watch else {
            let (snapshot, started) = reader.list_watch(scope.clone());
            let added = |object: &Arc<_>| {
                Arc::new(Event { kind: EventKind::Added, object: Arc::clone(object), previous: None })
            };
            listed = snapshot.list(&scope).map(added).collect();
            listed.reverse();
            watch = Some(started);
            continue;
        };
        match current.next().await {
            Ok(event) => return Some((Some(event), (reader, scope, watch, listed))),
            Err(WatchError::Compacted(_)) => return Some((None, (reader, scope, None, listed))),
            Err(WatchError::Closed) => return None,
        }
    }
}

#[cfg(test)]
mod tests;
