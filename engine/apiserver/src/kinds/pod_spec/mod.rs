//! What a pod's spec must look like, in Pods and in the templates of workloads.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidatePodSpec`)

mod container;
mod environment;
mod handlers;
mod placement;
mod resources;
mod update;
mod volumes;

use std::collections::BTreeSet;

use serde_json::Value;

pub use placement::{node_selector, tolerations};
pub use resources::{container_resource, is_standard_resource, validate_resources};
pub use update::validate_update;
pub use volumes::needed_of_source;

use super::checks::{
    Causes, add, annotations, indexed, is_set, items, label_selector, one_of, subdomain, text,
};
use crate::{
    metadata::{label_problems, validate_labels},
    status::Cause,
};

const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const NAMESERVERS_MAX: usize = 3;

pub fn validate(spec: &Value, path: &str) -> Causes {
    let mut out = Vec::new();
    let volumes = volumes::validate(&mut out, &spec["volumes"], &format!("{path}.volumes"));
    container::validate_all(&mut out, spec, path, &volumes);
    one_of(&mut out, &spec["restartPolicy"], &format!("{path}.restartPolicy"), &RESTART_POLICIES);
    dns(&mut out, spec, path);
    out.extend(validate_labels(&spec["nodeSelector"], &format!("{path}.nodeSelector")));
    security(&mut out, spec, path);
    for (at, secret) in indexed(&spec["imagePullSecrets"], &format!("{path}.imagePullSecrets")) {
        if !is_set(&secret["name"]) {
            out.push(Cause::required(format!("{at}.name"), ""));
        }
    }
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
    out
}

/// A PodTemplateSpec.
pub fn validate_template(template: &Value, path: &str) -> Causes {
    let mut out = validate_labels(&template["metadata"]["labels"], &format!("{path}.labels"));
    annotations(&mut out, &template["metadata"]["annotations"], &format!("{path}.annotations"));
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

fn dns(out: &mut Causes, spec: &Value, path: &str) {
    one_of(out, &spec["dnsPolicy"], &format!("{path}.dnsPolicy"), &DNS_POLICIES);
    let servers = items(&spec["dnsConfig"]["nameservers"]);
    let at = format!("{path}.dnsConfig.nameservers");
    if spec["dnsPolicy"] == "None" {
        if spec["dnsConfig"].is_null() {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            return out.push(Cause::required(format!("{path}.dnsConfig"), why));
        }
        if servers.is_empty() {
            out.push(Cause::required(
                at.as_str(),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            ));
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        let why = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        out.push(Cause::invalid(at.as_str(), spec["dnsConfig"]["nameservers"].clone(), &why));
    }
    for (at, server) in indexed(&spec["dnsConfig"]["nameservers"], &at) {
        ip(out, server, &at);
    }
}

fn ip(out: &mut Causes, value: &Value, path: &str) {
    if text(value).parse::<std::net::IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        out.push(Cause::invalid(path, value.clone(), why));
    }
}

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";

/// User and group ids.
fn ids(out: &mut Causes, context: &Value, path: &str, fields: &[&str]) {
    for field in fields {
        if let Some(id) = context[*field].as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
            out.push(Cause::invalid(format!("{path}.{field}"), id, ID_RANGE));
        }
    }
}

fn security(out: &mut Causes, spec: &Value, path: &str) {
    let context = &spec["securityContext"];
    let at = format!("{path}.securityContext");
    ids(out, context, &at, &["fsGroup", "runAsUser", "runAsGroup"]);
    for (at, group) in indexed(&context["supplementalGroups"], &format!("{at}.supplementalGroups")) {
        if let Some(id) = group.as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
            out.push(Cause::invalid(at, id, ID_RANGE));
        }
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        out.push(Cause::invalid(format!("{path}.shareProcessNamespace"), true, why));
    }
    let mut seen = BTreeSet::new();
    for (at, sysctl) in indexed(&context["sysctls"], &format!("{at}.sysctls")) {
        let name = text(&sysctl["name"]);
        if name.is_empty() {
            out.push(Cause::required(format!("{at}.name"), ""));
        } else if !seen.insert(name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
    }
    seccomp(out, &context["seccompProfile"], &format!("{at}.seccompProfile"));
}

fn seccomp(out: &mut Causes, profile: &Value, path: &str) {
    if profile.is_null() {
        return;
    }
    one_of(out, &profile["type"], &format!("{path}.type"), &["Localhost", "RuntimeDefault", "Unconfined"]);
    let is_local = profile["type"] == "Localhost";
    if is_local && !is_set(&profile["localhostProfile"]) {
        let why = "must be set when seccomp type is Localhost";
        out.push(Cause::required(format!("{path}.localhostProfile"), why));
    }
    if !is_local && is_set(&profile["localhostProfile"]) {
        let why = "can only be set when seccomp type is Localhost";
        out.push(Cause::invalid(
            format!("{path}.localhostProfile"),
            profile["localhostProfile"].clone(),
            why,
        ));
    }
}

fn names(out: &mut Causes, spec: &Value, path: &str) {
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
