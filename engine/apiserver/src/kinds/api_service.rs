//! APIServices: what is checked of them.
//!
//! Source: https://github.com/kubernetes/kube-aggregator/blob/master/pkg/apis/apiregistration/validation/validation.go

use serde_json::{Value, json};

use super::{
    checked::Checked,
    checks::{Causes, PORT_RANGE, add, is_set, require, text},
};
use crate::{
    metadata::subdomain_problems,
    object,
    status::{Cause, quote},
    strategy::{Context, NameRule},
};

pub static API_SERVICE: Checked = Checked::new(check).preparing(prepare).named(NameRule::PathSegment);

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
    if !group.is_empty() {
        add(&mut out, "spec.group", group, subdomain_problems(group));
    }
    require(&mut out, &spec["version"], "spec.version");
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
            out.push(Cause::invalid("spec.caBundle", spec["caBundle"].clone(), why));
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
                    json!({"spec": {"service": null, "insecureSkipTLSVerify": true}}),
                    &[
                        "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
                    ],
                ),
            ],
        );
    }
}
