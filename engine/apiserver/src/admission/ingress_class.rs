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
    let found = default_class(request, "networking.k8s.io", "ingressclasses", &[DEFAULT_ANNOTATION]);
    if let Some(name) = found {
        ingress["spec"]["ingressClassName"] = name.into();
    }
    Ok(())
}

/// The class that one of `annotations` makes the default. Of several the newest; of equally new ones the first by name.
pub fn default_class(
    request: &Request<'_>,
    group: &str,
    plural: &str,
    annotations: &[&str],
) -> Option<String> {
    let resource = store_resource(group, plural);
    let scope = coracle_store::Scope { resource, namespace: None, name: None };
    let snapshot = request.state.reader.snapshot();
    snapshot
        .list(&scope)
        .filter_map(|class| crate::verbs::decode(class).ok())
        .filter(|class| annotations.iter().any(|own| class["metadata"]["annotations"][*own] == "true"))
        .map(|class| {
            let created = crate::object::meta_str(&class, "creationTimestamp").to_owned();
            (Reverse(created), crate::object::name(&class).to_owned())
        })
        .min()
        .map(|(_, name)| name)
}
