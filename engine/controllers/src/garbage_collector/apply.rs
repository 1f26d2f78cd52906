//! The writes of the garbage collector.

use std::sync::Arc;

use coracle_client::is_reason;
use coracle_store::{Object, OwnerReference};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};

use super::{
    GarbageCollector,
    plan::{FOREGROUND, ORPHAN, Policy},
};
use crate::error::{ControllerError, absent_is_fine};

impl GarbageCollector {
    fn api(&self, object: &Object) -> Option<Api<DynamicObject>> {
        let kind = self.kinds.of_resource(&object.key.resource)?;
        Some(kind.api(&self.client, &object.key.namespace))
    }

    pub(super) async fn delete(&self, object: &Object, policy: Policy) -> Result<(), ControllerError> {
        let Some(api) = self.api(object) else { return Ok(()) };
        let propagation = match policy {
            Policy::Background => PropagationPolicy::Background,
            Policy::Foreground => PropagationPolicy::Foreground,
            Policy::Orphan => PropagationPolicy::Orphan,
        };
        let same = Preconditions {
            uid: Some(object.meta.uid.to_string()),
            resource_version: Some(object.revision.0.to_string()),
        };
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(same),
            ..Default::default()
        };
        match api.delete(&object.key.name, &params).await {
            // It changed, and its new state comes as a pass of its own when that matters; else this one repeats.
            Err(error) if is_reason(&error, "NotFound") => Ok(()),
            Err(error) => Err(ControllerError::api("delete", "dependent", object.key.to_string())(error)),
            Ok(_) => Ok(()),
        }
    }

    /// Takes owners out of an object's references.
    pub(super) async fn disown(&self, object: &Object, uids: &[String]) -> Result<(), ControllerError> {
        let kept =
            object.meta.owner_references.iter().filter(|owner| !uids.iter().any(|uid| **uid == *owner.uid));
        let references: Vec<Value> = kept.map(reference).collect();
        self.patch(object, json!({ "ownerReferences": references })).await
    }

    /// Owners that go in the foreground do not wait for the object.
    pub(super) async fn unblock(&self, object: &Object) -> Result<(), ControllerError> {
        let mut references: Vec<Value> = object.meta.owner_references.iter().map(reference).collect();
        references.iter_mut().for_each(|reference| reference["blockOwnerDeletion"] = false.into());
        self.patch(object, json!({ "ownerReferences": references })).await
    }

    /// The object goes when nothing that blocks it is left; until then its dependents are asked to go.
    pub(super) async fn finish_foreground(&self, object: &Object) -> Result<(), ControllerError> {
        let dependents = self.present_dependents(object);
        let blocking = dependents.iter().any(|dependent| {
            let references = dependent.meta.owner_references.iter();
            references.into_iter().any(|owner| owner.uid == object.meta.uid && owner.block_owner_deletion)
        });
        // Dependents have passes of their own: each sees that its owner waits.
        if blocking { Ok(()) } else { self.drop_finalizer(object, FOREGROUND).await }
    }

    pub(super) async fn orphan_dependents(&self, object: &Object) -> Result<(), ControllerError> {
        for dependent in self.present_dependents(object) {
            self.disown(&dependent, &[object.meta.uid.to_string()]).await?;
        }
        self.drop_finalizer(object, ORPHAN).await
    }

    fn present_dependents(&self, object: &Object) -> Vec<Arc<Object>> {
        let keys = self.graph.dependents(&object.meta.uid);
        let found = keys.iter().filter_map(|key| self.reader.get(key));
        let names = |dependent: &Arc<Object>| {
            dependent.meta.owner_references.iter().any(|owner| owner.uid == object.meta.uid)
        };
        found.filter(names).collect()
    }

    async fn drop_finalizer(&self, object: &Object, finalizer: &str) -> Result<(), ControllerError> {
        let kept: Vec<&str> =
            object.meta.finalizers.iter().map(|other| &**other).filter(|other| *other != finalizer).collect();
        self.patch(object, json!({ "finalizers": kept })).await
    }

    /// A merge patch of metadata lists, against the revision at which they were read.
    async fn patch(&self, object: &Object, mut metadata: Value) -> Result<(), ControllerError> {
        let Some(api) = self.api(object) else { return Ok(()) };
        metadata["uid"] = (*object.meta.uid).into();
        metadata["resourceVersion"] = object.revision.0.to_string().into();
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        absent_is_fine(api.patch_metadata(&object.key.name, &PatchParams::default(), &patch).await)
            .map_err(ControllerError::api("change metadata of", "object", object.key.to_string()))?;
        Ok(())
    }
}

fn reference(owner: &OwnerReference) -> Value {
    let mut reference = json!({
        "apiVersion": &*owner.api_version, "kind": &*owner.kind, "name": &*owner.name, "uid": &*owner.uid,
    });
    if owner.controller {
        reference["controller"] = true.into();
    }
    if owner.block_owner_deletion {
        reference["blockOwnerDeletion"] = true.into();
    }
    reference
}
