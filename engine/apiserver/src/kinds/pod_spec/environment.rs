//! Environment variables: names, and exactly one source for each.

use serde_json::Value;

use super::{
    super::checks::{Causes, add, indexed, is_set, items, key_problems, label, require, subdomain, text},
    containers,
};
use crate::{
    metadata::{qualified_name_problems, subdomain_problems},
    status::Cause,
};

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const NO_SOURCE: &str =
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
const MORE_THAN_ONE: &str = "may not have more than one field specified at a time";
const NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What is a field of a pod at all; each use allows some.
const LABELS: [&str; 16] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.terminationGracePeriodSeconds",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub fn validate(out: &mut Causes, container: &Value, path: &str) {
    for (at, variable) in indexed(&container["env"], &format!("{path}.env")) {
        name(out, variable, &at, "name");
        if !variable["valueFrom"].is_null() {
            source(out, variable, &format!("{at}.valueFrom"));
        }
        divisor(out, &variable["valueFrom"]["resourceFieldRef"], &format!("{at}.valueFrom.resourceFieldRef"));
    }
    let all = format!("{path}.envFrom");
    for (at, source) in indexed(&container["envFrom"], &all) {
        if is_set(&source["prefix"]) {
            name(out, source, &at, "prefix");
        }
        let given: Vec<&str> =
            ["configMapRef", "secretRef"].into_iter().filter(|kind| source[*kind].is_object()).collect();
        for kind in &given {
            let (name, at) = (&source[*kind]["name"], format!("{at}.{kind}.name"));
            require(out, name, &at);
            subdomain(out, name, &at);
        }
        // Upstream leaves out which of them it is.
        match given.len() {
            0 => out.push(Cause::invalid(&*all, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => out.push(Cause::invalid(&*all, "", MORE_THAN_ONE)),
        }
    }
}

fn name(out: &mut Causes, parent: &Value, path: &str, field: &str) {
    let at = format!("{path}.{field}");
    if require(out, &parent[field], &at) {
        let name = text(&parent[field]);
        if !name.chars().all(|c| matches!(c, ' '..='~') && c != '=') {
            out.push(Cause::invalid(at, name, NAME));
        }
    }
}

fn source(out: &mut Causes, variable: &Value, path: &str) {
    let source = &variable["valueFrom"];
    let given: Vec<&str> = SOURCES.into_iter().filter(|kind| source[*kind].is_object()).collect();
    if given.is_empty() {
        out.push(Cause::invalid(path, "", NO_SOURCE));
    } else if is_set(&variable["value"]) {
        out.push(Cause::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if given.len() > 1 {
        out.push(Cause::invalid(path, "", MORE_THAN_ONE));
    }
    for kind in given {
        let (own, at) = (&source[kind], format!("{path}.{kind}"));
        match kind {
            "fieldRef" => field(out, own, &at, &FIELDS),
            "resourceFieldRef" => resource(out, &own["resource"], &format!("{at}.resource")),
            "configMapKeyRef" | "secretKeyRef" => {
                let name = text(&own["name"]);
                add(out, &format!("{at}.name"), name, subdomain_problems(name));
                if require(out, &own["key"], &format!("{at}.key")) {
                    add(out, &format!("{at}.key"), text(&own["key"]), key_problems(text(&own["key"])));
                }
            }
            _ => {
                name(out, own, &at, "key");
                label(out, &own["volumeName"], &format!("{at}.volumeName"));
                let (place, at) = (&own["path"], format!("{at}.path"));
                if require(out, place, &at) && text(place).split('/').any(|part| part == "..") {
                    out.push(Cause::invalid(at, place.clone(), "must not contain '..'"));
                }
            }
        }
    }
}

/// The files that variables are read from lie in volumes of the pod that are made for it.
pub fn files(out: &mut Causes, spec: &Value, path: &str) {
    for (at, container) in containers(spec, path) {
        for (at, variable) in indexed(&container["env"], &format!("{at}.env")) {
            let file = &variable["valueFrom"]["fileKeyRef"];
            if file.is_null() {
                continue;
            }
            let (name, at) = (text(&file["volumeName"]), format!("{at}.valueFrom.fileKeyRef.volumeName"));
            match items(&spec["volumes"]).iter().rfind(|volume| volume["name"] == name) {
                None => out.push(Cause::not_found(at, name)),
                Some(volume) if !volume["emptyDir"].is_object() => {
                    out.push(Cause::invalid(at, name, "referenced volume must be of type emptyDir"));
                }
                Some(_) => {}
            }
        }
    }
}

/// A selector of a pod's field; one label or annotation too.
pub fn field(out: &mut Causes, selector: &Value, path: &str, allowed: &[&str]) {
    let at = format!("{path}.fieldPath");
    if !require(out, &selector["fieldPath"], &at) {
        return;
    }
    let given = text(&selector["fieldPath"]);
    let unconverted = |out: &mut Causes, why: &str| {
        out.push(Cause::invalid(at.as_str(), given, &format!("error converting fieldPath: {why}: {given}")));
    };
    let of_map = given.strip_suffix("']").and_then(|start| start.split_once("['"));
    match of_map.filter(|(map, _)| !map.is_empty()) {
        Some(("metadata.annotations", key)) => {
            add(out, path, key, qualified_name_problems(&key.to_lowercase()));
        }
        Some(("metadata.labels", key)) => add(out, path, key, qualified_name_problems(key)),
        Some(_) => unconverted(out, "field label does not support subscript"),
        // What clients of long ago send for `spec.nodeName`.
        None if given == "spec.host" && allowed.contains(&"spec.nodeName") => {}
        None if !LABELS.contains(&given) => unconverted(out, "field label not supported"),
        None if !allowed.contains(&given) => out.push(Cause::not_supported(at, given, allowed)),
        None => {}
    }
}

pub fn resource(out: &mut Causes, value: &Value, path: &str) {
    if require(out, value, path) {
        let given = text(value);
        let huge = given.starts_with("limits.hugepages-") || given.starts_with("requests.hugepages-");
        if !huge && !RESOURCES.contains(&given) {
            out.push(Cause::not_supported(path, given, &RESOURCES));
        }
    }
}

const BYTE_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// In which unit an amount is shown.
pub fn divisor(out: &mut Causes, reference: &Value, path: &str) {
    let (given, resource) = (text(&reference["divisor"]), text(&reference["resource"]));
    if given.is_empty() || given == "0" {
        return;
    }
    let (_, kind) = resource.split_once('.').unwrap_or_default();
    let (allowed, shown, what) = match kind {
        "cpu" => (&["1m", "1"][..], "1m and 1".to_owned(), "cpu"),
        "memory" => (&BYTE_DIVISORS[..], BYTE_DIVISORS.join(", "), "memory"),
        "ephemeral-storage" => (&BYTE_DIVISORS[..], BYTE_DIVISORS.join(", "), "local ephemeral storage"),
        _ if kind.starts_with("hugepages-") => (&BYTE_DIVISORS[..], BYTE_DIVISORS.join(", "), "hugepages"),
        _ => return,
    };
    if !allowed.contains(&given) {
        let why = format!("only divisor's values {shown} are supported with the {what} resource");
        out.push(Cause::invalid(format!("{path}.divisor"), resource, &why));
    }
}
