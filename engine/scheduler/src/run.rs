//! The scheduler's life: hints in, one pass over the pods that are due, writes out.
//!
//! Reads:     `watch` for hints; a snapshot of the store for each pass.
//! Writes:    see `writes`.
//! Invariant: one pass at a time, the most important pod first; a pod that was bound counts on its node even before the
//!            store shows it. At rest nothing wakes up.
//! Source:    https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use coracle_client::EventRecorder;
use coracle_lifecycle::Beat;
use coracle_store::{Key, Reader};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    change::Change,
    cluster::{Cluster, is_finished, node_name, nominated, priority},
    decide::{Decision, decide},
    filters::claims_to_bind,
    queue::Queue,
    watch::{Hint, hints},
    writes::Writes,
};

const NAME: &str = "default-scheduler";
/// Bindings at a time: the store commits what is waiting as one group.
const PARALLEL: usize = 16;

/// Runs until `stop`. `client` acts as `system:kube-scheduler`.
pub async fn run(
    store: Reader,
    client: Client,
    own_ports: Vec<u16>,
    mut beat: Beat,
    stop: CancellationToken,
) {
    let events = EventRecorder::new(client.clone(), NAME, None);
    let mut hints = hints(&store);
    let mut scheduler = Scheduler {
        store,
        writes: Writes { client, events },
        queue: Queue::default(),
        bound: HashMap::new(),
        own_ports,
    };
    loop {
        let due = scheduler.queue.next_due();
        tokio::select! {
            () = stop.cancelled() => return,
            hint = hints.next() => match hint {
                Some(hint) => scheduler.take(hint),
                None => return,
            },
            () = beat.answer() => {}
            () = sleep_until(due) => {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = scheduler.pass() => {}
                }
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

struct Scheduler {
    store: Reader,
    writes: Writes,
    queue: Queue<Key>,
    /// Pods that were bound, until the store shows it: uid and the pod as it stands on its node.
    bound: HashMap<Key, Arc<Pod>>,
    /// TCP ports of the node on which Coracle itself listens.
    own_ports: Vec<u16>,
}

impl Scheduler {
    fn take(&mut self, hint: Hint) {
        match hint {
            Hint::Waiting(object) => match object.decode::<Pod>() {
                Ok(pod) if is_to_place(&pod) => self.queue.add(object.key.clone(), Instant::now()),
                _ => self.queue.remove(&object.key),
            },
            Hint::Settled(object) => self.queue.remove(&object.key),
            Hint::Changed(change) => self.queue.wake(change, Instant::now()),
        }
    }

    /// Tries every pod that is due, against the cluster as it is now.
    async fn pass(&mut self) {
        let snapshot = self.store.snapshot();
        let mut cluster = Cluster::observe(&snapshot, self.own_ports.clone());
        let still_waits = |key: &Key, uid: &Option<String>| {
            let pod = snapshot.get(key).and_then(|object| object.decode::<Pod>().ok())?;
            (pod.metadata.uid == *uid && node_name(&pod).is_empty()).then_some(pod)
        };
        self.bound.retain(|key, pod| still_waits(key, &pod.metadata.uid).is_some());
        self.bound.values().for_each(|pod| cluster.place(pod.clone()));

        let due = self.queue.due(Instant::now());
        let mut pods = Vec::new();
        for key in self.queue.keys() {
            let pod = snapshot.get(&key).and_then(|object| object.decode::<Pod>().ok());
            match pod.filter(|pod| is_to_place(pod) && !self.bound.contains_key(&key)) {
                Some(pod) => pods.push((due.contains(&key), key, pod)),
                None => self.queue.remove(&key),
            }
        }
        pods.sort_by_key(|(_, _, pod)| turn(pod));
        let mut bindings = Vec::new();
        for (is_due, key, pod) in pods {
            let placed = if is_due { self.place(&key, &pod, &cluster).await } else { None };
            match placed {
                Some(node) => {
                    let claims = claims_to_bind(&pod, &cluster);
                    let there = on_node(&pod, &node);
                    cluster.place(there.clone());
                    bindings.push((key, pod, there, claims));
                }
                None => reserve(&pod, &mut cluster),
            }
        }
        self.bind_all(bindings).await;
    }

    /// Decides for one pod; `Some` is the node that it gets.
    async fn place(&mut self, key: &Key, pod: &Pod, cluster: &Cluster) -> Option<String> {
        let (result, helped_by) = match decide(pod, cluster) {
            Decision::Bind { node } => return Some(node),
            Decision::Wait { message, keeps_place, helped_by } => {
                (self.writes.report(pod, "Unschedulable", &message, keeps_place).await, helped_by)
            }
            Decision::Preempt { node, victims, message, helped_by } => {
                (self.preempt(pod, &node, &victims, &message).await, helped_by)
            }
        };
        let now = Instant::now();
        match result {
            Ok(()) => self.queue.rest(key, now, helped_by),
            Err(error) => {
                if !error.is_outdated() {
                    tracing::warn!(pod = %key.name, error = error.chain(), "pod could not be told why it waits");
                }
                self.queue.retry(key, now);
            }
        }
        None
    }

    async fn preempt(
        &self,
        pod: &Pod,
        node: &str,
        victims: &[Arc<Pod>],
        message: &str,
    ) -> Result<(), crate::writes::WriteError> {
        self.writes.nominate(pod, node).await?;
        for victim in victims {
            match self.writes.evict(victim, pod, node).await {
                Err(error) if error.is_outdated() => {}
                result => result?,
            }
        }
        self.writes.report(pod, "Unschedulable", message, true).await
    }

    async fn bind_all(&mut self, bindings: Vec<(Key, Arc<Pod>, Arc<Pod>, Claims)>) {
        let writes = &self.writes;
        let outcomes: Vec<_> = stream::iter(bindings)
            .map(|(key, pod, there, claims)| async move {
                let node = node_name(&there);
                for claim in claims {
                    if let Err(error) = writes.select_node(&claim, node).await {
                        let error = coracle_client::api_message(&error);
                        tracing::warn!(pod = %key.name, error, "claim could not be given a node");
                    }
                }
                let outcome = writes.bind(&pod, node).await;
                (key, there, outcome)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (key, there, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    self.queue.remove(&key);
                    self.bound.insert(key, there);
                }
                Err(error) => {
                    if !error.is_outdated() {
                        tracing::warn!(pod = %key.name, error = error.chain(), "pod could not be bound, retrying");
                    }
                    self.queue.retry(&key, Instant::now());
                    // Who was refused beside it may have its room.
                    self.queue.wake(Change::PodGone, Instant::now());
                }
            }
        }
    }
}

type Claims = Vec<Arc<k8s_openapi::api::core::v1::PersistentVolumeClaim>>;

/// A pod with gates is not tried: no attempt may delay it once they are gone. That it waits is said by the API server.
pub fn is_to_place(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(NAME);
    let gates = spec.and_then(|spec| spec.scheduling_gates.as_deref()).unwrap_or_default();
    name == NAME
        && gates.is_empty()
        && node_name(pod).is_empty()
        && !is_finished(pod)
        && pod.metadata.deletion_timestamp.is_none()
}

fn on_node(pod: &Pod, node: &str) -> Arc<Pod> {
    let mut pod = pod.clone();
    pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
    Arc::new(pod)
}

/// Of equally important pods, those first for which others were made to go: nobody takes their place.
pub(crate) fn turn(pod: &Pod) -> (Reverse<i32>, bool) {
    (Reverse(priority(pod)), nominated(pod).is_none())
}

/// A pod for which others were made to go keeps the place it was promised.
fn reserve(pod: &Pod, cluster: &mut Cluster) {
    if let Some(node) = nominated(pod) {
        cluster.place(on_node(pod, node));
    }
}
