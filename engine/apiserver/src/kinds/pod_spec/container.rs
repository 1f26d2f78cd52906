//! Containers: names, images, ports, and that their mounts name volumes that are there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::checks::{
        Causes, add, indexed, is_set, items, label, one_of, port_name_problems, port_number, require, text,
    },
    environment, handlers, ids,
    resources::validate_resources,
    seccomp,
    volumes::Volumes,
};
use crate::status::Cause;

pub fn validate_all(out: &mut Causes, spec: &Value, path: &str, volumes: &Volumes) {
    if items(&spec["containers"]).is_empty() {
        out.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for (at, container) in indexed(&spec["containers"], &format!("{path}.containers")) {
        validate(out, container, &at, &mut names, volumes, spec);
        handlers::validate_all(out, container, &at);
    }
    let mut host_ports = BTreeSet::new();
    for (at, container) in indexed(&spec["containers"], &format!("{path}.containers")) {
        host_port_conflicts(out, container, &at, &mut host_ports);
    }
    for (at, container) in indexed(&spec["initContainers"], &format!("{path}.initContainers")) {
        validate(out, container, &at, &mut names, volumes, spec);
        if container["restartPolicy"] == "Always" {
            handlers::validate_all(out, container, &at);
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
    one_of(
        out,
        &container["imagePullPolicy"],
        &format!("{path}.imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    validate_resources(out, &container["resources"], &format!("{path}.resources"));
    security(out, &container["securityContext"], &format!("{path}.securityContext"));
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
        if on_host && host_port != number {
            let why = "must match `hostPort` when `hostNetwork` is true";
            out.push(Cause::invalid(format!("{at}.containerPort"), number, why));
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
    let mut points = BTreeSet::new();
    for (at, mount) in indexed(&container["volumeMounts"], &format!("{path}.volumeMounts")) {
        let name = text(&mount["name"]);
        if require(out, &mount["name"], &format!("{at}.name")) && !volumes.contains(name) {
            out.push(Cause::not_found(format!("{at}.name"), name));
        }
        let point = text(&mount["mountPath"]);
        if require(out, &mount["mountPath"], &format!("{at}.mountPath")) && !points.insert(point) {
            out.push(Cause::invalid(format!("{at}.mountPath"), point, "must be unique"));
        }
        for field in ["subPath", "subPathExpr"] {
            below(out, &mount[field], &format!("{at}.{field}"));
        }
        if is_set(&mount["subPath"]) && is_set(&mount["subPathExpr"]) {
            let why = "subPathExpr and subPath are mutually exclusive";
            out.push(Cause::invalid(format!("{at}.subPathExpr"), mount["subPathExpr"].clone(), why));
        }
        one_of(
            out,
            &mount["mountPropagation"],
            &format!("{at}.mountPropagation"),
            &["Bidirectional", "HostToContainer", "None"],
        );
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

fn security(out: &mut Causes, context: &Value, path: &str) {
    if context.is_null() {
        return;
    }
    ids(out, context, path, &["runAsUser", "runAsGroup"]);
    seccomp(out, &context["seccompProfile"], &format!("{path}.seccompProfile"));
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            out.push(Cause::invalid(path, context.clone(), why));
        }
        if items(&context["capabilities"]["add"]).iter().any(|own| text(own) == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            out.push(Cause::invalid(path, context.clone(), why));
        }
    }
}
