//! Requests and limits: known names, nothing negative, no request above its limit.

use serde_json::Value;

use super::super::checks::{Causes, NON_NEGATIVE, add, nanos};
use crate::{metadata::qualified_name_problems, status::Cause};

const ONE: i128 = 1_000_000_000;

pub fn validate_resources(out: &mut Causes, resources: &Value, path: &str) {
    for part in ["limits", "requests"] {
        for (name, quantity) in resources[part].as_object().into_iter().flatten() {
            let at = format!("{path}.{part}[{name}]");
            container_resource(out, name, &at);
            let amount = nanos(quantity).unwrap_or_default();
            if amount < 0 {
                out.push(Cause::invalid(at, quantity.clone(), NON_NEGATIVE));
            } else if name.contains('/') && amount % ONE != 0 {
                out.push(Cause::invalid(at, quantity.clone(), "must be an integer"));
            }
        }
    }
    let requests = resources["requests"].as_object();
    for (name, request) in requests.into_iter().flatten() {
        let shared = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        let limit = &resources["limits"][name];
        let (Some(asked), Some(most)) = (nanos(request), nanos(limit)) else {
            if !shared && limit.is_null() {
                let why = "Limit must be set for non overcommitable resources";
                out.push(Cause::required(format!("{path}.limits"), why));
            }
            continue;
        };
        let shown = limit.as_str().map_or_else(|| limit.to_string(), String::from);
        if !shared && asked != most {
            let why = format!("must be equal to {name} limit of {shown}");
            out.push(Cause::invalid(format!("{path}.requests"), request.clone(), &why));
        } else if asked > most {
            let why = format!("must be less than or equal to {name} limit of {shown}");
            out.push(Cause::invalid(format!("{path}.requests"), request.clone(), &why));
        }
    }
}

/// The name of something that a container may ask for.
pub fn container_resource(out: &mut Causes, name: &str, path: &str) {
    add(out, path, name, qualified_name_problems(name));
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !name.contains('/') && !known {
        qualified_resource(out, name, path);
        out.push(Cause::invalid(path, name, "must be a standard resource for containers"));
    }
}

const STANDARD: [&str; 17] = [
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
];

/// Whether a resource without a prefix is one of Kubernetes' own.
pub fn is_standard_resource(name: &str) -> bool {
    STANDARD.contains(&name)
        || ["services.", "hugepages-", "requests.hugepages-", "limits.hugepages-"]
            .iter()
            .any(|start| name.starts_with(start))
        || name == "storage"
}

fn qualified_resource(out: &mut Causes, name: &str, path: &str) {
    if !name.contains('/') && !is_standard_resource(name) {
        out.push(Cause::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
}
