//! What a pod asks for as a whole: no less than its containers ask for, no container limited beyond it.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//! (`validatePodResources`)

use coracle_quota::{PodPart, pod_amounts};
use coracle_schema::Quantity;
use serde_json::Value;

use super::{
    super::checks::{Causes, indexed},
    resources::{pod_resource, validate_amounts},
};
use crate::{object::remove, status::Cause};

pub fn validate(out: &mut Causes, spec: &Value, path: &str) {
    let own = &spec["resources"];
    if own.is_null() {
        return;
    }
    if !own["claims"].is_null() {
        let why = "claims cannot be set for Resources at pod-level";
        out.push(Cause::forbidden(format!("{path}.claims"), why));
    }
    validate_amounts(out, own, path, pod_resource);
    let mut containers = spec.clone();
    for field in ["resources", "overhead"] {
        remove(&mut containers, field);
    }
    for (name, asked) in pod_amounts(&containers, PodPart::Requests).iter() {
        // What is left open is filled in from the containers.
        let Some(given) = Quantity::from_value(&own["requests"][name]) else { continue };
        if asked > given {
            let why = format!("must be greater than or equal to aggregate container requests of {asked}");
            out.push(Cause::invalid(format!("{path}.requests[{name}]"), given.to_string(), &why));
        }
    }
    for (at, container) in indexed(&spec["containers"], &format!("{path}.containers")) {
        for (name, limit) in container["resources"]["limits"].as_object().into_iter().flatten() {
            let most = &own["limits"][name];
            if let (Some(own), Some(most)) = (Quantity::from_value(limit), Quantity::from_value(most))
                && own > most
            {
                let why = format!("must be less than or equal to pod limits of {most}");
                out.push(Cause::invalid(format!("{at}[{name}].limits"), own.to_string(), &why));
            }
        }
    }
}
