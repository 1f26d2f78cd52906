//! Leases, CustomResourceDefinitions, webhook configurations.
//!
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/apis (each group's validation.go) and
//! https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, immutable, indexed, is_set, items, non_negative, one_of, require, text},
};
use crate::{
    metadata::{qualified_name_problems, rfc1035_problems, subdomain_problems},
    status::Cause,
};

/// As upstream has it.
const LEASE_STRATEGY: &str = "spec.strategy.strategy";

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
