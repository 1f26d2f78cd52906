//! Shows a node's conditions as taints, and says so when nothing is heard from a node any more.
//!
//! Reads:     Nodes; their Leases in `kube-node-lease`.
//! Writes:    Node `spec.taints`, the role label of the node that runs the control plane, and conditions that became unknown.
//! Invariant: pure data decides (see `plan`); what is as it should be is not written. At rest a pass a node looks at its
//!            Lease once in a while and writes nothing.
//! Source:    https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller and
//!            https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-nodes-by-condition

pub mod plan;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use coracle_client::{Api, EventRecorder, EventType, object_reference};
use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, ObjectReference},
};
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
    unchanged::Unchanged,
};

/// Without a sign of life for so long, a node is unknown: `--node-monitor-grace-period`.
const GRACE: Duration = Duration::from_secs(50);

pub struct NodeLifecycleController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    control_plane: IpAddr,
    /// The last sign of life of each node.
    heard: Unchanged<Arc<str>, String>,
    /// The nodes that there are, by name.
    registered: Mutex<HashMap<Arc<str>, ObjectReference>>,
}

impl NodeLifecycleController {
    pub fn new(reader: Reader, client: Client, control_plane: IpAddr) -> NodeLifecycleController {
        let events = EventRecorder::new(client.clone(), "node-controller", None);
        NodeLifecycleController {
            reader,
            client,
            events,
            control_plane,
            heard: Unchanged::default(),
            registered: Mutex::default(),
        }
    }

    /// Tells of a node that comes or goes. After a start every node comes.
    fn register(&self, name: &Arc<str>, node: Option<&Node>) {
        let mut registered = self.registered.lock();
        let (about, reason, what) = match node {
            Some(node) if !registered.contains_key(name) => {
                let about = object_reference(node);
                registered.insert(name.clone(), about.clone());
                (about, "RegisteredNode", format!("Registered Node {name} in Controller"))
            }
            Some(_) => return,
            None => match registered.remove(name) {
                Some(about) => (about, "RemovingNode", format!("Removing Node {name} from Controller")),
                None => return,
            },
        };
        self.events.event(&about, EventType::Normal, reason, format!("Node {name} event: {what}"));
    }

    /// What is left of the time in which the node should be heard.
    fn patience(&self, key: &ObjectKey, node: &Node, now: Instant) -> Duration {
        let lease = self
            .reader
            .get(&ObjectKey::new("kube-node-lease", &key.name).in_resource("leases.coordination.k8s.io"));
        let lease = lease.and_then(|lease| lease.decode::<Lease>().ok());
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        let ready =
            plan::condition(node, "Ready").and_then(|it| it.last_heartbeat_time.as_ref().map(|time| time.0));
        let sign = format!("{renewed:?} {ready:?}");
        GRACE.saturating_sub(self.heard.for_how_long(key.name.clone(), sign, now))
    }

    async fn lose(&self, node: &Node, name: &str) -> Result<(), ControllerError> {
        let conditions = plan::unknown(node, Timestamp::now());
        if conditions.is_empty() {
            return Ok(());
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Strategic(json!({ "status": { "conditions": conditions } }));
        let written = nodes.patch_status(name, &PatchParams::default(), &patch).await;
        absent_is_fine(written).map_err(ControllerError::api("update status of", "Node", name))?;
        let message = format!("Node {name} status is now: NodeNotReady");
        self.events.event(&object_reference(node), EventType::Normal, "NodeNotReady", message);
        tracing::warn!(node = name, "nothing was heard from the node, its state is unknown");
        Ok(())
    }

    /// Merge patches of the parts that are not as they should be.
    async fn mark(&self, node: &Node, name: &str) -> Result<(), ControllerError> {
        let mut patch = json!({});
        if let Some(taints) = plan::taints(node, Timestamp::now()) {
            // Lists are replaced as a whole: nobody else's taint may get lost.
            patch["metadata"] = json!({ "resourceVersion": node.metadata.resource_version });
            patch["spec"] = json!({ "taints": taints });
        }
        if let Some(label) = plan::role_label(node, self.control_plane) {
            patch["metadata"]["labels"] = json!({ label: "" });
        }
        if patch == Value::Object(Default::default()) {
            return Ok(());
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        absent_is_fine(nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .map_err(ControllerError::api("taint", "Node", name))?;
        Ok(())
    }
}

impl Controller for NodeLifecycleController {
    type Key = ObjectKey;
    const NAME: &'static str = "node-lifecycle-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary("nodes")]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(node) = read::get::<Node>(&self.reader, "nodes", "Node", key)? else {
            self.heard.forget(&key.name);
            self.register(&key.name, None);
            return Ok(Requeue::OnChange);
        };
        self.register(&key.name, Some(&node));
        self.mark(&node, &key.name).await?;
        // A node that never said that it is ready has nothing to lose.
        if plan::condition(&node, "Ready").is_none_or(|ready| ready.status == "Unknown") {
            return Ok(Requeue::OnChange);
        }
        let left = self.patience(key, &node, Instant::now());
        if left > Duration::ZERO {
            return Ok(Requeue::After(left));
        }
        self.lose(&node, &key.name).await?;
        Ok(Requeue::OnChange)
    }
}
