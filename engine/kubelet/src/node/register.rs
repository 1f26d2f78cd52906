//! Registers the Node and keeps its status current.
//!
//! Reads:     the Node in the store, the images present.
//! Writes:    the Node (labels, podCIDR) at start; `status` when it changed, and every five minutes.
//! Source:    https://kubernetes.io/docs/concepts/architecture/nodes/#self-registration-of-nodes

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::Api;
use coracle_kinds::Kind;
use coracle_store::{Key, Resource};
use k8s_openapi::api::core::v1::{Node, NodeStatus, NodeSystemInfo};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{csi_node, events, facts, status};
use crate::shared::Shared;
use crate::{KubeletError, api_message, clock};

/// How often an unchanged status is written.
const HEARTBEAT: Duration = Duration::from_secs(300);

/// How long to wait before the node is registered again, ever longer, as a stock kubelet waits.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(7);

pub fn labels(node_name: &str) -> BTreeMap<String, String> {
    let arch = facts::architecture();
    let pairs = [
        ("beta.kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("kubernetes.io/hostname", node_name),
        ("kubernetes.io/os", "linux"),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// The Node as the store has it.
pub fn current(shared: &Shared) -> Option<Arc<Node>> {
    stored(shared).ok()?
}

fn stored(shared: &Shared) -> Result<Option<Arc<Node>>, KubeletError> {
    let name = shared.config.node_name.as_str();
    let key = Key { resource: Resource("nodes".into()), namespace: "".into(), name: name.into() };
    let node = shared.store.get(&key).map(|object| object.decode::<Node>()).transpose();
    node.map_err(|error| KubeletError::Internal(format!("read node `{name}` in the store: {error}")))
}

async fn status_now(shared: &Shared, info: &NodeSystemInfo, before: &NodeStatus) -> NodeStatus {
    let images = shared.images.list().await.unwrap_or_default();
    status::build(&shared.config, &shared.capacity, info, images, before, clock::now())
}

/// Makes the Node, or takes over the one that is there.
pub async fn register(shared: &Shared) -> Result<(), KubeletError> {
    let nodes: Api<Node> = Api::all(shared.client.clone());
    let name = &shared.config.node_name;
    let failed = |error: kube::Error| {
        KubeletError::Internal(format!("register node `{name}`: {}", api_message(&error)))
    };
    let cidr = &shared.config.pod_cidr;
    match stored(shared)? {
        None => {
            let node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {
                    "name": name,
                    "labels": labels(name),
                    "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
                },
                "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
            });
            let node = Node::from_value(&node).map_err(|e| KubeletError::Internal(e.to_string()))?;
            nodes.create(&PostParams::default(), &node).await.map_err(failed)?;
        }
        Some(node) => {
            let own = labels(name);
            let have = node.metadata.labels.clone().unwrap_or_default();
            if own.iter().any(|(k, v)| have.get(k) != Some(v)) {
                let patch = json!({"metadata": {"labels": own}});
                nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(failed)?;
            }
        }
    }
    let info = facts::read(&shared.config.kubelet_version);
    let before = current(shared).and_then(|node| node.status.clone()).unwrap_or_default();
    let boot = before.node_info.map(|info| info.boot_id).filter(|id| !id.is_empty() && *id != info.boot_id);
    keep_csi_node(shared).await;
    write(shared, &info, Occasion::Start).await.map_err(failed)?;
    // The status knows this boot now: a registration that is tried again tells of it once.
    if boot.is_some() {
        events::rebooted(shared, &info.boot_id);
    }
    Ok(())
}

/// No pod needs it: a webhook that waits for this node's pods must not keep the node from starting.
async fn keep_csi_node(shared: &Shared) {
    if let Err(error) = csi_node::register(shared).await {
        tracing::warn!(error = api_message(&error), "CSINode was not made");
    }
}

/// Says again that the node is ready, where the control plane had not heard from it and said otherwise.
pub async fn reassure(shared: &Shared) -> Result<(), kube::Error> {
    let conditions = current(shared).and_then(|node| node.status.clone()?.conditions).unwrap_or_default();
    if !conditions.iter().any(|condition| condition.status == "Unknown") {
        return Ok(());
    }
    write(shared, &facts::read(&shared.config.kubelet_version), Occasion::Heartbeat).await
}

/// Why a status is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// What a kubelet knows of its node's resources is news, whatever an earlier one knew.
    Start,
    Heartbeat,
    Change,
}

async fn write(shared: &Shared, info: &NodeSystemInfo, occasion: Occasion) -> Result<(), kube::Error> {
    let before = current(shared).and_then(|n| n.status.clone()).unwrap_or_default();
    let after = status_now(shared, info, &before).await;
    if occasion == Occasion::Change && status::same(&before, &after) {
        return Ok(());
    }
    let nodes: Api<Node> = Api::all(shared.client.clone());
    let patch = Patch::Strategic(json!({"status": after}));
    nodes.patch_status(&shared.config.node_name, &PatchParams::default(), &patch).await?;
    let mut known = before.conditions.unwrap_or_default();
    known.retain(|condition| occasion != Occasion::Start || condition.type_ == "Ready");
    for reason in events::changes(&known, after.conditions.as_deref().unwrap_or_default()) {
        events::status(shared, reason);
    }
    Ok(())
}

/// Tells of a node that was cordoned or uncordoned since the last look.
pub fn tell_schedulable(shared: &Shared, was_unschedulable: &mut bool) {
    let Some(node) = current(shared) else { return };
    let is_unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    if std::mem::replace(was_unschedulable, is_unschedulable) != is_unschedulable {
        events::status(shared, if is_unschedulable { "NodeNotSchedulable" } else { "NodeSchedulable" });
    }
}

/// One for all rounds: what comes in between postpones no beat.
fn heartbeats() -> Interval {
    let mut beats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// Keeps the status current until `stop`. `images_changed` asks for a look at once. What is not `registered` is first.
pub async fn keep(
    shared: Arc<Shared>,
    mut registered: bool,
    images_changed: Arc<tokio::sync::Notify>,
    stop: CancellationToken,
) {
    let info = facts::read(&shared.config.kubelet_version);
    let mut beats = heartbeats();
    let mut pause = RETRY_FIRST;
    loop {
        let occasion = tokio::select! {
            () = stop.cancelled() => return,
            _ = beats.tick() => Occasion::Heartbeat,
            () = images_changed.notified() => Occasion::Change,
            () = tokio::time::sleep(pause), if !registered => Occasion::Start,
        };
        if occasion == Occasion::Start {
            pause = (pause * 2).min(RETRY_LAST);
            let tried = register(&shared).await;
            registered = tried.is_ok();
            match tried {
                Ok(()) => tracing::info!("the node is registered"),
                Err(error) => tracing::debug!(%error, "the node is not registered"),
            }
            continue;
        }
        let written = match current(&shared) {
            Some(_) => {
                if occasion == Occasion::Heartbeat {
                    keep_csi_node(&shared).await;
                }
                write(&shared, &info, occasion).await.map_err(|e| api_message(&e))
            }
            // Someone deleted the Node: it is made again.
            None => register(&shared).await.map_err(|e| e.to_string()),
        };
        if let Err(error) = written {
            tracing::warn!(error, "node status was not written");
        }
    }
}
