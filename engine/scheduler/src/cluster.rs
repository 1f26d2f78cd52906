//! The nodes with their pods at one moment, and pods that were just placed.
//!
//! Reads: Nodes, Pods, Namespaces, claims and PodDisruptionBudgets of one snapshot of the store.

use std::{collections::BTreeMap, sync::Arc};

use coracle_client::node_affinity;
use coracle_kinds::Kind;
use coracle_store::{Resource, Scope, Snapshot};
use k8s_openapi::api::core::v1::{
    Namespace, Node, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim, Pod,
};
use k8s_openapi::api::{policy::v1::PodDisruptionBudget, storage::v1::StorageClass};

use crate::resources::{Resources, allocatable, requests};

#[derive(Clone, Debug)]
pub struct NodeState {
    pub node: Arc<Node>,
    pub pods: Vec<Arc<Pod>>,
    pub allocatable: Resources,
    pub requested: Resources,
}

impl NodeState {
    pub fn new(node: Arc<Node>) -> NodeState {
        NodeState { allocatable: allocatable(&node), requested: Resources::default(), pods: Vec::new(), node }
    }

    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub fn is_in(&self, term: &NodeSelectorTerm) -> bool {
        node_affinity::term_matches(term, self.name(), &self.node.metadata.labels)
    }

    pub fn place(&mut self, pod: Arc<Pod>) {
        self.requested.add(&requests(&pod));
        self.pods.push(pod);
    }

    pub fn remove(&mut self, pod: &Pod) {
        let before = self.pods.len();
        self.pods.retain(|other| other.metadata.uid != pod.metadata.uid);
        if self.pods.len() < before {
            self.requested.subtract(&requests(pod));
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub nodes: Vec<NodeState>,
    pub namespace_labels: BTreeMap<String, BTreeMap<String, String>>,
    pub claims: BTreeMap<(String, String), Arc<PersistentVolumeClaim>>,
    pub volumes: BTreeMap<String, Arc<PersistentVolume>>,
    pub classes: BTreeMap<String, Arc<StorageClass>>,
    pub budgets: Vec<Arc<PodDisruptionBudget>>,
    /// TCP ports of the node on which Coracle itself listens.
    pub own_ports: Vec<u16>,
}

impl Cluster {
    pub fn observe(snapshot: &Snapshot, own_ports: Vec<u16>) -> Cluster {
        let nodes = decoded::<Node>(snapshot, "nodes").map(NodeState::new).collect();
        let mut cluster = Cluster { nodes, own_ports, ..Cluster::default() };
        for pod in decoded::<Pod>(snapshot, "pods").filter(|pod| !is_finished(pod)) {
            cluster.place(pod);
        }
        for namespace in decoded::<Namespace>(snapshot, "namespaces") {
            let name = namespace.metadata.name.clone().unwrap_or_default();
            cluster.namespace_labels.insert(name, namespace.metadata.labels.clone().unwrap_or_default());
        }
        for claim in decoded::<PersistentVolumeClaim>(snapshot, "persistentvolumeclaims") {
            let (namespace, name) = (claim.metadata.namespace.clone(), claim.metadata.name.clone());
            cluster.claims.insert((namespace.unwrap_or_default(), name.unwrap_or_default()), claim);
        }
        for volume in decoded::<PersistentVolume>(snapshot, "persistentvolumes") {
            cluster.volumes.insert(volume.metadata.name.clone().unwrap_or_default(), volume);
        }
        for class in decoded::<StorageClass>(snapshot, "storageclasses.storage.k8s.io") {
            cluster.classes.insert(class.metadata.name.clone().unwrap_or_default(), class);
        }
        cluster.budgets = decoded(snapshot, "poddisruptionbudgets.policy").collect();
        cluster
    }

    /// Counts `pod` on the node that it names.
    pub fn place(&mut self, pod: Arc<Pod>) {
        let name = node_name(&pod).to_owned();
        if let Some(node) = self.nodes.iter_mut().find(|node| node.name() == name) {
            node.place(pod);
        }
    }

    pub fn pods(&self) -> impl Iterator<Item = (&NodeState, &Arc<Pod>)> {
        self.nodes.iter().flat_map(|node| node.pods.iter().map(move |pod| (node, pod)))
    }
}

pub fn scope(resource: &str) -> Scope {
    Scope { resource: Resource(resource.into()), namespace: None, name: None }
}

fn decoded<'a, K>(snapshot: &'a Snapshot, resource: &str) -> impl Iterator<Item = Arc<K>> + 'a
where
    K: Kind,
{
    let scope = scope(resource);
    let objects: Vec<_> = snapshot.list(&scope).collect();
    // An object that does not decode does not exist for the scheduler; the API refuses such objects.
    objects.into_iter().filter_map(|object| object.decode::<K>().ok())
}

/// The node that a pod was promised when others had to go for it.
pub fn nominated(pod: &Pod) -> Option<&str> {
    let node = pod.status.as_ref()?.nominated_node_name.as_deref();
    node.filter(|node| !node.is_empty())
}

pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

pub fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}
