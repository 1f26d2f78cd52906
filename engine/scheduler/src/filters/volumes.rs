//! Claims: a pod waits while one is missing or unbound, and goes where its volumes are.
//!
//! Source: https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodSpec};

use super::Rejection;
use crate::cluster::{Cluster, NodeState};

/// Names of the claims of a pod. A generic ephemeral volume has the claim `POD-VOLUME`.
pub fn claim_names(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
            (None, None) => None,
        })
        .collect()
}

fn find<'a>(pod: &Pod, name: &str, cluster: &'a Cluster) -> Option<&'a Arc<PersistentVolumeClaim>> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    cluster.claims.get(&(namespace, name.to_owned()))
}

fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    name.filter(|name| phase == Some("Bound") && !name.is_empty())
}

/// A class whose volumes are made only once the pod has its node.
fn waits_for_consumer(claim: &PersistentVolumeClaim, cluster: &Cluster) -> bool {
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    let class = class.and_then(|name| cluster.classes.get(name));
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

pub fn claims_are_ready(pod: &Pod, cluster: &Cluster) -> Result<(), String> {
    let mut unbound = false;
    for name in claim_names(pod) {
        let Some(claim) = find(pod, &name, cluster) else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        unbound |= volume_name(claim).is_none() && !waits_for_consumer(claim, cluster);
    }
    if unbound { Err("pod has unbound immediate PersistentVolumeClaims".to_owned()) } else { Ok(()) }
}

/// The unbound claims whose volumes are to be made for the node that the pod gets.
pub fn claims_to_bind(pod: &Pod, cluster: &Cluster) -> Vec<Arc<PersistentVolumeClaim>> {
    let claims = claim_names(pod);
    let claims = claims.iter().filter_map(|name| find(pod, name, cluster));
    claims
        .filter(|claim| volume_name(claim).is_none() && waits_for_consumer(claim, cluster))
        .cloned()
        .collect()
}

/// Bound volumes that can be used on some nodes only.
pub fn reachable(pod: &Pod, _: &PodSpec, node: &NodeState, cluster: &Cluster) -> Result<(), Rejection> {
    for name in claim_names(pod) {
        let volume = find(pod, &name, cluster).and_then(|claim| cluster.volumes.get(volume_name(claim)?));
        let affinity =
            volume.and_then(|volume| volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref());
        if let Some(required) = affinity
            && !required.node_selector_terms.iter().any(|term| node.is_in(term))
        {
            return Err(Rejection::unresolvable("node(s) didn't match PersistentVolume's node affinity"));
        }
    }
    Ok(())
}
