//! StorageObjectInUseProtection: volumes and claims are born with a finalizer, so that nobody loses data in use.
//! The controllers `pv-protection` and `pvc-protection` take it off.
//!
//! Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection

use serde_json::{Value, json};

use super::{Operation, Request};
use crate::{object, status::Status};

const FINALIZERS: [(&str, &str); 2] = [
    ("persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("persistentvolumes", "kubernetes.io/pv-protection"),
];

pub fn admit(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    let found = FINALIZERS.iter().find(|(plural, _)| request.is("", plural));
    let Some((_, finalizer)) = found.filter(|_| request.operation == Operation::Create) else {
        return Ok(());
    };
    if !object::finalizers(object).contains(finalizer) {
        let all = object::metadata_mut(object).entry("finalizers").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push((*finalizer).into());
        }
    }
    Ok(())
}
