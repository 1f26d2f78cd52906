//! What changes in the cluster, as hints: the state itself is read from the store when a pod is tried.
//!
//! Reads: the store's watches of everything that placement depends on.

use std::sync::Arc;

use coracle_store::{Event, EventKind, Object, Reader, Watch, WatchError};
use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    change::Change,
    cluster::{is_finished, node_name, nominated, scope},
    resources::allocatable,
};

/// A change that the scheduler cares about.
pub enum Hint {
    /// A pod that waits for a node is there or was changed.
    Waiting(Arc<Object>),
    /// A pod no longer waits. What its going or its coming to a node means is said by `Changed`.
    Settled(Arc<Object>),
    /// Whoever waits for such a change may fit now.
    Changed(Change),
}

const RESOURCES: [&str; 6] = [
    "pods",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "storageclasses.storage.k8s.io",
    "namespaces",
];

/// Ends when the store is closed.
pub fn hints(reader: &Reader) -> BoxStream<'static, Hint> {
    let streams = RESOURCES.map(|resource| changes(reader.clone(), resource));
    stream::select_all(streams).flat_map(|(resource, event)| stream::iter(read(resource, &event))).boxed()
}

fn read(resource: &str, event: &Event) -> Vec<Hint> {
    match resource {
        "pods" => pod_hints(event),
        "nodes" => {
            let node = |object: &Arc<Object>| object.decode::<Node>().ok();
            let now = node(&event.object).filter(|_| event.kind != EventKind::Deleted);
            let before = event.previous.as_ref().and_then(node);
            node_changes(before.as_deref(), now.as_deref()).into_iter().map(Hint::Changed).collect()
        }
        "namespaces" if labels_kept(event) => Vec::new(),
        "namespaces" => vec![Hint::Changed(Change::Namespaces)],
        _ => vec![Hint::Changed(Change::Claims)],
    }
}

fn pod_hints(event: &Event) -> Vec<Hint> {
    let Ok(pod) = event.object.decode::<Pod>() else { return Vec::new() };
    let before = event.previous.as_ref().and_then(|previous| previous.decode::<Pod>().ok());
    let settled = || Hint::Settled(event.object.clone());
    let (gone, came) = (Hint::Changed(Change::PodGone), Hint::Changed(Change::PodCame));
    if event.kind == EventKind::Deleted {
        return vec![settled(), gone];
    }
    if is_finished(&pod) {
        let was_running = before.is_none_or(|before| !is_finished(&before));
        return if was_running { vec![settled(), gone] } else { vec![settled()] };
    }
    let labels_changed = before.as_ref().is_some_and(|before| before.metadata.labels != pod.metadata.labels);
    if !node_name(&pod).is_empty() {
        let arrived = before.is_none_or(|before| node_name(&before).is_empty());
        return match (arrived, labels_changed) {
            // It may be the one that another wants to be near to.
            (true, _) => vec![settled(), came],
            // To those that select it no longer, it is gone.
            (false, true) => vec![settled(), gone, came],
            (false, false) => Vec::new(),
        };
    }
    // Our own status writes are no news, but for a place that is given up: to others that is a pod gone.
    let gave_up = before
        .as_ref()
        .is_some_and(|before| nominated(before).is_some() && nominated(before) != nominated(&pod));
    let same = before.is_some_and(|before| {
        before.spec == pod.spec && before.metadata.deletion_timestamp == pod.metadata.deletion_timestamp
    });
    let is_news = !same || labels_changed;
    let waiting = is_news.then(|| Hint::Waiting(event.object.clone()));
    waiting.into_iter().chain(gave_up.then_some(gone)).collect()
}

/// What a node that was like `before` and is like `now` means for pods that wait.
pub fn node_changes(before: Option<&Node>, now: Option<&Node>) -> Vec<Change> {
    let (before, now) = match (before, now) {
        (Some(before), Some(now)) => (before, now),
        (None, Some(_)) => return vec![Change::NodeCame],
        (_, None) => return vec![Change::NodeGone],
    };
    let taints = |node: &Node| {
        let spec = node.spec.as_ref();
        let taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        (taints, spec.and_then(|spec| spec.unschedulable).unwrap_or_default())
    };
    let mut out = Vec::new();
    let mut add = |holds, change| out.extend(Some(change).filter(|_| holds));
    add(now.metadata.labels != before.metadata.labels, Change::NodeLabels);
    add(taints(now) != taints(before), Change::NodeTaints);
    add(allocatable(now).exceeds(&allocatable(before)), Change::NodeRoom);
    out
}

fn labels_kept(event: &Event) -> bool {
    event.previous.as_ref().is_some_and(|previous| previous.meta.labels == event.object.meta.labels)
}

/// Everything there is, then every change. A watch that fell behind starts anew.
fn changes(reader: Reader, resource: &'static str) -> BoxStream<'static, (&'static str, Arc<Event>)> {
    let state: (Reader, Option<Watch>, Vec<Arc<Event>>) = (reader, None, Vec::new());
    stream::unfold(state, move |(reader, mut watch, mut listed)| async move {
        loop {
            if let Some(event) = listed.pop() {
                return Some(((resource, event), (reader, watch, listed)));
            }
            let Some(current) = &mut watch else {
                let (snapshot, started) = reader.list_watch(scope(resource));
                let added = |object: &Arc<Object>| {
                    Arc::new(Event { kind: EventKind::Added, object: object.clone(), previous: None })
                };
                listed = snapshot.list(&scope(resource)).map(added).collect();
                listed.reverse();
                watch = Some(started);
                continue;
            };
            match current.next().await {
                Ok(event) => return Some(((resource, event), (reader, watch, listed))),
                Err(WatchError::Compacted(_)) => watch = None,
                Err(WatchError::Closed) => return None,
            }
        }
    })
    .boxed()
}
