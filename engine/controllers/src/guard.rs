//! A finalizer that keeps an object while something depends on it.

use coracle_client::Api;
use coracle_kinds::Kind;
use coracle_store::Object;
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::error::{ControllerError, absent_is_fine};

/// What the finalizers should become so that `guard` is there while it must be; `None`: they are as they should be.
pub fn plan(object: &Object, guard: &str, in_use: impl FnOnce() -> bool) -> Option<Vec<String>> {
    let has = object.meta.finalizers.iter().any(|own| **own == *guard);
    let others = object.meta.finalizers.iter().filter(|own| ***own != *guard).map(|own| own.to_string());
    match (object.meta.deletion_timestamp.is_some(), has) {
        (true, true) if !in_use() => Some(others.collect()),
        (false, false) => Some(others.chain([guard.to_owned()]).collect()),
        _ => None,
    }
}

/// Fails when the object is another one by now.
pub async fn write<K>(
    api: Api<K>,
    object: &Object,
    kind: &'static str,
    finalizers: Vec<String>,
) -> Result<(), ControllerError>
where
    K: Kind + Resource<DynamicType = ()>,
{
    let revision = object.revision.0.to_string();
    let patch = json!({ "metadata": { "resourceVersion": revision, "uid": &*object.meta.uid, "finalizers": finalizers } });
    let name = &*object.key.name;
    absent_is_fine(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
        .map_err(ControllerError::api("change finalizers of", kind, name))?;
    Ok(())
}
