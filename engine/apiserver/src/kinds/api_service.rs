//! APIServices: what is checked of them.
//!
//! Source: https://github.com/kubernetes/kube-aggregator/blob/master/pkg/apis/apiregistration/validation/validation.go

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    checked::Checked,
    checks::{Causes, PORT_RANGE, add, indexed, is_set, require, text},
};
use crate::{
    metadata::{rfc1035_problems, subdomain_problems},
    object,
    status::{Cause, quote},
    strategy::{Context, NameRule},
};

pub static API_SERVICE: Checked = Checked::new(check)
    .preparing(prepare)
    .checking_status(|new, _| conditions(new))
    .named(NameRule::PathSegment);

/// What this server serves itself is available from the first moment.
fn prepare(service: &mut Value, old: Option<&Value>, _context: Context<'_>) {
    if old.is_none() && !service["spec"]["service"].is_object() {
        service["status"] = json!({"conditions": [{
            "type": "Available", "status": "True", "lastTransitionTime": object::now(),
            "reason": "Local", "message": "Local APIServices are always available",
        }]});
    }
}

fn check(service: &Value) -> Causes {
    let (spec, mut out) = (&service["spec"], Vec::new());
    let (group, version, name) = (text(&spec["group"]), text(&spec["version"]), object::name(service));
    let expected = format!("{version}.{group}");
    if name != expected {
        let why = format!("must be `spec.version+\".\"+spec.group`: {}", quote(&expected));
        out.push(Cause::invalid("metadata.name", name, &why));
    }
    if group.is_empty() && version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        out.push(Cause::required("spec.group", why));
    }
    if !group.is_empty() {
        add(&mut out, "spec.group", group, subdomain_problems(group));
    }
    add(&mut out, "spec.version", version, rfc1035_problems(version));
    for (field, max) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let priority = spec[field].as_i64().unwrap_or_default();
        if priority <= 0 || priority > max {
            let why = format!("must be positive and less than {max}");
            out.push(Cause::invalid(format!("spec.{field}"), priority, &why));
        }
    }
    let insecure = spec["insecureSkipTLSVerify"] == true;
    if !spec["service"].is_object() {
        if is_set(&spec["caBundle"]) {
            let why = "local APIServices may not have a caBundle";
            let bytes = STANDARD.decode(text(&spec["caBundle"])).map_or(0, |bytes| bytes.len());
            out.push(Cause::invalid("spec.caBundle", format!("{bytes} bytes"), why));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            out.push(Cause::invalid("spec.insecureSkipTLSVerify", true, why));
        }
        return out;
    }
    require(&mut out, &spec["service"]["namespace"], "spec.service.namespace");
    require(&mut out, &spec["service"]["name"], "spec.service.name");
    if let Some(port) = spec["service"]["port"].as_i64().filter(|port| !(1..=65535).contains(port)) {
        let why = format!("port is not valid: {PORT_RANGE}");
        out.push(Cause::invalid("spec.service.port", port, &why));
    }
    if insecure && is_set(&spec["caBundle"]) {
        let why = "may not be true if caBundle is present";
        out.push(Cause::invalid("spec.insecureSkipTLSVerify", true, why));
    }
    out
}

fn conditions(service: &Value) -> Causes {
    const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
    let mut out = Vec::new();
    for (at, condition) in indexed(&service["status"]["conditions"], "status.conditions") {
        if !STATUSES.contains(&text(&condition["status"])) {
            out.push(Cause::not_supported(format!("{at}.status"), text(&condition["status"]), &STATUSES));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

    #[test]
    fn what_is_wrong_with_an_api_service_is_said_as_upstream_says_it() {
        assert_cases(
            json!({"metadata": {"name": "v1.a.b"}, "spec": {"group": "a.b", "version": "v1",
                "groupPriorityMinimum": 100, "versionPriority": 10, "service": {"name": "x", "namespace": "y"}}}),
            check,
            &[
                (
                    json!({"metadata": {"name": "x"}}),
                    &[
                        "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\"",
                    ],
                ),
                (
                    json!({"spec": {"versionPriority": 1001}}),
                    &["spec.versionPriority: Invalid value: 1001: must be positive and less than 1000"],
                ),
                (json!({"spec": {"service": {"name": null}}}), &["spec.service.name: Required value"]),
                (
                    json!({"spec": {"service": {"namespace": ""}}}),
                    &["spec.service.namespace: Required value"],
                ),
                (
                    json!({"spec": {"groupPriorityMinimum": 0}}),
                    &["spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000"],
                ),
                (
                    json!({"metadata": {"name": "v2."}, "spec": {"group": "", "version": "v2"}}),
                    &[
                        "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                    ],
                ),
                (
                    json!({"metadata": {"name": "V1.a.b"}, "spec": {"version": "V1"}}),
                    &[
                        "spec.version: Invalid value: \"V1\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                    ],
                ),
                (
                    json!({"spec": {"service": null, "caBundle": "YWJj"}}),
                    &["spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle"],
                ),
                (
                    json!({"spec": {"caBundle": "YWJj", "insecureSkipTLSVerify": true}}),
                    &[
                        "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
                    ],
                ),
                (
                    json!({"spec": {"service": {"port": 0}}}),
                    &[
                        "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                    ],
                ),
                (
                    json!({"spec": {"service": null, "insecureSkipTLSVerify": true}}),
                    &[
                        "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
                    ],
                ),
            ],
        );
    }
}
