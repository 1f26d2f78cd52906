//! Containers: names, images, ports, and that their mounts name volumes that are there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::checks::{
        Causes, add, indexed, is_set, items, label, one_of, port_name_problems, port_number, require, text,
    },
    environment, handlers,
    resources::{claims, validate_resources},
    security,
    volumes::Volumes,
};
use crate::status::Cause;

pub fn validate_all(out: &mut Causes, spec: &Value, path: &str, volumes: &Volumes) {
    if items(&spec["containers"]).is_empty() {
        out.push(Cause::required(format!("{path}.containers"), ""));
    }
    let (mut names, grace) = (BTreeSet::new(), spec["terminationGracePeriodSeconds"].as_i64());
    for (at, container) in indexed(&spec["containers"], &format!("{path}.containers")) {
        validate(out, container, &at, &mut names, volumes, spec);
        handlers::validate_all(out, container, &at, grace);
        restarts(out, container, &at);
    }
    let mut host_ports = BTreeSet::new();
    for (at, container) in indexed(&spec["containers"], &format!("{path}.containers")) {
        host_port_conflicts(out, container, &at, &mut host_ports);
    }
    let first = format!("{path}.initContainers[0]");
    for (at, container) in indexed(&spec["initContainers"], &format!("{path}.initContainers")) {
        validate(out, container, &at, &mut names, volumes, spec);
        restarts(out, container, &at);
        // They run one by one; upstream calls each the first.
        host_port_conflicts(out, container, &first, &mut BTreeSet::new());
        if container["restartPolicy"] == "Always" {
            handlers::validate_all(out, container, &at, grace);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if !container[field].is_null() {
                let why = "may not be set for init containers without restartPolicy=Always";
                out.push(Cause::forbidden(format!("{at}.{field}"), why));
            }
        }
    }
    for (at, container) in indexed(&spec["ephemeralContainers"], &format!("{path}.ephemeralContainers")) {
        validate(out, container, &at, &mut names, volumes, spec);
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "ports",
            "resources",
            "resizePolicy",
        ] {
            if is_set(&container[field]) {
                out.push(Cause::forbidden(
                    format!("{at}.{field}"),
                    "cannot be set for an Ephemeral Container",
                ));
            }
        }
    }
}

fn validate<'a>(
    out: &mut Causes,
    container: &'a Value,
    path: &str,
    names: &mut BTreeSet<&'a str>,
    volumes: &Volumes,
    spec: &Value,
) {
    let name_path = format!("{path}.name");
    label(out, &container["name"], &name_path);
    let name = text(&container["name"]);
    if !name.is_empty() && !names.insert(name) {
        out.push(Cause::duplicate(name_path, name));
    }
    require(out, &container["image"], &format!("{path}.image"));
    one_of(
        out,
        &container["terminationMessagePolicy"],
        &format!("{path}.terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    );
    ports(out, &container["ports"], &format!("{path}.ports"), spec["hostNetwork"] == true);
    environment::validate(out, container, path);
    mounts(out, container, path, volumes);
    devices(out, container, path, spec);
    one_of(
        out,
        &container["imagePullPolicy"],
        &format!("{path}.imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    validate_resources(out, &container["resources"], &format!("{path}.resources"));
    let at = format!("{path}.resources.claims");
    claims(out, &container["resources"]["claims"], &spec["resourceClaims"], &at);
    resize_policies(out, container, &format!("{path}.resizePolicy"), spec["restartPolicy"] == "Never");
    let own_users = spec["hostUsers"] == false;
    security::container(out, &container["securityContext"], &format!("{path}.securityContext"), own_users);
}

const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// What a container does at its end, when that is not what its pod says.
fn restarts(out: &mut Causes, container: &Value, path: &str) {
    let (policy, rules) = (&container["restartPolicy"], &container["restartPolicyRules"]);
    let at = format!("{path}.restartPolicy");
    if policy.is_null() && is_set(rules) {
        out.push(Cause::required(at.as_str(), "must specify restartPolicy when restart rules are used"));
    }
    one_of(out, policy, &at, &["Always", "Never", "OnFailure"]);
    let at = format!("{path}.restartPolicyRules");
    if items(rules).len() > RESTART_RULES_MAX {
        out.push(Cause::too_many(at.as_str(), items(rules).len(), RESTART_RULES_MAX));
    }
    for (at, rule) in indexed(rules, &at) {
        let (action, codes) = (text(&rule["action"]), &rule["exitCodes"]);
        let actions = ["Restart", "RestartAllContainers"];
        if !actions.contains(&action) {
            out.push(Cause::not_supported(format!("{at}.action"), action, &actions));
        }
        let at = format!("{at}.exitCodes");
        if codes.is_null() {
            out.push(Cause::required(at, "must be specified"));
            continue;
        }
        let operator = text(&codes["operator"]);
        if !matches!(operator, "In" | "NotIn") {
            out.push(Cause::not_supported(format!("{at}.operator"), operator, &["In", "NotIn"]));
        }
        let count = items(&codes["values"]).len();
        if count > EXIT_CODES_MAX {
            out.push(Cause::too_many(format!("{at}.values"), count, EXIT_CODES_MAX));
        }
    }
}

fn ports(out: &mut Causes, ports: &Value, path: &str, on_host: bool) {
    let mut names = BTreeSet::new();
    for (at, port) in indexed(ports, path) {
        let name = text(&port["name"]);
        let problems = port_name_problems(name);
        if name.is_empty() {
        } else if !problems.is_empty() {
            add(out, &format!("{at}.name"), name, problems);
        } else if !names.insert(name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
        let number = port["containerPort"].as_i64().unwrap_or_default();
        match number {
            0 => out.push(Cause::required(format!("{at}.containerPort"), "")),
            number => port_number(out, number, &format!("{at}.containerPort")),
        }
        let host_port = port["hostPort"].as_i64().unwrap_or_default();
        if host_port != 0 {
            port_number(out, host_port, &format!("{at}.hostPort"));
        }
        // In a template the host's port may stay open: pods get it.
        if on_host && host_port != number && (host_port != 0 || path.starts_with("spec.containers")) {
            let why = "must match `containerPort` when `hostNetwork` is true";
            out.push(Cause::invalid(format!("{at}.hostPort"), host_port, why));
        }
        one_of(out, &port["protocol"], &format!("{at}.protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

fn host_port_conflicts(out: &mut Causes, container: &Value, path: &str, taken: &mut BTreeSet<String>) {
    for (at, port) in indexed(&container["ports"], &format!("{path}.ports")) {
        let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else { continue };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let key = format!("{protocol}/{}/{number}", text(&port["hostIP"]));
        if !taken.insert(key.clone()) {
            out.push(Cause::duplicate(format!("{at}.hostPort"), key));
        }
    }
}

fn mounts(out: &mut Causes, container: &Value, path: &str, volumes: &Volumes) {
    let (mut points, all) = (BTreeSet::new(), format!("{path}.volumeMounts"));
    let is_device = |field: &str, value: &str| {
        !value.is_empty()
            && items(&container["volumeDevices"]).iter().any(|device| text(&device[field]) == value)
    };
    for (at, mount) in indexed(&container["volumeMounts"], &all) {
        let name = text(&mount["name"]);
        if require(out, &mount["name"], &format!("{at}.name")) && !volumes.contains(name) {
            out.push(Cause::not_found(format!("{at}.name"), name));
        }
        let point = text(&mount["mountPath"]);
        if require(out, &mount["mountPath"], &format!("{at}.mountPath")) && !points.insert(point) {
            out.push(Cause::invalid(format!("{at}.mountPath"), point, "must be unique"));
        }
        if is_device("name", name) {
            let why = "must not already exist in volumeDevices";
            out.push(Cause::invalid(format!("{at}.name"), name, why));
        }
        if is_device("devicePath", point) {
            let why = "must not already exist as a path in volumeDevices";
            out.push(Cause::invalid(format!("{at}.mountPath"), point, why));
        }
        // From here on, upstream leaves out which mount it is, but for what excludes each other.
        for field in ["subPath", "subPathExpr"] {
            below(out, &mount[field], &format!("{all}.{field}"));
        }
        if is_set(&mount["subPath"]) && is_set(&mount["subPathExpr"]) {
            let why = "subPathExpr and subPath are mutually exclusive";
            out.push(Cause::invalid(format!("{at}.subPathExpr"), mount["subPathExpr"].clone(), why));
        }
        let (propagation, at) = (&mount["mountPropagation"], format!("{all}.mountPropagation"));
        one_of(out, propagation, &at, &["Bidirectional", "HostToContainer", "None"]);
        if propagation == "Bidirectional" && container["securityContext"]["privileged"] != true {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            out.push(Cause::forbidden(at, why));
        }
        recursive(out, mount, &format!("{all}.recursiveReadOnly"));
    }
}

fn recursive(out: &mut Causes, mount: &Value, path: &str) {
    let (read_only, propagation) = (&mount["recursiveReadOnly"], &mount["mountPropagation"]);
    one_of(out, read_only, path, &["Disabled", "Enabled", "IfPossible"]);
    if !matches!(text(read_only), "Enabled" | "IfPossible") {
        return;
    }
    if mount["readOnly"] != true {
        out.push(Cause::forbidden(path, "may only be specified when readOnly is true"));
    }
    if !propagation.is_null() && propagation != "None" {
        let why = "may only be specified when mountPropagation is None or not specified";
        out.push(Cause::forbidden(path, why));
    }
}

/// A path below some directory.
pub fn below(out: &mut Causes, value: &Value, path: &str) {
    let given = text(value);
    if given.starts_with('/') {
        out.push(Cause::invalid(path, given, "must be a relative path"));
    }
    if given.split('/').any(|part| part == "..") {
        out.push(Cause::invalid(path, given, "must not contain '..'"));
    }
}

/// Block devices: claims that the pod has, each at a path of its own.
fn devices(out: &mut Causes, container: &Value, path: &str, spec: &Value) {
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    let mounted = |field: &str, value: &str| {
        !value.is_empty()
            && items(&container["volumeMounts"]).iter().any(|mount| text(&mount[field]) == value)
    };
    for (at, device) in indexed(&container["volumeDevices"], &format!("{path}.volumeDevices")) {
        let (name, name_at) = (text(&device["name"]), format!("{at}.name"));
        let (place, place_at) = (text(&device["devicePath"]), format!("{at}.devicePath"));
        require(out, &device["name"], &name_at);
        if !name.is_empty() && !names.insert(name) {
            out.push(Cause::invalid(name_at.as_str(), name, "must be unique"));
        }
        match items(&spec["volumes"]).iter().find(|volume| text(&volume["name"]) == name) {
            None => out.push(Cause::not_found(name_at.as_str(), name)),
            Some(volume) if volume["persistentVolumeClaim"].is_null() && volume["ephemeral"].is_null() => {
                let why =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                out.push(Cause::invalid(name_at.as_str(), name, why));
            }
            Some(_) => {}
        }
        if require(out, &device["devicePath"], &place_at) {
            if place.split('/').any(|part| part == "..") {
                out.push(Cause::invalid(place_at.as_str(), place, "can not contain backsteps ('..')"));
            } else if !places.insert(place) {
                out.push(Cause::invalid(place_at.as_str(), place, "must be unique"));
            }
        }
        if mounted("name", name) {
            out.push(Cause::invalid(name_at, name, "must not already exist in volumeMounts"));
        }
        if mounted("mountPath", place) {
            out.push(Cause::invalid(place_at, place, "must not already exist as a path in volumeMounts"));
        }
    }
}

fn resize_policies(out: &mut Causes, container: &Value, path: &str, never_restarts: bool) {
    let mut resources = BTreeSet::new();
    for (at, policy) in indexed(&container["resizePolicy"], path) {
        let (resource, restart) = (text(&policy["resourceName"]), text(&policy["restartPolicy"]));
        if !resources.insert(resource) {
            out.push(Cause::duplicate(at, resource));
        }
        for (field, allowed) in
            [("resourceName", ["cpu", "memory"]), ("restartPolicy", ["NotRequired", "RestartContainer"])]
        {
            if require(out, &policy[field], path) {
                one_of(out, &policy[field], path, &allowed);
            }
        }
        if never_restarts && restart != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            out.push(Cause::invalid(path, restart, why));
        }
    }
}
