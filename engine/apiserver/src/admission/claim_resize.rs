//! PersistentVolumeClaimResize: only a bound claim of a class that allows expansion grows.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/storage/persistentvolume/resize/admission.go

use coracle_schema::Quantity;
use coracle_store::Key;
use serde_json::Value;

use super::{Operation, Request};
use crate::{registry::store_resource, status::Status, verbs};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub fn validate(request: &Request<'_>, claim: Option<&Value>) -> Result<(), Status> {
    let (Some(claim), Some(old)) = (claim, request.old) else { return Ok(()) };
    if request.operation != Operation::Update || !request.is("", "persistentvolumeclaims") {
        return Ok(());
    }
    let size = |claim: &Value| {
        Quantity::from_value(&claim["spec"]["resources"]["requests"]["storage"]).unwrap_or_default()
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if old["status"]["phase"] != "Bound" {
        return Err(request.forbid(claim, "Only bound persistent volume claims can be expanded"));
    }
    if !allows_expansion(request, claim) {
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        return Err(request.forbid(claim, why));
    }
    Ok(())
}

fn allows_expansion(request: &Request<'_>, claim: &Value) -> bool {
    let name = claim["metadata"]["annotations"][CLASS_ANNOTATION]
        .as_str()
        .or(claim["spec"]["storageClassName"].as_str())
        .unwrap_or_default();
    let key = Key {
        resource: store_resource("storage.k8s.io", "storageclasses"),
        namespace: "".into(),
        name: name.into(),
    };
    let class = request.state.reader.get(&key).and_then(|class| verbs::decode(&class).ok());
    class.is_some_and(|class| class["allowVolumeExpansion"] == true)
}
