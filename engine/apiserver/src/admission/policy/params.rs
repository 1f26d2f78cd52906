//! The objects that a binding gives its policy as `params`.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/policy/generic/policy_dispatcher.go
//! (`CollectParams`)

use serde_json::Value;

use super::{Binding, Policy};
use crate::{admission::Request, registry::Served, selector::LabelSelector, status::Status, verbs};

/// One entry for each evaluation; None: without params. Err: the binding cannot be used.
pub fn collect(
    request: &Request<'_>,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, String> {
    let reference = &binding.param_ref;
    let (Some((version, kind)), true) = (&policy.param_kind, reference.is_object()) else {
        return Ok(vec![None]);
    };
    let served = request.state.resources.find_kind(version, kind);
    let served = served.ok_or_else(|| {
        let slash = if version.contains('/') { "" } else { "/" };
        format!("failed to find resource referenced by paramKind: '{slash}{version}, Kind={kind}'")
    })?;
    let asked = reference["namespace"].as_str().unwrap_or_default();
    let own = request.target.namespace.as_str();
    let namespace = match (served.api.namespaced, asked, own) {
        (false, "", _) => "",
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        (true, "", "") => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .into(),
            );
        }
        (true, "", own) => own,
        (true, asked, _) => asked,
    };
    let found = find(request, &served, namespace, reference).map_err(|status| status.message)?;
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found.into_iter().map(Some).collect())
}

fn find(
    request: &Request<'_>,
    served: &Served,
    namespace: &str,
    reference: &Value,
) -> Result<Vec<Value>, Status> {
    let reader = &request.state.reader;
    if let Some(name) = reference["name"].as_str().filter(|name| !name.is_empty()) {
        let object = reader.get(&served.key(namespace, name));
        return object.map(|object| verbs::decode_as(served, &object)).into_iter().collect();
    }
    let selector = LabelSelector::from_object(&reference["selector"]).unwrap_or_default();
    let snapshot = reader.snapshot();
    snapshot
        .list(&served.scope(namespace, None))
        .filter(|object| selector.matches(&object.meta.labels))
        .map(|object| verbs::decode_as(served, object))
        .collect()
}
