//! What policies and their bindings must fulfil when they are written.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/admissionregistration/validation/validation.go

use serde_json::Value;

use super::compiled::Policy;
use crate::{
    kinds::{
        admission_rules::{FAILURE_POLICIES, REINVOCATIONS, match_resources, mutable},
        checks::{Causes, add, indexed, is_set, items, label_selector, one_of, require, text},
        conditions,
    },
    metadata::{path_segment_problems, rfc1035_problems, subdomain_problems},
    status::Cause,
};

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

pub fn policy(policy: &Value) -> Causes {
    const CONSTRAINTS: &str = "spec.matchConstraints";
    let (spec, mut out) = (&policy["spec"], Vec::new());
    let mutates = policy["kind"] == "MutatingAdmissionPolicy";
    if spec["failurePolicy"].is_null() {
        out.push(Cause::required("spec.failurePolicy", ""));
    }
    one_of(&mut out, &spec["failurePolicy"], "spec.failurePolicy", &FAILURE_POLICIES);
    if spec["paramKind"].is_object() {
        param_kind(&mut out, &spec["paramKind"]);
    }
    let constraints = &spec["matchConstraints"];
    if constraints.is_null() {
        out.push(Cause::required(CONSTRAINTS, ""));
    } else {
        match_resources(&mut out, constraints, CONSTRAINTS);
        require(&mut out, &constraints["resourceRules"], "spec.matchConstraints.resourceRules");
        if mutates {
            mutable(&mut out, constraints, CONSTRAINTS);
        }
    }
    out.extend(Policy::compile(policy).1);
    if mutates {
        if !is_set(&spec["mutations"]) {
            out.push(Cause::required("spec.mutations", "mutations must contain at least one item"));
        }
        if require(&mut out, &spec["reinvocationPolicy"], "spec.reinvocationPolicy") {
            one_of(&mut out, &spec["reinvocationPolicy"], "spec.reinvocationPolicy", &REINVOCATIONS);
        }
    } else if !is_set(&spec["validations"]) && !is_set(&spec["auditAnnotations"]) {
        for field in ["spec.validations", "spec.auditAnnotations"] {
            let why = "validations or auditAnnotations must contain at least one item";
            out.push(Cause::required(field, why));
        }
    }
    out
}

fn param_kind(out: &mut Causes, reference: &Value) {
    const VERSION: &str = "spec.paramKind.apiVersion";
    let given = text(&reference["apiVersion"]);
    if require(out, &reference["apiVersion"], VERSION) {
        let parts: Vec<&str> = given.split('/').collect();
        match parts[..] {
            [version] => api_version(out, given, "", version),
            [group, version] => api_version(out, given, group, version),
            _ => {
                let why = format!("unexpected GroupVersion string: {given}");
                out.push(Cause::invalid(VERSION, given, &why));
            }
        }
    }
    let kind = text(&reference["kind"]);
    if require(out, &reference["kind"], "spec.paramKind.kind") {
        let problems = rfc1035_problems(&kind.to_lowercase());
        if !problems.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            out.push(Cause::invalid("spec.paramKind.kind", kind, &why));
        }
    }
}

fn api_version(out: &mut Causes, given: &str, group: &str, version: &str) {
    const VERSION: &str = "spec.paramKind.apiVersion";
    for (part, problems) in [(group, subdomain_problems(group)), (version, rfc1035_problems(version))] {
        if !part.is_empty() && !problems.is_empty() {
            out.push(Cause::invalid(VERSION, part, &problems.join(",")));
        }
    }
    if version.is_empty() {
        out.push(Cause::invalid(VERSION, given, "version must be specified"));
    }
}

/// What the type checker, or somebody in its place, says of a policy.
pub fn status(new: &Value, _old: &Value) -> Causes {
    let (status, mut out) = (&new["status"], Vec::new());
    let warnings = &status["typeChecking"]["expressionWarnings"];
    for (at, warning) in indexed(warnings, "status.typeChecking.expressionWarnings") {
        require(&mut out, &warning["warning"], &format!("{at}.warning"));
        if text(&warning["fieldRef"]).trim().is_empty() {
            out.push(Cause::required(format!("{at}.fieldRef"), ""));
        }
    }
    conditions(&mut out, &status["conditions"], "status.conditions");
    out
}

pub fn binding(binding: &Value) -> Causes {
    const RESOURCES: &str = "spec.matchResources";
    let (spec, mut out) = (&binding["spec"], Vec::new());
    if require(&mut out, &spec["policyName"], "spec.policyName") {
        let name = text(&spec["policyName"]);
        add(&mut out, "spec.policyName", name, subdomain_problems(name));
    }
    params(&mut out, &spec["paramRef"]);
    let mutates = binding["kind"] == "MutatingAdmissionPolicyBinding";
    if spec["matchResources"].is_object() {
        match_resources(&mut out, &spec["matchResources"], RESOURCES);
        if mutates {
            mutable(&mut out, &spec["matchResources"], RESOURCES);
        }
    }
    if !mutates {
        actions(&mut out, &spec["validationActions"]);
    }
    out
}

fn params(out: &mut Causes, reference: &Value) {
    const ACTION: &str = "spec.paramRef.parameterNotFoundAction";
    if !reference.is_object() {
        return;
    }
    let (name, selector) = (text(&reference["name"]), &reference["selector"]);
    let exclusive = |out: &mut Causes, field: &str| {
        if !name.is_empty() && !selector.is_null() {
            out.push(Cause::forbidden(field, "name and selector are mutually exclusive"));
        }
    };
    if !name.is_empty() {
        add(out, "spec.paramRef.name", name, path_segment_problems(name));
    }
    exclusive(out, "spec.paramRef.name");
    if !selector.is_null() {
        label_selector(out, selector, "spec.paramRef.selector");
    }
    exclusive(out, "spec.paramRef.selector");
    if name.is_empty() && selector.is_null() {
        out.push(Cause::required("spec.paramRef", "one of name or selector must be specified"));
    }
    if require(out, &reference["parameterNotFoundAction"], ACTION) {
        one_of(out, &reference["parameterNotFoundAction"], ACTION, &["Deny", "Allow"]);
    }
}

fn actions(out: &mut Causes, actions: &Value) {
    const PATH: &str = "spec.validationActions";
    let mut seen: Vec<&str> = Vec::new();
    for (at, action) in indexed(actions, PATH) {
        one_of(out, action, &at, &ACTIONS);
        if seen.contains(&text(action)) {
            out.push(Cause::duplicate(at, text(action)));
        }
        seen.push(text(action));
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        out.push(Cause::invalid(PATH, actions.clone(), why));
    }
    if items(actions).is_empty() {
        out.push(Cause::required(PATH, "at least one validation action is required"));
    }
}

#[cfg(test)]
mod tests;
