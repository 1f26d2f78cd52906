//! Lets PersistentVolumeClaims go that no pod uses, and PersistentVolumes that no claim is bound to.
//!
//! Reads:     PersistentVolumeClaims, PersistentVolumes, pods.
//! Writes:    `metadata.finalizers` of claims and volumes.
//! Invariant: the guard stays on a claim while a pod that has a node, and has not ended, names it.
//! Source:    https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection

use coracle_client::Api;
use coracle_store::{Event, EventKind, Reader};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Client;

use crate::{
    error::ControllerError,
    guard,
    key::ObjectKey,
    pods, read,
    runner::{Controller, Requeue, Source},
};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLAIM_GUARD: &str = "kubernetes.io/pvc-protection";
const VOLUME_GUARD: &str = "kubernetes.io/pv-protection";

/// The claims that the pod names, its ephemeral ones too.
fn claims_of(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let claim = |volume: &k8s_openapi::api::core::v1::Volume| match &volume.persistent_volume_claim {
        Some(source) => Some(source.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{name}-{}", volume.name)),
    };
    volumes.into_iter().flatten().filter_map(claim).collect()
}

/// No kubelet starts a pod with a claim that is being deleted: one without a node holds nothing.
fn holds(pod: &Pod, claim: &str) -> bool {
    !pods::node_name(pod).is_empty()
        && !pods::is_finished(pod)
        && claims_of(pod).iter().any(|own| own == claim)
}

pub struct ClaimProtectionController {
    reader: Reader,
    client: Client,
}

impl ClaimProtectionController {
    pub fn new(reader: Reader, client: Client) -> ClaimProtectionController {
        ClaimProtectionController { reader, client }
    }

    fn in_use(&self, key: &ObjectKey) -> bool {
        let snapshot = self.reader.snapshot();
        let scope = read::scope("pods", Some(&key.namespace));
        // A pod that does not decode may use it.
        snapshot.list(&scope).any(|object| object.decode::<Pod>().map_or(true, |pod| holds(&pod, &key.name)))
    }
}

/// The claims of a pod that ended or is gone.
fn released(event: &Event) -> Vec<ObjectKey> {
    let Ok(pod) = event.object.decode::<Pod>() else { return Vec::new() };
    if event.kind != EventKind::Deleted && !pods::is_finished(&pod) {
        return Vec::new();
    }
    claims_of(&pod).iter().map(|claim| ObjectKey::new(&event.object.key.namespace, claim)).collect()
}

impl Controller for ClaimProtectionController {
    type Key = ObjectKey;
    const NAME: &'static str = "persistentvolumeclaim-protection-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(CLAIMS), Source::new("pods", released)]
    }

    /// The end of a pod may have been missed.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, CLAIMS)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(object) = self.reader.get(&key.in_resource(CLAIMS)) else { return Ok(Requeue::OnChange) };
        if let Some(finalizers) = guard::plan(&object, CLAIM_GUARD, || self.in_use(key)) {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
            guard::write(api, &object, "PersistentVolumeClaim", finalizers).await?;
        }
        Ok(Requeue::OnChange)
    }
}

pub struct VolumeProtectionController {
    reader: Reader,
    client: Client,
}

impl VolumeProtectionController {
    pub fn new(reader: Reader, client: Client) -> VolumeProtectionController {
        VolumeProtectionController { reader, client }
    }
}

impl Controller for VolumeProtectionController {
    type Key = ObjectKey;
    const NAME: &'static str = "persistentvolume-protection-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(VOLUMES)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(object) = self.reader.get(&key.in_resource(VOLUMES)) else { return Ok(Requeue::OnChange) };
        let volume: std::sync::Arc<PersistentVolume> = read::decode("PersistentVolume", &object)?;
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if let Some(finalizers) = guard::plan(&object, VOLUME_GUARD, || phase == Some("Bound")) {
            let api: Api<PersistentVolume> = Api::all(self.client.clone());
            guard::write(api, &object, "PersistentVolume", finalizers).await?;
        }
        Ok(Requeue::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_holds_its_claims_while_it_has_a_node_and_has_not_ended() {
        let volumes = json!([
            { "name": "v", "persistentVolumeClaim": { "claimName": "c" } }, { "name": "e", "ephemeral": {} },
        ]);
        let pod = |node: &str, phase: &str| -> Pod {
            let object = json!({
                "metadata": { "name": "p" }, "status": { "phase": phase },
                "spec": { "nodeName": node, "containers": [], "volumes": volumes },
            });
            serde_json::from_value(object).unwrap()
        };
        for (node, phase, claim, expected) in [
            ("n", "Running", "c", true),
            ("n", "Pending", "p-e", true),
            ("n", "Running", "other", false),
            ("n", "Succeeded", "c", false),
            ("", "Pending", "c", false),
        ] {
            assert_eq!(holds(&pod(node, phase), claim), expected, "{node} {phase} {claim}");
        }
    }
}
