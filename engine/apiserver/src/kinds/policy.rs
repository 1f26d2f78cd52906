//! Budgets and priorities.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/policy/validation/validation.go,
//! .../scheduling/validation/validation.go

use serde_json::{Value, json};

use super::{
    checked::Checked,
    checks::{Causes, at_most_all, count_or_percent, immutable, label_selector, non_negative, one_of},
    conditions,
};
use crate::status::Cause;

const USER_PRIORITY_MAX: i64 = 1_000_000_000;
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Those that the server's own pods need.
pub fn is_system_class(name: &str) -> bool {
    SYSTEM_CLASSES.iter().any(|(system, _)| *system == name)
}

pub static BUDGET: Checked = Checked::new(budget).checking_status(|new, _| {
    let mut out = Vec::new();
    conditions(&mut out, &new["status"]["conditions"], "status.conditions");
    let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
    non_negative(&mut out, &new["status"], "status", &counts);
    out
});
pub static PRIORITY_CLASS: Checked = Checked::new(priority_class)
    .once()
    .preparing(|class, old, _| {
        // Of these, the stock server counts no changes.
        if old.is_none() {
            crate::object::metadata_mut(class).insert("generation".into(), 1.into());
        }
    })
    .comparing(|new, old| {
        let mut out = Vec::new();
        if new["value"] != old["value"] {
            out.push(Cause::forbidden("value", "may not be changed in an update."));
        }
        immutable(&mut out, &new["preemptionPolicy"], &old["preemptionPolicy"], "preemptionPolicy");
        out
    });

fn budget(budget: &Value) -> Causes {
    let (spec, mut out) = (&budget["spec"], Vec::new());
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        // As upstream's own form is shown.
        let shown = json!({
            "MinAvailable": spec["minAvailable"], "MaxUnavailable": spec["maxUnavailable"],
            "Selector": spec["selector"], "UnhealthyPodEvictionPolicy": spec["unhealthyPodEvictionPolicy"],
        });
        out.push(Cause::invalid("spec", shown, why));
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

fn priority_class(class: &Value) -> Causes {
    let (name, value) = (crate::object::name(class), class["value"].as_i64().unwrap_or_default());
    let mut out = Vec::new();
    if name.starts_with("system-") {
        let problem = match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, own)) if *own != value => Some(format!("value of {name} PriorityClass must be {own}")),
            Some(_) if class["globalDefault"] == true => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        out.extend(problem.map(|why| {
            let rule = "priority class names with 'system-' prefix are reserved for system use only. error:";
            Cause::forbidden("metadata.name", &format!("{rule} {why}"))
        }));
    } else if value > USER_PRIORITY_MAX {
        let why = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        out.push(Cause::forbidden("value", &why));
    }
    match class["preemptionPolicy"].as_str() {
        Some("") => out.push(Cause::required("preemptionPolicy", "")),
        _ => {
            let policies = ["PreemptLowerPriority", "Never"];
            one_of(&mut out, &class["preemptionPolicy"], "preemptionPolicy", &policies);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

    #[test]
    fn budgets_get_the_stock_causes() {
        assert_cases(
            json!({"spec": {"minAvailable": 1}}),
            budget,
            &[
                (
                    json!({"spec": {"maxUnavailable": 1}}),
                    &[
                        "spec: Invalid value: {\"MinAvailable\":1,\"MaxUnavailable\":1,\"Selector\":null,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
                    ],
                ),
                (
                    json!({"spec": {"minAvailable": -1}}),
                    &["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
                ),
            ],
        );
    }

    #[test]
    fn the_status_of_a_budget_gets_the_stock_causes() {
        assert_cases(
            json!({"status": {"disruptionsAllowed": 0}}),
            |new| (BUDGET.status)(new, &serde_json::Value::Null),
            &[
                (
                    json!({"status": {"expectedPods": -1}}),
                    &["status.expectedPods: Invalid value: -1: must be greater than or equal to 0"],
                ),
                (
                    json!({"status": {"conditions": [{"type": "DisruptionAllowed", "status": "True", "reason": "R"}]}}),
                    &["status.conditions[0].lastTransitionTime: Required value"],
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
                (json!({"preemptionPolicy": ""}), &["preemptionPolicy: Required value"]),
                (json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}), &[]),
                (
                    json!({"metadata": {"name": "system-mine"}}),
                    &[
                        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class",
                    ],
                ),
                (
                    json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000, "globalDefault": true}),
                    &[
                        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: globalDefault of system-node-critical PriorityClass must be false",
                    ],
                ),
                (
                    json!({"metadata": {"name": "system-node-critical"}}),
                    &[
                        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
                    ],
                ),
                (
                    json!({"preemptionPolicy": "Always"}),
                    &[
                        "preemptionPolicy: Unsupported value: \"Always\": supported values: \"PreemptLowerPriority\", \"Never\"",
                    ],
                ),
            ],
        );
        let causes = (PRIORITY_CLASS.compare)(&json!({"value": 2}), &json!({"value": 1}));
        assert_eq!(causes[0].to_string(), "value: Forbidden: may not be changed in an update.");
    }
}
