//! Role, ClusterRole, RoleBinding, ClusterRoleBinding: names may be any path segment; what a binding refers to stays.
//!
//! That nobody grants what he does not hold is checked by admission (`crate::authz`).
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/rbac/validation/validation.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, indexed, is_set, items, label_selector, require, same, subdomain, text},
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
        label_selector(&mut out, selector, &at);
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
    let group = text(&subject["apiGroup"]);
    let expected = match text(&subject["kind"]) {
        "ServiceAccount" => {
            subdomain(out, &subject["name"], &format!("{at}.name"));
            if !namespaced {
                require(out, &subject["namespace"], &format!("{at}.namespace"));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            return out.push(Cause::not_supported(format!("{at}.kind"), other, &kinds));
        }
    };
    // Absent is filled in by the defaults.
    if !subject["apiGroup"].is_null() && group != expected {
        out.push(Cause::not_supported(format!("{at}.apiGroup"), group, &[expected]));
    }
}

fn same_role(new: &Value, old: &Value) -> Causes {
    if same(&new["roleRef"], &old["roleRef"]) {
        return Vec::new();
    }
    vec![Cause::invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef")]
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn rules_and_bindings_get_the_stock_causes() {
        let rule = |rule: Value| json!({"rules": [rule]});
        let base = rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}));
        assert_cases(
            base,
            |role| rules(role, true),
            &[
                (
                    rule(json!({"apiGroups": [""], "resources": ["pods"]})),
                    &["rules[0].verbs: Required value: verbs must contain at least one value"],
                ),
                (
                    rule(json!({"verbs": ["get"]})),
                    &[
                        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                        "rules[0].resources: Required value: resource rules must supply at least one resource",
                    ],
                ),
                (
                    rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})),
                    &[
                        "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
                    ],
                ),
            ],
        );
        let own = json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "apiGroup": GROUP, "name": "u"}]});
        assert_cases(
            own.clone(),
            |new| binding(new, true),
            &[
                (
                    json!({"roleRef": {"kind": "User"}}),
                    &[
                        "roleRef.kind: Unsupported value: \"User\": supported values: \"Role\", \"ClusterRole\"",
                    ],
                ),
                (json!({"roleRef": {"name": ""}}), &["roleRef.name: Required value"]),
            ],
        );
        assert_cases(
            own.clone(),
            |new| same_role(new, &own),
            &[(
                json!({"roleRef": {"name": "s"}}),
                &[
                    "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"s\"}: cannot change roleRef",
                ],
            )],
        );
    }
}
