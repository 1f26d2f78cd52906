//! Controlling owner references: made, taken up and given up.
//!
//! Invariant: a merge patch of the list names the `resourceVersion` it was read at, so that no other owner is lost.
//! Source:    https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/

use coracle_client::Api;
use coracle_kinds::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Resource,
    api::{Patch, PatchParams},
};

use serde_json::json;

use crate::error::{ControllerError, absent_is_fine};

/// `owner` as the controller of what it makes.
pub fn reference<O: Resource<DynamicType = ()>>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        kind: O::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Makes `owner` the controller of `object`, which has none. `None`: it is gone.
pub async fn adopt<K, O>(api: &Api<K>, object: &K, owner: &O) -> Result<Option<K>, ControllerError>
where
    K: Kind + Resource<DynamicType = ()>,
    O: Resource<DynamicType = ()>,
{
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.push(reference(owner));
    write(api, object, owners).await
}

/// Takes `owner` from the owners of `object`.
pub async fn release<K, O>(api: &Api<K>, object: &K, owner: &O) -> Result<Option<K>, ControllerError>
where
    K: Kind + Resource<DynamicType = ()>,
    O: Resource<DynamicType = ()>,
{
    let owners = object.meta().owner_references.iter().flatten();
    let others = owners.filter(|each| Some(&each.uid) != owner.meta().uid.as_ref()).cloned().collect();
    write(api, object, others).await
}

async fn write<K>(api: &Api<K>, object: &K, owners: Vec<OwnerReference>) -> Result<Option<K>, ControllerError>
where
    K: Kind + Resource<DynamicType = ()>,
{
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let patch = Patch::Merge(json!({ "metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners,
    }}));
    absent_is_fine(api.patch(name, &PatchParams::default(), &patch).await).map_err(ControllerError::api(
        "change owners of",
        "object",
        name,
    ))
}
