//! DefaultStorageClass: a claim that names no class gets the default one.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/storage/storageclass/setdefault/admission.go

use serde_json::Value;

use super::{Operation, Request, ingress_class};
use crate::status::Status;

const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub fn admit(request: &Request<'_>, claim: &mut Value) -> Result<(), Status> {
    let applies = request.operation == Operation::Create && request.is("", "persistentvolumeclaims");
    // An empty name is a choice too: no class.
    let named = !claim["spec"]["storageClassName"].is_null()
        || claim["metadata"]["annotations"][CLASS_ANNOTATION].is_string();
    if !applies || named || !claim["spec"].is_object() {
        return Ok(());
    }
    if let Some(name) =
        ingress_class::default_class(request, "storage.k8s.io", "storageclasses", &DEFAULT_ANNOTATIONS)
    {
        claim["spec"]["storageClassName"] = name.into();
    }
    Ok(())
}
