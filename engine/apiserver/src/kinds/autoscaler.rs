//! HorizontalPodAutoscalers.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/autoscaling/validation/validation.go

use coracle_schema::Quantity;
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, NON_NEGATIVE, add, indexed, is_set, items, label, non_negative, one_of, text, typed_reference,
    },
    pod_spec::container_resource,
};
use crate::{metadata::path_segment_problems, status::Cause};

pub static AUTOSCALER: Checked = Checked::new(autoscaler).checking_status(|new, _| {
    let mut out = Vec::new();
    non_negative(&mut out, &new["status"], "status", &["currentReplicas", "desiredReplicas"]);
    out
});

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
    typed_reference(&mut out, &spec["scaleTargetRef"], "spec.scaleTargetRef");
    // The one metric that autoscaling/v1 has a field for is checked as what it is in v2.
    let percent = spec["targetCPUUtilizationPercentage"].as_i64();
    if let Some(percent) = percent.filter(|percent| *percent < 1) {
        let at = "spec.metrics[0].resource.target.averageUtilization";
        out.push(Cause::invalid(at, percent, "must be greater than 0"));
    }
    for (at, metric) in indexed(&spec["metrics"], "spec.metrics") {
        source(&mut out, metric, &at);
    }
    for field in ["scaleUp", "scaleDown"] {
        let at = format!("spec.behavior.{field}");
        behavior(&mut out, &spec["behavior"][field], &at);
    }
    out
}

/// In the order in which they are looked at.
const LOOKED_AT: [&str; 5] = ["object", "external", "pods", "resource", "containerResource"];

/// Exactly the source that the type names, and all that it needs.
fn source(out: &mut Causes, metric: &Value, path: &str) {
    let at = format!("{path}.type");
    let kind = text(&metric["type"]);
    if kind.is_empty() {
        out.push(Cause::required(at.as_str(), "must specify a metric source type"));
    }
    let field = SOURCES.iter().find(|(own, _)| *own == kind).map(|(_, field)| *field);
    if field.is_none() {
        out.push(Cause::not_supported(at, kind, &SOURCES.map(|(kind, _)| kind)));
    }
    let given: Vec<&str> = LOOKED_AT.into_iter().filter(|own| !metric[*own].is_null()).collect();
    if let Some(first) = given.first() {
        source_of(out, first, &metric[*first], &format!("{path}.{first}"));
    }
    if let Some(field) = field.filter(|field| metric[*field].is_null()) {
        let why = "must populate information for the given metric source";
        out.push(Cause::required(format!("{path}.{field}"), why));
    }
    if given.len() != 1 {
        for other in given.into_iter().filter(|own| Some(*own) != field) {
            let why = "must populate the given metric source only";
            out.push(Cause::forbidden(format!("{path}.{other}"), why));
        }
    }
}

fn source_of(out: &mut Causes, field: &str, part: &Value, path: &str) {
    let at = format!("{path}.target");
    if matches!(field, "resource" | "containerResource") {
        let name = format!("{path}.name");
        match text(&part["name"]) {
            "" => out.push(Cause::required(name, "must specify a resource name")),
            own if field == "containerResource" => container_resource(out, own, &name),
            _ => {}
        }
        if field == "containerResource" {
            let at = format!("{path}.container");
            if is_set(&part["container"]) {
                label(out, &part["container"], &at);
            } else {
                out.push(Cause::required(at, "must specify a container"));
            }
        }
        target(out, &part["target"], &at);
        return use_of_resource(out, &part["target"], &at);
    }
    if field == "object" {
        typed_reference(out, &part["describedObject"], &format!("{path}.describedObject"));
    }
    identifier(out, &part["metric"], &format!("{path}.metric"));
    target(out, &part["target"], &at);
    raw_value(out, &part["target"], &at, field);
}

fn identifier(out: &mut Causes, metric: &Value, path: &str) {
    let at = format!("{path}.name");
    if is_set(&metric["name"]) {
        add(out, &at, text(&metric["name"]), path_segment_problems(text(&metric["name"])));
    } else {
        out.push(Cause::required(at, "must specify a metric name"));
    }
}

fn target(out: &mut Causes, target: &Value, path: &str) {
    let kind = text(&target["type"]);
    if kind.is_empty() {
        out.push(Cause::required(format!("{path}.type"), "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
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

fn raw_value(out: &mut Causes, target: &Value, path: &str, source: &str) {
    let (value, average) = (!target["value"].is_null(), !target["averageValue"].is_null());
    let field = |name: &str| format!("{path}.{name}");
    match source {
        "pods" if !average => {
            out.push(Cause::required(field("averageValue"), "must specify a positive target averageValue"))
        }
        "object" if !value && !average => {
            let why = "must set either a target value or averageValue";
            out.push(Cause::required(field("averageValue"), why));
        }
        "external" if !value && !average => out.push(Cause::required(
            field("averageValue"),
            "must set either a target value for metric or a per-pod target",
        )),
        "external" if value && average => out.push(Cause::forbidden(
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
    if Quantity::from_value(&rules["tolerance"]).is_some_and(Quantity::is_negative) {
        let at = format!("{path}.tolerance");
        out.push(Cause::invalid(at, rules["tolerance"].clone(), NON_NEGATIVE));
    }
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
                    json!({"spec": {"targetCPUUtilizationPercentage": 0}}),
                    &[
                        "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                    ],
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
                    metric(
                        json!({"type": "Pods", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}}),
                    ),
                    &[
                        "spec.metrics[0].pods: Required value: must populate information for the given metric source",
                    ],
                ),
                (
                    metric(json!({"type": "Sum"})),
                    &[
                        "spec.metrics[0].type: Unsupported value: \"Sum\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
                    ],
                ),
                (
                    metric(
                        json!({"type": "ContainerResource", "containerResource": {"name": "gold", "target": {"type": "Utilization", "averageUtilization": 1}}}),
                    ),
                    &[
                        "spec.metrics[0].containerResource.name: Invalid value: \"gold\": must be a standard resource type or fully qualified",
                        "spec.metrics[0].containerResource.name: Invalid value: \"gold\": must be a standard resource for containers",
                        "spec.metrics[0].containerResource.container: Required value: must specify a container",
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
