//! DefaultIngressClass: an Ingress that names no class gets the default one.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/network/defaultingressclass/admission.go

use std::cmp::Reverse;

use serde_json::Value;

use super::{Operation, Request};
use crate::{registry::store_resource, status::Status};

const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub fn admit(request: &Request<'_>, ingress: &mut Value) -> Result<(), Status> {
    let applies = request.operation == Operation::Create && request.is("networking.k8s.io", "ingresses");
    let named = !ingress["spec"]["ingressClassName"].is_null()
        || ingress["metadata"]["annotations"][CLASS_ANNOTATION].is_string();
    if !applies || named || !ingress["spec"].is_object() {
        return Ok(());
    }
    if let Some(name) = default_class(request) {
        ingress["spec"]["ingressClassName"] = name.into();
    }
    Ok(())
}

/// Of several default classes the newest; of equally new ones the first by name.
fn default_class(request: &Request<'_>) -> Option<String> {
    let resource = store_resource("networking.k8s.io", "ingressclasses");
    let scope = coracle_store::Scope { resource, namespace: None, name: None };
    let snapshot = request.state.reader.snapshot();
    snapshot
        .list(&scope)
        .filter_map(|class| crate::verbs::decode(class).ok())
        .filter(|class| class["metadata"]["annotations"][DEFAULT_ANNOTATION] == "true")
        .map(|class| {
            let created = crate::object::meta_str(&class, "creationTimestamp").to_owned();
            (Reverse(created), crate::object::name(&class).to_owned())
        })
        .min()
        .map(|(_, name)| name)
}
