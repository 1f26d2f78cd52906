//! What policies and their bindings must fulfil when they are written.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/admissionregistration/validation/validation.go

use serde_json::Value;

use super::compiled::Policy;
use crate::{
    kinds::checks::{Causes, indexed, is_set, items, label_selector, one_of, require, text},
    status::Cause,
};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

pub fn policy(policy: &Value) -> Causes {
    let (spec, mut out) = (&policy["spec"], Vec::new());
    let mutates = policy["kind"] == "MutatingAdmissionPolicy";
    if spec["paramKind"].is_object() {
        for field in ["apiVersion", "kind"] {
            require(&mut out, &spec["paramKind"][field], &format!("spec.paramKind.{field}"));
        }
    }
    one_of(&mut out, &spec["failurePolicy"], "spec.failurePolicy", &["Fail", "Ignore"]);
    if require(&mut out, &spec["matchConstraints"], "spec.matchConstraints") {
        resources(&mut out, &spec["matchConstraints"], "spec.matchConstraints");
        if items(&spec["matchConstraints"]["resourceRules"]).is_empty() {
            out.push(Cause::required("spec.matchConstraints.resourceRules", ""));
        }
    }
    if mutates {
        require(&mut out, &spec["mutations"], "spec.mutations");
        if require(&mut out, &spec["reinvocationPolicy"], "spec.reinvocationPolicy") {
            one_of(&mut out, &spec["reinvocationPolicy"], "spec.reinvocationPolicy", &["IfNeeded", "Never"]);
        }
    } else if !is_set(&spec["validations"]) && !is_set(&spec["auditAnnotations"]) {
        for field in ["spec.validations", "spec.auditAnnotations"] {
            out.push(Cause::required(field, "validations or auditAnnotations must be non-empty"));
        }
    }
    out.extend(Policy::compile(policy).1);
    out
}

fn resources(out: &mut Causes, resources: &Value, path: &str) {
    for list in ["resourceRules", "excludeResourceRules"] {
        for (at, rule) in indexed(&resources[list], &format!("{path}.{list}")) {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                require(out, &rule[field], &format!("{at}.{field}"));
            }
            for (at, operation) in indexed(&rule["operations"], &format!("{at}.operations")) {
                one_of(out, operation, &at, &OPERATIONS);
            }
            one_of(out, &rule["scope"], &format!("{at}.scope"), &SCOPES);
        }
    }
    one_of(out, &resources["matchPolicy"], &format!("{path}.matchPolicy"), &["Equivalent", "Exact"]);
    for field in ["namespaceSelector", "objectSelector"] {
        if !resources[field].is_null() {
            label_selector(out, &resources[field], &format!("{path}.{field}"));
        }
    }
}

pub fn binding(binding: &Value) -> Causes {
    let (spec, mut out) = (&binding["spec"], Vec::new());
    require(&mut out, &spec["policyName"], "spec.policyName");
    params(&mut out, &spec["paramRef"]);
    if spec["matchResources"].is_object() {
        resources(&mut out, &spec["matchResources"], "spec.matchResources");
    }
    if binding["kind"] != "MutatingAdmissionPolicyBinding" {
        actions(&mut out, &spec["validationActions"]);
    }
    out
}

fn params(out: &mut Causes, reference: &Value) {
    if !reference.is_object() {
        return;
    }
    let (name, selector) = (is_set(&reference["name"]), !reference["selector"].is_null());
    if !name && !selector {
        out.push(Cause::required("spec.paramRef", "one of name or selector must be specified"));
    } else if name && selector {
        let why = "name and selector are mutually exclusive";
        out.push(Cause::forbidden("spec.paramRef.name", why));
    }
    if selector {
        label_selector(out, &reference["selector"], "spec.paramRef.selector");
    }
    let action = "spec.paramRef.parameterNotFoundAction";
    if require(out, &reference["parameterNotFoundAction"], action) {
        one_of(out, &reference["parameterNotFoundAction"], action, &["Allow", "Deny"]);
    }
}

fn actions(out: &mut Causes, actions: &Value) {
    let path = "spec.validationActions";
    if !require(out, actions, path) {
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (at, action) in indexed(actions, path) {
        one_of(out, action, &at, &ACTIONS);
        if seen.contains(&text(action)) {
            out.push(Cause::duplicate(at, text(action)));
        }
        seen.push(text(action));
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        out.push(Cause::invalid(path, actions.clone(), why));
    }
}
