//! Leases, CustomResourceDefinitions, webhook configurations.
//!
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/apis (each group's validation.go) and
//! https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, add, immutable, indexed, is_set, items, label_selector, non_negative, one_of, require,
        subdomain, text,
    },
};
use crate::{
    admission::conditions::Conditions,
    metadata::{qualified_name_problems, rfc1035_problems, subdomain_problems},
    status::Cause,
};

/// As upstream has it.
const LEASE_STRATEGY: &str = "spec.strategy.strategy";
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

pub static LEASE: Checked = Checked::new(lease).created_by_update();
pub static DEFINITION: Checked = Checked::new(definition).comparing(|new, old| {
    let mut out = Vec::new();
    for field in ["group", "scope"] {
        immutable(&mut out, &new["spec"][field], &old["spec"][field], &format!("spec.{field}"));
    }
    for field in ["kind", "plural"] {
        immutable(
            &mut out,
            &new["spec"]["names"][field],
            &old["spec"]["names"][field],
            &format!("spec.names.{field}"),
        );
    }
    out
});
pub static WEBHOOKS: Checked = Checked::new(webhooks);

fn lease(lease: &Value) -> Causes {
    let (spec, mut out) = (&lease["spec"], Vec::new());
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        out.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    non_negative(&mut out, spec, "spec", &["leaseTransitions"]);
    let strategy = text(&spec["strategy"]);
    if strategy.contains('/') {
        add(&mut out, LEASE_STRATEGY, strategy, qualified_name_problems(strategy));
    } else if spec["strategy"].is_string() && strategy != "OldestEmulationVersion" {
        out.push(Cause::not_supported(LEASE_STRATEGY, strategy, &["OldestEmulationVersion"]));
    }
    if is_set(&spec["preferredHolder"]) && strategy.is_empty() {
        out.push(Cause::forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"));
    }
    out
}

fn definition(definition: &Value) -> Causes {
    let (spec, mut out) = (&definition["spec"], Vec::new());
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    if require(&mut out, &spec["group"], "spec.group") {
        add(&mut out, "spec.group", group, subdomain_problems(group));
        if !group.contains('.') {
            out.push(Cause::invalid("spec.group", group, "should be a domain with at least one dot"));
        }
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        let at = format!("spec.names.{field}");
        let given = text(&names[field]).to_lowercase();
        // The server fills in the singular and the list's kind.
        if !matches!(field, "plural" | "kind") && given.is_empty() {
            continue;
        }
        if require(&mut out, &names[field], &at) {
            out.extend(
                rfc1035_problems(&given)
                    .iter()
                    .map(|why| Cause::invalid(at.as_str(), names[field].clone(), why)),
            );
        }
    }
    if require(&mut out, &spec["scope"], "spec.scope") {
        one_of(&mut out, &spec["scope"], "spec.scope", &["Cluster", "Namespaced"]);
    }
    let expected = format!("{}.{group}", text(&names["plural"]));
    let name = crate::object::name(definition);
    if name != expected {
        out.push(Cause::invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
    }
    versions(&mut out, &spec["versions"]);
    out
}

fn versions(out: &mut Causes, versions: &Value) {
    let mut names = BTreeSet::new();
    for (at, version) in indexed(versions, "spec.versions") {
        let name = text(&version["name"]);
        add(out, &format!("{at}.name"), name, rfc1035_problems(name));
        if !names.insert(name) {
            out.push(Cause::invalid(format!("{at}.name"), name, "must contain unique version names"));
        }
        if version["schema"]["openAPIV3Schema"].is_null() {
            out.push(Cause::required(format!("{at}.schema.openAPIV3Schema"), "schemas are required"));
        }
    }
    let stored = items(versions).iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        out.push(Cause::invalid("spec.versions", versions.clone(), why));
    }
}

fn webhooks(configuration: &Value) -> Causes {
    let mut out = Vec::new();
    let mut names = BTreeSet::new();
    for (at, hook) in indexed(&configuration["webhooks"], "webhooks") {
        let name = text(&hook["name"]);
        let name_at = format!("{at}.name");
        if require(&mut out, &hook["name"], &name_at) {
            subdomain(&mut out, &hook["name"], &name_at);
            if name.split('.').count() < 3 {
                let why = "should be a domain with at least three segments separated by dots";
                out.push(Cause::invalid(name_at.as_str(), name, why));
            }
            if !names.insert(name) {
                out.push(Cause::duplicate(name_at, name));
            }
        }
        rules(&mut out, &hook["rules"], &format!("{at}.rules"));
        one_of(&mut out, &hook["failurePolicy"], &format!("{at}.failurePolicy"), &["Fail", "Ignore"]);
        one_of(&mut out, &hook["matchPolicy"], &format!("{at}.matchPolicy"), &["Equivalent", "Exact"]);
        let effects = format!("{at}.sideEffects");
        if hook["sideEffects"].is_null() {
            out.push(Cause::required(effects, "must specify one of None, NoneOnDryRun"));
        } else {
            one_of(&mut out, &hook["sideEffects"], &effects, &["None", "NoneOnDryRun"]);
        }
        if let Some(seconds) = hook["timeoutSeconds"].as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            out.push(Cause::invalid(format!("{at}.timeoutSeconds"), seconds, why));
        }
        for field in ["namespaceSelector", "objectSelector"] {
            if !hook[field].is_null() {
                label_selector(&mut out, &hook[field], &format!("{at}.{field}"));
            }
        }
        one_of(
            &mut out,
            &hook["reinvocationPolicy"],
            &format!("{at}.reinvocationPolicy"),
            &["IfNeeded", "Never"],
        );
        client(&mut out, &hook["clientConfig"], &format!("{at}.clientConfig"));
        review_versions(&mut out, &hook["admissionReviewVersions"], &format!("{at}.admissionReviewVersions"));
        out.extend(Conditions::of_webhook(hook, &at).1);
    }
    out
}

fn rules(out: &mut Causes, rules: &Value, path: &str) {
    for (at, rule) in indexed(rules, path) {
        for field in ["operations", "apiGroups", "apiVersions", "resources"] {
            require(out, &rule[field], &format!("{at}.{field}"));
        }
        for (at, operation) in indexed(&rule["operations"], &format!("{at}.operations")) {
            one_of(out, operation, &at, &OPERATIONS);
        }
    }
}

/// Versions of AdmissionReview or ConversionReview; this server speaks `v1`.
pub fn review_versions(out: &mut Causes, versions: &Value, path: &str) {
    let names: Vec<&str> = items(versions).iter().map(text).collect();
    if names.is_empty() {
        return out.push(Cause::required(path, "must specify one of v1, v1beta1"));
    }
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            out.push(Cause::invalid(format!("{path}[{at}]"), *name, "duplicate version"));
        }
        add(out, &format!("{path}[{at}]"), name, rfc1035_problems(name));
    }
    if !names.iter().any(|name| matches!(*name, "v1" | "v1beta1")) {
        out.push(Cause::invalid(path, versions.clone(), "must include at least one of v1, v1beta1"));
    }
}

/// Where a webhook is.
pub fn client(out: &mut Causes, client: &Value, path: &str) {
    let (url, service) = (client["url"].is_string(), client["service"].is_object());
    if url == service {
        out.push(Cause::required(path, "exactly one of url or service is required"));
    }
    if service {
        for field in ["name", "namespace"] {
            require(out, &client["service"][field], &format!("{path}.service.{field}"));
        }
    }
    if url && !text(&client["url"]).starts_with("https://") {
        let scheme = text(&client["url"]).split_once("://").map_or("", |(scheme, _)| scheme).to_owned();
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        out.push(Cause::invalid(format!("{path}.url"), scheme, why));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn definitions_and_webhooks_get_the_stock_causes() {
        let base = json!({"metadata": {"name": "things.a.b"}, "spec": {"group": "a.b", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "storage": true, "served": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
        assert_cases(
            base,
            definition,
            &[
                (
                    json!({"metadata": {"name": "x"}}),
                    &["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"],
                ),
                (
                    json!({"spec": {"scope": "All"}}),
                    &[
                        "spec.scope: Unsupported value: \"All\": supported values: \"Cluster\", \"Namespaced\"",
                    ],
                ),
                (
                    json!({"spec": {"versions": []}}),
                    &[
                        "spec.versions: Invalid value: []: must have exactly one version marked as storage version",
                    ],
                ),
            ],
        );
        let hook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://x"}});
        let with = |patch: Value| {
            let mut own = hook.clone();
            coracle_schema::json_merge_patch(&mut own, &patch);
            json!({"webhooks": [own]})
        };
        assert_cases(
            with(json!({})),
            webhooks,
            &[
                (
                    with(json!({"clientConfig": {"url": null}})),
                    &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
                ),
                (
                    with(
                        json!({"matchConditions": [{"name": "c", "expression": "true"}, {"name": "c", "expression": "false"}]}),
                    ),
                    &["webhooks[0].matchConditions[1].name: Duplicate value: \"c\""],
                ),
                (
                    with(json!({"timeoutSeconds": 31})),
                    &[
                        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_lease_gets_the_stock_causes() {
        assert_cases(
            json!({"spec": {"leaseDurationSeconds": 1}}),
            lease,
            &[
                (
                    json!({"spec": {"leaseDurationSeconds": 0}}),
                    &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
                ),
                (
                    json!({"spec": {"preferredHolder": "a"}}),
                    &["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"],
                ),
                (
                    json!({"spec": {"strategy": "Newest"}}),
                    &[
                        "spec.strategy.strategy: Unsupported value: \"Newest\": supported values: \"OldestEmulationVersion\"",
                    ],
                ),
            ],
        );
    }
}
