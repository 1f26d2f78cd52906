//! What a pod's spec must look like, in Pods and in the templates of workloads.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidatePodSpec`)

mod claims;
mod container;
mod dns;
mod environment;
mod handlers;
pub mod label_keys;
pub mod own_annotations;
mod placement;
mod pod_resources;
mod resources;
mod security;
mod update;
mod volume_sources;
mod volumes;
mod windows;

use serde_json::Value;

pub use placement::{node_selector, tolerations};
pub use resources::{
    container_resource, is_extended_resource, is_native_resource, is_standard_resource, resource_name,
    validate_resources,
};
pub use update::validate_update;
pub use volume_sources::{Source, validate as validate_volume_source};
pub use volumes::HOST_PATH_TYPES;

use super::checks::{Causes, add, annotations, indexed, is_set, label_selector, one_of, subdomain, text};
use crate::{
    metadata::{label_problems, subdomain_problems, validate_labels},
    status::Cause,
};

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

pub fn validate(spec: &Value, path: &str) -> Causes {
    let mut out = Vec::new();
    let volumes = volumes::validate(&mut out, &spec["volumes"], &format!("{path}.volumes"));
    claims::validate(&mut out, &spec["resourceClaims"], &format!("{path}.resourceClaims"));
    container::validate_all(&mut out, spec, path, &volumes);
    pod_resources::validate(&mut out, spec, &format!("{path}.resources"));
    one_of(&mut out, &spec["restartPolicy"], &format!("{path}.restartPolicy"), &RESTART_POLICIES);
    dns::validate(&mut out, spec, path);
    out.extend(validate_labels(&spec["nodeSelector"], &format!("{path}.nodeSelector")));
    security::pod(&mut out, spec, path);
    placement::validate(&mut out, spec, path);
    names(&mut out, spec, path);
    if let Some(seconds) =
        spec["activeDeadlineSeconds"].as_i64().filter(|own| !(1..=i64::from(i32::MAX)).contains(own))
    {
        let why = "must be between 1 and 2147483647, inclusive";
        out.push(Cause::invalid(format!("{path}.activeDeadlineSeconds"), seconds, why));
    }
    host_aliases(&mut out, spec, path);
    one_of(
        &mut out,
        &spec["preemptionPolicy"],
        &format!("{path}.preemptionPolicy"),
        &["PreemptLowerPriority", "Never"],
    );
    let overhead = serde_json::json!({"limits": spec["overhead"]});
    validate_resources(&mut out, &overhead, &format!("{path}.overhead"));
    security::operating_system(&mut out, spec, path);
    environment::files(&mut out, spec, path);
    out
}

/// All containers with their paths.
pub fn containers<'a>(spec: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| indexed(&spec[list], &format!("{path}.{list}")))
        .collect()
}

/// A PodTemplateSpec.
pub fn validate_template(template: &Value, path: &str) -> Causes {
    let mut out = validate_labels(&template["metadata"]["labels"], &format!("{path}.labels"));
    annotations(&mut out, &template["metadata"]["annotations"], &format!("{path}.annotations"));
    own_annotations::validate(&mut out, template, &format!("{path}.annotations"));
    out.extend(validate(&template["spec"], &format!("{path}.spec")));
    if is_set(&template["spec"]["ephemeralContainers"]) {
        let why = "ephemeral containers not allowed in pod template";
        out.push(Cause::forbidden(format!("{path}.spec.ephemeralContainers"), why));
    }
    out
}

/// A template of what runs for ever: Deployments and the like.
pub fn validate_running_template(template: &Value, path: &str, kind: &str) -> Causes {
    let mut out = validate_template(template, path);
    let policy = &template["spec"]["restartPolicy"];
    if RESTART_POLICIES.contains(&text(policy)) {
        one_of(&mut out, policy, &format!("{path}.spec.restartPolicy"), &["Always"]);
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        out.push(Cause::forbidden(format!("{path}.spec.activeDeadlineSeconds"), &why));
    }
    out
}

fn ip(out: &mut Causes, value: &Value, path: &str) {
    if text(value).parse::<std::net::IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        out.push(Cause::invalid(path, value.clone(), why));
    }
}

const HOST_NAME_MAX_BYTES: usize = 64;

fn host_name(out: &mut Causes, spec: &Value, path: &str) {
    let Some(name) = spec["hostnameOverride"].as_str() else { return };
    let at = format!("{path}.hostnameOverride");
    for field in ["setHostnameAsFQDN", "hostNetwork"].into_iter().filter(|field| spec[*field] == true) {
        out.push(Cause::forbidden(&*at, &format!("may not be specified when {field} is true")));
    }
    if name.len() > HOST_NAME_MAX_BYTES {
        out.push(Cause::too_long(&*at, HOST_NAME_MAX_BYTES));
    }
    add(out, &at, name, subdomain_problems(name));
}

fn names(out: &mut Causes, spec: &Value, path: &str) {
    host_name(out, spec, path);
    for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        subdomain(out, &spec[field], &format!("{path}.{field}"));
    }
    for field in ["hostname", "subdomain"] {
        if is_set(&spec[field]) {
            add(out, &format!("{path}.{field}"), text(&spec[field]), label_problems(text(&spec[field])));
        }
    }
}

fn host_aliases(out: &mut Causes, spec: &Value, path: &str) {
    for (at, alias) in indexed(&spec["hostAliases"], &format!("{path}.hostAliases")) {
        ip(out, &alias["ip"], &format!("{at}.ip"));
        for (at, name) in indexed(&alias["hostnames"], &format!("{at}.hostnames")) {
            subdomain(out, name, &at);
        }
    }
}

/// Used by parts that select pods.
fn selector(out: &mut Causes, value: &Value, path: &str) {
    if !value.is_null() {
        label_selector(out, value, path);
    }
}

#[cfg(test)]
mod tests;
