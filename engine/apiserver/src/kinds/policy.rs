//! Budgets, autoscalers, priorities, quotas, limit ranges.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/policy/validation/validation.go,
//! .../autoscaling/validation/validation.go, .../scheduling/validation/validation.go, .../core/validation/validation.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, amounts, at_most_all, count_or_percent, immutable, indexed, is_set, label_selector, nanos,
        one_of, require, text,
    },
    pod_spec::qualified_resource,
};
use crate::status::Cause;

const USER_PRIORITY_MAX: i64 = 1_000_000_000;
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub static BUDGET: Checked = Checked::new(budget);
pub static AUTOSCALER: Checked = Checked::new(autoscaler);
pub static PRIORITY_CLASS: Checked = Checked::new(priority_class).comparing(|new, old| {
    let mut out = Vec::new();
    if new["value"] != old["value"] {
        out.push(Cause::forbidden("value", "may not be changed in an update."));
    }
    immutable(&mut out, &new["preemptionPolicy"], &old["preemptionPolicy"], "preemptionPolicy");
    out
});
pub static QUOTA: Checked = Checked::new(|quota| {
    let mut out = Vec::new();
    let hard = &quota["spec"]["hard"];
    for name in hard.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !name.starts_with("count/") {
            qualified_resource(&mut out, name, &format!("spec.hard[{name}]"));
        }
    }
    amounts(&mut out, hard, "spec.hard");
    out
})
.comparing(|new, old| {
    let mut out = Vec::new();
    immutable(&mut out, &new["spec"]["scopes"], &old["spec"]["scopes"], "spec.scopes");
    out
});
pub static LIMIT_RANGE: Checked = Checked::new(limit_range).created_by_update();

fn budget(budget: &Value) -> Causes {
    let (spec, mut out) = (&budget["spec"], Vec::new());
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        out.push(Cause::invalid("spec", spec.clone(), why));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let at = format!("spec.{field}");
        count_or_percent(&mut out, &spec[field], &at);
        at_most_all(&mut out, &spec[field], &at);
    }
    if !spec["selector"].is_null() {
        label_selector(&mut out, &spec["selector"], "spec.selector");
    }
    one_of(
        &mut out,
        &spec["unhealthyPodEvictionPolicy"],
        "spec.unhealthyPodEvictionPolicy",
        &["AlwaysAllow", "IfHealthyBudget"],
    );
    out
}

fn autoscaler(object: &Value) -> Causes {
    let (spec, mut out) = (&object["spec"], Vec::new());
    let (min, max) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64().unwrap_or_default());
    if let Some(min) = min.filter(|min| *min < 1) {
        out.push(Cause::invalid("spec.minReplicas", min, "must be greater than or equal to 1"));
    }
    if max < 1 {
        out.push(Cause::invalid("spec.maxReplicas", max, "must be greater than 0"));
    }
    if min.is_some_and(|min| max < min) {
        out.push(Cause::invalid("spec.maxReplicas", max, "must be greater than or equal to `minReplicas`"));
    }
    for field in ["kind", "name"] {
        require(&mut out, &spec["scaleTargetRef"][field], &format!("spec.scaleTargetRef.{field}"));
    }
    for (at, metric) in indexed(&spec["metrics"], "spec.metrics") {
        let kinds = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        if require(&mut out, &metric["type"], &format!("{at}.type")) {
            one_of(&mut out, &metric["type"], &format!("{at}.type"), &kinds);
        }
        if metric["type"] == "Resource" && metric["resource"].is_null() {
            let why = "must populate information for the given metric source";
            out.push(Cause::required(format!("{at}.resource"), why));
        }
    }
    out
}

fn priority_class(class: &Value) -> Causes {
    let (name, value) = (crate::object::name(class), class["value"].as_i64().unwrap_or_default());
    let mut out = Vec::new();
    if name.starts_with("system-") {
        if !SYSTEM_CLASSES.contains(&(name, value)) {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
            );
            out.push(Cause::forbidden("metadata.name", &why));
        }
    } else if value > USER_PRIORITY_MAX {
        let why = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        out.push(Cause::forbidden("value", &why));
    }
    one_of(&mut out, &class["preemptionPolicy"], "preemptionPolicy", &["Never", "PreemptLowerPriority"]);
    out
}

fn limit_range(range: &Value) -> Causes {
    let mut out = Vec::new();
    let mut kinds = Vec::new();
    for (at, limit) in indexed(&range["spec"]["limits"], "spec.limits") {
        let kind = text(&limit["type"]);
        if kinds.contains(&kind) {
            out.push(Cause::duplicate(format!("{at}.type"), kind));
        }
        kinds.push(kind);
        for field in ["default", "defaultRequest"] {
            if kind == "Pod" && is_set(&limit[field]) {
                out.push(Cause::forbidden(
                    format!("{at}.{field}"),
                    "may not be specified when `type` is 'Pod'",
                ));
            }
        }
        for (name, max) in limit["max"].as_object().into_iter().flatten() {
            limit_order(&mut out, limit, &at, name, max);
        }
        for field in ["min", "max", "default", "defaultRequest"] {
            amounts(&mut out, &limit[field], &format!("{at}.{field}"));
        }
    }
    out
}

/// min ≤ defaultRequest ≤ default ≤ max
fn limit_order(out: &mut Causes, limit: &Value, at: &str, name: &str, max: &Value) {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    for (field, words) in
        [("min", "min value"), ("default", "default value"), ("defaultRequest", "default request value")]
    {
        let lower = &limit[field][name];
        if nanos(lower) > nanos(max) {
            let why = format!("{words} {} is greater than max value {}", shown(lower), shown(max));
            out.push(Cause::invalid(format!("{at}.{field}[{name}]"), lower.clone(), &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn budgets_and_autoscalers_get_the_stock_causes() {
        assert_cases(
            json!({"spec": {"minAvailable": 1}}),
            budget,
            &[
                (
                    json!({"spec": {"maxUnavailable": 1}}),
                    &[
                        "spec: Invalid value: {\"minAvailable\":1,\"maxUnavailable\":1}: minAvailable and maxUnavailable cannot be both set",
                    ],
                ),
                (
                    json!({"spec": {"minAvailable": -1}}),
                    &["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
                ),
            ],
        );
        assert_cases(
            json!({"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
            autoscaler,
            &[
                (
                    json!({"spec": {"minReplicas": 3}}),
                    &["spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"],
                ),
                (
                    json!({"spec": {"scaleTargetRef": {"name": null}}}),
                    &["spec.scaleTargetRef.name: Required value"],
                ),
            ],
        );
    }

    #[test]
    fn priority_classes_keep_their_value_and_leave_the_highest_to_the_system() {
        assert_cases(
            json!({"metadata": {"name": "a"}, "value": 1}),
            priority_class,
            &[
                (
                    json!({"value": 1_000_000_001}),
                    &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
                ),
                (json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}), &[]),
            ],
        );
        let causes = (PRIORITY_CLASS.compare)(&json!({"value": 2}), &json!({"value": 1}));
        assert_eq!(causes[0].to_string(), "value: Forbidden: may not be changed in an update.");
    }
}
