//! HorizontalPodAutoscalers.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/autoscaling/validation/validation.go

use coracle_schema::Quantity;
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, indexed, is_set, items, label_selector, one_of, require, text},
};
use crate::{metadata::path_segment_problems, status::Cause};

pub static AUTOSCALER: Checked = Checked::new(autoscaler);

/// (`type`, the field that then says more)
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
const WINDOW_MAX_SECONDS: i64 = 3600;
const PERIOD_MAX_SECONDS: i64 = 1800;

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
    reference(&mut out, &spec["scaleTargetRef"], "spec.scaleTargetRef");
    for (at, metric) in indexed(&spec["metrics"], "spec.metrics") {
        source(&mut out, metric, &at);
    }
    for field in ["scaleUp", "scaleDown"] {
        let at = format!("spec.behavior.{field}");
        behavior(&mut out, &spec["behavior"][field], &at);
    }
    out
}

fn reference(out: &mut Causes, reference: &Value, path: &str) {
    for field in ["kind", "name"] {
        let at = format!("{path}.{field}");
        if require(out, &reference[field], &at) {
            let value = text(&reference[field]);
            add(out, &at, value, path_segment_problems(value));
        }
    }
}

/// Exactly the source that the type names, and all that it needs.
fn source(out: &mut Causes, metric: &Value, path: &str) {
    let at = format!("{path}.type");
    if !is_set(&metric["type"]) {
        return out.push(Cause::required(at, "must specify a metric source type"));
    }
    one_of(out, &metric["type"], &at, &SOURCES.map(|(kind, _)| kind));
    let Some((kind, field)) = SOURCES.iter().find(|(kind, _)| metric["type"] == *kind) else { return };
    let (part, at) = (&metric[*field], format!("{path}.{field}"));
    for (_, other) in SOURCES.iter().filter(|(_, other)| other != field && !metric[*other].is_null()) {
        let why = "must populate the given metric source only";
        out.push(Cause::forbidden(format!("{path}.{other}"), why));
    }
    if part.is_null() {
        return out.push(Cause::required(at, "must populate information for the given metric source"));
    }
    match *kind {
        "Resource" | "ContainerResource" => {
            if !is_set(&part["name"]) {
                out.push(Cause::required(format!("{at}.name"), "must specify a resource name"));
            }
            if *kind == "ContainerResource" && !is_set(&part["container"]) {
                out.push(Cause::required(format!("{at}.container"), "must specify a container name"));
            }
            target(out, &part["target"], &format!("{at}.target"));
            use_of_resource(out, &part["target"], &format!("{at}.target"));
        }
        _ => {
            identifier(out, &part["metric"], &format!("{at}.metric"));
            target(out, &part["target"], &format!("{at}.target"));
            if *kind == "Object" {
                reference(out, &part["describedObject"], &format!("{at}.describedObject"));
            }
            raw_value(out, &part["target"], &format!("{at}.target"), kind);
        }
    }
}

fn identifier(out: &mut Causes, metric: &Value, path: &str) {
    let at = format!("{path}.name");
    if is_set(&metric["name"]) {
        add(out, &at, text(&metric["name"]), path_segment_problems(text(&metric["name"])));
    } else {
        out.push(Cause::required(at, "must specify a metric name"));
    }
    if !metric["selector"].is_null() {
        label_selector(out, &metric["selector"], &format!("{path}.selector"));
    }
}

fn target(out: &mut Causes, target: &Value, path: &str) {
    let kind = text(&target["type"]);
    if kind.is_empty() {
        out.push(Cause::required(format!("{path}.type"), "must specify a metric target type"));
    } else if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        out.push(Cause::invalid(format!("{path}.type"), kind, why));
    }
    for field in ["value", "averageValue"] {
        if Quantity::from_value(&target[field]).is_some_and(|own| own <= Quantity::ZERO) {
            out.push(Cause::invalid(format!("{path}.{field}"), target[field].clone(), "must be positive"));
        }
    }
    if let Some(percent) = target["averageUtilization"].as_i64().filter(|own| *own < 1) {
        let at = format!("{path}.averageUtilization");
        out.push(Cause::invalid(at, percent, "must be greater than 0"));
    }
}

/// Of cpu and memory: a share of what is requested, or an amount.
fn use_of_resource(out: &mut Causes, target: &Value, path: &str) {
    match (target["averageUtilization"].is_null(), target["averageValue"].is_null()) {
        (true, true) => out.push(Cause::required(
            format!("{path}.averageUtilization"),
            "must set either a target raw value or a target utilization",
        )),
        (false, false) => out.push(Cause::forbidden(
            format!("{path}.averageValue"),
            "may not set both a target raw value and a target utilization",
        )),
        _ => {}
    }
}

fn raw_value(out: &mut Causes, target: &Value, path: &str, kind: &str) {
    let (value, average) = (!target["value"].is_null(), !target["averageValue"].is_null());
    let field = |name: &str| format!("{path}.{name}");
    match kind {
        "Pods" if !average => {
            out.push(Cause::required(field("averageValue"), "must specify a positive target averageValue"))
        }
        "Object" if !value && !average => {
            let why = "must set either a target value or averageValue";
            out.push(Cause::required(field("averageValue"), why));
        }
        "External" if !value && !average => out.push(Cause::required(
            field("averageValue"),
            "must set either a target value for metric or a per-pod target",
        )),
        "External" if value && average => out.push(Cause::forbidden(
            field("value"),
            "may not set both a target value for metric and a per-pod target",
        )),
        _ => {}
    }
}

fn behavior(out: &mut Causes, rules: &Value, path: &str) {
    if rules.is_null() {
        return;
    }
    if let Some(window) = rules["stabilizationWindowSeconds"].as_i64() {
        let at = format!("{path}.stabilizationWindowSeconds");
        if window < 0 {
            out.push(Cause::invalid(at, window, "must be greater than or equal to zero"));
        } else if window > WINDOW_MAX_SECONDS {
            out.push(Cause::invalid(at, window, "must be less than or equal to 3600"));
        }
    }
    one_of(out, &rules["selectPolicy"], &format!("{path}.selectPolicy"), &["Disabled", "Max", "Min"]);
    if items(&rules["policies"]).is_empty() {
        out.push(Cause::required(format!("{path}.policies"), "must specify at least one Policy"));
    }
    for (at, policy) in indexed(&rules["policies"], &format!("{path}.policies")) {
        one_of(out, &policy["type"], &format!("{at}.type"), &["Percent", "Pods"]);
        for field in ["value", "periodSeconds"] {
            let number = policy[field].as_i64().unwrap_or_default();
            let at = format!("{at}.{field}");
            if number <= 0 {
                out.push(Cause::invalid(at, number, "must be greater than zero"));
            } else if field == "periodSeconds" && number > PERIOD_MAX_SECONDS {
                out.push(Cause::invalid(at, number, "must be less than or equal to 1800"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn autoscalers_get_the_stock_causes() {
        let metric = |metric: Value| json!({"spec": {"metrics": [metric]}});
        let cpu = |target: Value| {
            metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}))
        };
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
                (
                    metric(json!({"type": "Resource"})),
                    &[
                        "spec.metrics[0].resource: Required value: must populate information for the given metric source",
                    ],
                ),
                (
                    metric(
                        json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}, "resource": {}}),
                    ),
                    &["spec.metrics[0].resource: Forbidden: must populate the given metric source only"],
                ),
                (cpu(json!({"type": "Utilization", "averageUtilization": 50})), &[]),
                (
                    cpu(json!({"type": "Utilization"})),
                    &[
                        "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
                    ],
                ),
                (
                    cpu(json!({"type": "Half", "averageValue": "0"})),
                    &[
                        "spec.metrics[0].resource.target.type: Invalid value: \"Half\": must be either Utilization, Value, or AverageValue",
                        "spec.metrics[0].resource.target.averageValue: Invalid value: \"0\": must be positive",
                    ],
                ),
                (
                    json!({"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 4000, "policies": [{"type": "Pods", "value": 0, "periodSeconds": 2000}]}}}}),
                    &[
                        "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
                        "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                        "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 2000: must be less than or equal to 1800",
                    ],
                ),
                (
                    json!({"spec": {"behavior": {"scaleDown": {}}}}),
                    &["spec.behavior.scaleDown.policies: Required value: must specify at least one Policy"],
                ),
            ],
        );
    }
}
