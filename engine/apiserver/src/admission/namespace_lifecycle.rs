//! NamespaceLifecycle: nothing is created in a namespace that is absent or going away; the first namespaces stay.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/namespace/lifecycle/admission.go

use coracle_store::{Key, Resource};
use serde_json::Value;

use super::{Operation, Request};
use crate::status::{Cause, GroupResource, Status};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub fn admit(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    let namespace = request.target.namespace.as_str();
    if request.operation != Operation::Create || namespace.is_empty() {
        return Ok(());
    }
    // Reviews of access are answered for any namespace.
    if matches!(&*request.target.served.api.gvk.group, "authorization.k8s.io") {
        return Ok(());
    }
    let key = Key { resource: Resource("namespaces".into()), namespace: "".into(), name: namespace.into() };
    let Some(found) = request.state.reader.get(&key) else {
        return Err(Status::not_found(GroupResource::new("", "namespaces"), namespace));
    };
    if found.meta.deletion_timestamp.is_none() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause::new(
        "NamespaceTerminating",
        "metadata.namespace",
        format!("namespace {namespace} is being terminated"),
    );
    Err(request.forbid(object, why).with_cause(cause))
}

pub fn validate(request: &Request<'_>, _object: Option<&Value>) -> Result<(), Status> {
    let name = request.target.name.as_str();
    if request.operation == Operation::Delete && request.is("", "namespaces") && IMMORTAL.contains(&name) {
        return Err(Status::forbidden(
            GroupResource::new("", "namespaces"),
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}
