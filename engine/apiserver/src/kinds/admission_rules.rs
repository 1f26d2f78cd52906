//! Which requests a webhook or a policy is about, as its author writes it.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/admissionregistration/validation/validation.go
//! (`validateRuleWithOperations`, `validateMatchResources`)

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Causes, add, indexed, items, label_selector, one_of, require, text};
use crate::{metadata::path_segment_problems, status::Cause};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MUTABLE_OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
pub const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
pub const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
pub const REINVOCATIONS: [&str; 2] = ["IfNeeded", "Never"];

/// One of `rules`, `resourceRules`, `excludeResourceRules`.
pub fn rule(out: &mut Causes, rule: &Value, path: &str) {
    alone(out, rule, path, "operations", "operations");
    for (at, operation) in indexed(&rule["operations"], &format!("{path}.operations")) {
        one_of(out, operation, &at, &OPERATIONS);
    }
    alone(out, rule, path, "apiGroups", "API groups");
    alone(out, rule, path, "apiVersions", "API versions");
    for (at, version) in indexed(&rule["apiVersions"], &format!("{path}.apiVersions")) {
        require(out, version, &at);
    }
    resources(out, &rule["resources"], &format!("{path}.resources"));
    one_of(out, &rule["scope"], &format!("{path}.scope"), &SCOPES);
}

/// A list that is not empty; `*` leaves no room for others.
fn alone(out: &mut Causes, rule: &Value, path: &str, field: &str, called: &str) {
    let (list, at) = (&rule[field], format!("{path}.{field}"));
    require(out, list, &at);
    if items(list).len() > 1 && items(list).iter().any(|one| one == "*") {
        let why = format!("if '*' is present, must not specify other {called}");
        out.push(Cause::invalid(at, list.clone(), &why));
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn resources(out: &mut Causes, list: &Value, path: &str) {
    require(out, list, path);
    let (mut of_resource, mut of_subresource) = (BTreeSet::new(), BTreeSet::new());
    // As upstream has it, the last one without a subresource decides.
    let mut is_named = false;
    for (at, own) in indexed(list, path) {
        if !require(out, own, &at) {
            continue;
        }
        let own = text(own);
        let Some((resource, subresource)) = own.split_once('/') else {
            is_named = own != "*";
            continue;
        };
        for (covered, by) in [
            (of_resource.contains(resource), format!("{resource}/*")),
            (of_subresource.contains(subresource), format!("*/{subresource}")),
        ] {
            if covered {
                let why = format!("if '{by}' is present, must not specify {own}");
                out.push(Cause::invalid(at.as_str(), own, &why));
            }
        }
        if subresource == "*" {
            of_resource.insert(resource);
        }
        if resource == "*" {
            of_subresource.insert(subresource);
        }
    }
    let holds = |name: &str| items(list).iter().any(|own| own == name);
    if items(list).len() > 1 && holds("*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        out.push(Cause::invalid(path, list.clone(), why));
    }
    if holds("*") && is_named {
        let why = "if '*' is present, must not specify other resources without subresources";
        out.push(Cause::invalid(path, list.clone(), why));
    }
}

/// `matchConstraints` of a policy, `matchResources` of a binding.
pub fn match_resources(out: &mut Causes, resources: &Value, path: &str) {
    let policy = format!("{path}.matchPolicy");
    if require_value(out, &resources["matchPolicy"], &policy) {
        one_of(out, &resources["matchPolicy"], &policy, &MATCH_POLICIES);
    }
    for field in ["namespaceSelector", "objectSelector"] {
        let at = format!("{path}.{field}");
        if require_value(out, &resources[field], &at) {
            label_selector(out, &resources[field], &at);
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (at, own) in indexed(&resources[list], &format!("{path}.{list}")) {
            names(out, &own["resourceNames"], &format!("{at}.resourceNames"));
            rule(out, own, &at);
        }
    }
}

/// Only what a request writes can be changed.
pub fn mutable(out: &mut Causes, resources: &Value, path: &str) {
    for rule in items(&resources["resourceRules"]) {
        for operation in items(&rule["operations"]) {
            one_of(out, operation, &format!("{path}.resourceRules.operations"), &MUTABLE_OPERATIONS);
        }
    }
}

fn require_value(out: &mut Causes, value: &Value, path: &str) -> bool {
    if value.is_null() {
        out.push(Cause::required(path, ""));
    }
    !value.is_null()
}

fn names(out: &mut Causes, list: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (at, name) in indexed(list, path) {
        add(out, &at, text(name), path_segment_problems(text(name)));
        if !seen.insert(text(name)) {
            out.push(Cause::duplicate(at, text(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    fn base() -> Value {
        json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]})
    }

    #[test]
    fn rules_get_the_stock_causes() {
        let check = |own: &Value| {
            let mut out = Vec::new();
            rule(&mut out, own, "r");
            out
        };
        let of = |list: &[&str]| json!({"resources": list});
        assert_cases(
            base(),
            check,
            &[
                (json!({"operations": []}), &["r.operations: Required value"]),
                (
                    json!({"operations": ["*", "CREATE"]}),
                    &[
                        "r.operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
                    ],
                ),
                (
                    json!({"operations": ["PATCH"]}),
                    &[
                        "r.operations[0]: Unsupported value: \"PATCH\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
                    ],
                ),
                (json!({"apiGroups": null}), &["r.apiGroups: Required value"]),
                (
                    json!({"apiGroups": ["a", "*"]}),
                    &[
                        "r.apiGroups: Invalid value: [\"a\",\"*\"]: if '*' is present, must not specify other API groups",
                    ],
                ),
                (json!({"apiVersions": null}), &["r.apiVersions: Required value"]),
                (
                    json!({"apiVersions": ["*", ""]}),
                    &[
                        "r.apiVersions: Invalid value: [\"*\",\"\"]: if '*' is present, must not specify other API versions",
                        "r.apiVersions[1]: Required value",
                    ],
                ),
                (of(&[]), &["r.resources: Required value"]),
                (of(&[""]), &["r.resources[0]: Required value"]),
                (of(&["pods/*", "pods"]), &[]),
                (of(&["*", "pods/status"]), &[]),
                (
                    of(&["pods/*", "pods/status"]),
                    &[
                        "r.resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
                    ],
                ),
                (
                    of(&["*/status", "pods/status"]),
                    &[
                        "r.resources[1]: Invalid value: \"pods/status\": if '*/status' is present, must not specify pods/status",
                    ],
                ),
                (
                    of(&["*/*", "pods"]),
                    &[
                        "r.resources: Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify other resources",
                    ],
                ),
                (
                    of(&["*", "pods"]),
                    &[
                        "r.resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
                    ],
                ),
                (
                    json!({"scope": "All"}),
                    &[
                        "r.scope: Unsupported value: \"All\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn matched_resources_get_the_stock_causes() {
        let check = |own: &Value| {
            let mut out = Vec::new();
            match_resources(&mut out, own, "m");
            mutable(&mut out, own, "m");
            out
        };
        let with = |patch: Value| {
            let mut own = base();
            coracle_schema::json_merge_patch(&mut own, &patch);
            json!({"resourceRules": [own]})
        };
        assert_cases(
            json!({"matchPolicy": "Exact", "namespaceSelector": {}, "objectSelector": {}}),
            check,
            &[
                (json!({"matchPolicy": null}), &["m.matchPolicy: Required value"]),
                (
                    json!({"matchPolicy": "Same"}),
                    &[
                        "m.matchPolicy: Unsupported value: \"Same\": supported values: \"Equivalent\", \"Exact\"",
                    ],
                ),
                (json!({"namespaceSelector": null}), &["m.namespaceSelector: Required value"]),
                (json!({"objectSelector": null}), &["m.objectSelector: Required value"]),
                (
                    json!({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}),
                    &[
                        "m.objectSelector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    ],
                ),
                (
                    with(json!({"resourceNames": ["a", "a", "b/c"]})),
                    &[
                        "m.resourceRules[0].resourceNames[1]: Duplicate value: \"a\"",
                        "m.resourceRules[0].resourceNames[2]: Invalid value: \"b/c\": may not contain '/'",
                    ],
                ),
                (
                    with(json!({"operations": ["DELETE"]})),
                    &[
                        "m.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
                    ],
                ),
                (
                    json!({"excludeResourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"]}]}),
                    &["m.excludeResourceRules[0].resources: Required value"],
                ),
            ],
        );
    }
}
