//! Requests and limits: known names, nothing negative, no request above its limit.

use serde_json::Value;

use coracle_schema::quantity_nanos;

use super::super::checks::{Causes, NON_NEGATIVE, add, indexed, items, nanos, require, text};
use crate::{
    metadata::{label_problems, qualified_name_problems},
    status::Cause,
};

const ONE: i128 = 1_000_000_000;

pub fn validate_resources(out: &mut Causes, resources: &Value, path: &str) {
    validate_amounts(out, resources, path, container_resource);
}

/// `name_of`: what is said of a resource's name.
pub fn validate_amounts(
    out: &mut Causes,
    resources: &Value,
    path: &str,
    name_of: fn(&mut Causes, &str, &str),
) {
    let (mut has_pages, mut has_compute) = (false, false);
    for part in ["limits", "requests"] {
        for (name, quantity) in resources[part].as_object().into_iter().flatten() {
            let at = format!("{path}.{part}[{name}]");
            name_of(out, name, &at);
            let amount = nanos(quantity).unwrap_or_default();
            if amount < 0 {
                out.push(Cause::invalid(at.as_str(), quantity.clone(), NON_NEGATIVE));
            } else if is_extended_resource(name) && amount % ONE != 0 {
                out.push(Cause::invalid(at.as_str(), quantity.clone(), "must be an integer"));
            }
            has_compute |= matches!(name.as_str(), "cpu" | "memory");
            let Some(page) = name.strip_prefix("hugepages-") else { continue };
            has_pages = true;
            let page = quantity_nanos(page).filter(|page| *page > 0 && page % ONE == 0);
            if page.is_none_or(|page| amount % page != 0) {
                let why = format!("{} is not positive integer multiple of {name}", shown(quantity));
                out.push(Cause::invalid(at, quantity.clone(), &why));
            }
        }
    }
    let requests = resources["requests"].as_object();
    for (name, request) in requests.into_iter().flatten() {
        let shared = is_native_resource(name) && !name.starts_with("hugepages-");
        let limit = &resources["limits"][name];
        let (Some(asked), Some(most)) = (nanos(request), nanos(limit)) else {
            if !shared && limit.is_null() {
                let why = "Limit must be set for non overcommitable resources";
                out.push(Cause::required(format!("{path}.limits"), why));
            }
            continue;
        };
        let shown = shown(limit);
        if !shared && asked != most {
            let why = format!("must be equal to {name} limit of {shown}");
            out.push(Cause::invalid(format!("{path}.requests"), request.clone(), &why));
        } else if asked > most {
            let why = format!("must be less than or equal to {name} limit of {shown}");
            out.push(Cause::invalid(format!("{path}.requests"), request.clone(), &why));
        }
    }
    if has_pages && !has_compute {
        out.push(Cause::forbidden(path, "HugePages require cpu or memory"));
    }
}

fn shown(quantity: &Value) -> String {
    quantity.as_str().map_or_else(|| quantity.to_string(), String::from)
}

/// The claims that a container uses are the pod's, each once.
pub fn claims(out: &mut Causes, claims: &Value, of_pod: &Value, path: &str) {
    let mut known: Vec<&str> = items(of_pod).iter().map(|own| text(&own["name"])).collect();
    known.sort_unstable();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (at, claim) in indexed(claims, path) {
        let (name, request) = (text(&claim["name"]), text(&claim["request"]));
        if !require(out, &claim["name"], &at) {
            continue;
        }
        if !request.is_empty() {
            add(out, &format!("{at}.request"), request, label_problems(request));
        }
        let again = |(own, part): &(&str, &str)| {
            *own == name && (part.is_empty() || request.is_empty() || *part == request)
        };
        if let Some((_, part)) = seen.iter().find(|own| again(own)) {
            let whole = part.is_empty() || request.is_empty();
            let value = if whole { name.into() } else { format!("{name}/{request}") };
            out.push(Cause::duplicate(at.as_str(), value));
        }
        seen.push((name, request));
        if !known.contains(&name) {
            let mut cause = Cause::not_found(at, name);
            cause.message.push_str(": must be one of the names in pod.spec.resourceClaims");
            match known[..] {
                [] => cause.message.push_str(" which is empty"),
                _ => cause.message.push_str(&format!(": {}", known.join(", "))),
            }
            out.push(cause);
        }
    }
}

/// The name of something that a pod as a whole may ask for.
pub fn pod_resource(out: &mut Causes, name: &str, path: &str) {
    let before = out.len();
    resource_name(out, name, path);
    let known = matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    if out.len() == before && !known {
        out.push(Cause::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
}

/// The name of something that can be had.
pub fn resource_name(out: &mut Causes, name: &str, path: &str) {
    let problems = qualified_name_problems(name);
    if problems.is_empty() && !name.contains('/') && !is_standard_resource(name) {
        out.push(Cause::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
    add(out, path, name, problems);
}

/// The name of something that a container may ask for.
pub fn container_resource(out: &mut Causes, name: &str, path: &str) {
    resource_name(out, name, path);
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !name.contains('/') && !known {
        out.push(Cause::invalid(path, name, "must be a standard resource for containers"));
    } else if !is_native_resource(name) && !is_extended_resource(name) {
        out.push(Cause::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

/// Kubernetes' own; also what has no prefix.
pub fn is_native_resource(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Something of others, which comes in whole numbers. A quota can name it with `requests.` before it.
pub fn is_extended_resource(name: &str) -> bool {
    !is_native_resource(name)
        && !name.starts_with("requests.")
        && qualified_name_problems(&format!("requests.{name}")).is_empty()
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
