//! Role, ClusterRole, RoleBinding, ClusterRoleBinding: names may be any path segment; what a binding refers to stays.
//!
//! That nobody grants what he does not hold is checked by admission (`crate::authz`).
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/rbac/validation/validation.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, indexed, is_set, items, label_selector, require, same, subdomain, text, untagged},
};
use crate::{metadata::path_segment_problems, status::Cause, strategy::NameRule};

const GROUP: &str = "rbac.authorization.k8s.io";

pub static ROLE: Checked =
    Checked::new(|role| rules(role, true)).named(NameRule::PathSegment).created_by_update();
pub static CLUSTER_ROLE: Checked = Checked::new(|role| {
    let mut out = rules(role, false);
    let selectors = &role["aggregationRule"]["clusterRoleSelectors"];
    if role["aggregationRule"].is_object() && items(selectors).is_empty() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        out.push(Cause::required("aggregationRule.clusterRoleSelectors", why));
    }
    for (at, selector) in indexed(selectors, "aggregationRule.clusterRoleSelectors") {
        let before = out.len();
        label_selector(&mut out, selector, &at);
        // Upstream then shows the selector that it could not make.
        if out.len() > before {
            out.push(Cause::invalid(at, Value::Null, "invalid label selector."));
        }
    }
    out
})
.named(NameRule::PathSegment)
.created_by_update();
pub static ROLE_BINDING: Checked = Checked::new(|own| binding(own, true))
    .comparing(same_role)
    .named(NameRule::PathSegment)
    .created_by_update();
pub static CLUSTER_ROLE_BINDING: Checked = Checked::new(|own| binding(own, false))
    .comparing(same_role)
    .named(NameRule::PathSegment)
    .created_by_update();

fn rules(role: &Value, namespaced: bool) -> Causes {
    let mut out = Vec::new();
    for (at, rule) in indexed(&role["rules"], "rules") {
        if items(&rule["verbs"]).is_empty() {
            out.push(Cause::required(format!("{at}.verbs"), "verbs must contain at least one value"));
        }
        let urls = &rule["nonResourceURLs"];
        if is_set(urls) {
            let field = format!("{at}.nonResourceURLs");
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                out.push(Cause::invalid(field.as_str(), urls.clone(), why));
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|field| is_set(&rule[*field])) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                out.push(Cause::invalid(field, urls.clone(), why));
            }
            continue;
        }
        if items(&rule["apiGroups"]).is_empty() {
            out.push(Cause::required(
                format!("{at}.apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if items(&rule["resources"]).is_empty() {
            out.push(Cause::required(
                format!("{at}.resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
    out
}

fn binding(binding: &Value, namespaced: bool) -> Causes {
    let (role, mut out) = (&binding["roleRef"], Vec::new());
    let group = text(&role["apiGroup"]);
    if group != GROUP {
        out.push(Cause::not_supported("roleRef.apiGroup", group, &[GROUP]));
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let kind = text(&role["kind"]);
    if !kinds.contains(&kind) {
        out.push(Cause::not_supported("roleRef.kind", kind, kinds));
    }
    if require(&mut out, &role["name"], "roleRef.name") {
        add(&mut out, "roleRef.name", text(&role["name"]), path_segment_problems(text(&role["name"])));
    }
    for (at, subject) in indexed(&binding["subjects"], "subjects") {
        validate_subject(&mut out, subject, &at, namespaced);
    }
    out
}

fn validate_subject(out: &mut Causes, subject: &Value, at: &str, namespaced: bool) {
    require(out, &subject["name"], &format!("{at}.name"));
    let kind = text(&subject["kind"]);
    if kind == "ServiceAccount" {
        subdomain(out, &subject["name"], &format!("{at}.name"));
    }
    let expected = match kind {
        "ServiceAccount" => "",
        "User" | "Group" => GROUP,
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            return out.push(Cause::not_supported(format!("{at}.kind"), other, &kinds));
        }
    };
    let group = text(&subject["apiGroup"]);
    // Absent is filled in by the defaults.
    if !subject["apiGroup"].is_null() && group != expected {
        out.push(Cause::not_supported(format!("{at}.apiGroup"), group, &[expected]));
    }
    if kind == "ServiceAccount" && !namespaced {
        require(out, &subject["namespace"], &format!("{at}.namespace"));
    }
}

fn same_role(new: &Value, old: &Value) -> Causes {
    if same(&new["roleRef"], &old["roleRef"]) {
        return Vec::new();
    }
    vec![Cause::invalid("roleRef", untagged(&new["roleRef"], "APIGroup Kind Name"), "cannot change roleRef")]
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn rules_get_the_stock_causes() {
        let rule = |rule: Value| json!({"rules": [rule]});
        let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/x"]});
        let with = |base: &Value, patch: Value| {
            let mut own = base.clone();
            coracle_schema::json_merge_patch(&mut own, &patch);
            rule(own)
        };
        const VERBS: &str = "rules[0].verbs: Required value: verbs must contain at least one value";
        const GROUPS: &str =
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group";
        const RESOURCES: &str =
            "rules[0].resources: Required value: resource rules must supply at least one resource";
        const BOTH: &str = "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs";
        const NAMESPACED: &str = "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs";
        assert_cases(
            rule(pods.clone()),
            |role| rules(role, true),
            &[
                (with(&pods, json!({"verbs": null})), &[VERBS]),
                (with(&pods, json!({"verbs": []})), &[VERBS]),
                (rule(json!({"verbs": ["get"]})), &[GROUPS, RESOURCES]),
                (with(&pods, json!({"resourceNames": ["a"], "resources": ["pods", "nodes"]})), &[]),
                (rule(urls.clone()), &[NAMESPACED]),
                (with(&urls, json!({"resources": ["pods"]})), &[NAMESPACED, BOTH]),
            ],
        );
        assert_cases(
            rule(urls.clone()),
            |role| rules(role, false),
            &[
                (with(&urls, json!({"verbs": null})), &[VERBS]),
                (with(&urls, json!({"apiGroups": [""]})), &[BOTH]),
                (with(&urls, json!({"resourceNames": ["a"]})), &[BOTH]),
            ],
        );
    }

    #[test]
    fn aggregation_gets_the_stock_causes() {
        let selectors = |all: Value| json!({"aggregationRule": {"clusterRoleSelectors": all}});
        assert_cases(
            selectors(json!([{"matchLabels": {"a": "b"}}])),
            |role| (CLUSTER_ROLE.validate)(role),
            &[
                (
                    selectors(json!([])),
                    &[
                        "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
                    ],
                ),
                (
                    selectors(json!([{"matchExpressions": [{"key": "a", "operator": "In"}]}])),
                    &[
                        "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                        "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn bindings_get_the_stock_causes() {
        let own = json!({"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "apiGroup": GROUP, "name": "u"}]});
        let role = |patch: Value| json!({"roleRef": patch});
        let subject = |subject: Value| json!({"subjects": [subject]});
        assert_cases(
            own.clone(),
            |new| binding(new, true),
            &[
                (role(json!({"kind": "Role"})), &[]),
                (
                    role(json!({"apiGroup": "a"})),
                    &[
                        "roleRef.apiGroup: Unsupported value: \"a\": supported values: \"rbac.authorization.k8s.io\"",
                    ],
                ),
                (
                    role(json!({"kind": "User"})),
                    &[
                        "roleRef.kind: Unsupported value: \"User\": supported values: \"Role\", \"ClusterRole\"",
                    ],
                ),
                (role(json!({"name": ""})), &["roleRef.name: Required value"]),
                (role(json!({"name": ".."})), &["roleRef.name: Invalid value: \"..\": may not be '..'"]),
                (
                    role(json!({"name": "a/b"})),
                    &["roleRef.name: Invalid value: \"a/b\": may not contain '/'"],
                ),
                (subject(json!({"kind": "Group", "apiGroup": GROUP})), &["subjects[0].name: Required value"]),
                (
                    subject(json!({"kind": "Robot", "name": "u"})),
                    &[
                        "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
                    ],
                ),
                (
                    subject(json!({"kind": "User", "apiGroup": "a", "name": "u"})),
                    &[
                        "subjects[0].apiGroup: Unsupported value: \"a\": supported values: \"rbac.authorization.k8s.io\"",
                    ],
                ),
                (
                    subject(
                        json!({"kind": "ServiceAccount", "apiGroup": GROUP, "name": "u", "namespace": "n"}),
                    ),
                    &[
                        "subjects[0].apiGroup: Unsupported value: \"rbac.authorization.k8s.io\": supported values: \"\"",
                    ],
                ),
                (subject(json!({"kind": "ServiceAccount", "name": "u"})), &[]),
            ],
        );
        assert_cases(
            own.clone(),
            |new| binding(new, false),
            &[
                (
                    role(json!({"kind": "Role"})),
                    &["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""],
                ),
                (
                    subject(json!({"kind": "ServiceAccount", "name": "u"})),
                    &["subjects[0].namespace: Required value"],
                ),
            ],
        );
        assert_cases(
            own.clone(),
            |new| same_role(new, &own),
            &[(
                role(json!({"name": "s"})),
                &[
                    "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"ClusterRole\",\"Name\":\"s\"}: cannot change roleRef",
                ],
            )],
        );
    }
}
