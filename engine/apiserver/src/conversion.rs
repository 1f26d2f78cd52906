//! The same object in another version of its API.
//!
//! Two resources are served in more than one version by default: Events (core/v1, events.k8s.io/v1) and
//! HorizontalPodAutoscalers (autoscaling/v1, v2). Everything else is stored in the only version that is served.
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/apis/events/v1/conversion.go and
//! https://github.com/kubernetes/kubernetes/tree/master/pkg/apis/autoscaling/v1/conversion.go

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{object::remove, registry::Served};

pub fn from_storage(served: &Served, object: &mut Value) {
    if !served.needs_conversion() {
        return;
    }
    match (&*served.api.gvk.group, &*served.api.gvk.version) {
        ("events.k8s.io", _) => event_from_core(object),
        ("autoscaling", "v1") => autoscaler_v2_to_v1(object),
        _ => {}
    }
    object["apiVersion"] = served.api_version().into();
    // Defaults may be younger than the object.
    if let (Some(_), Some(schema)) = (&served.custom, &served.schema) {
        schema.default(object);
    }
}

/// In the version that is stored.
pub fn stored<'a>(served: &Served, object: &'a Value) -> Cow<'a, Value> {
    if !served.needs_conversion() {
        return Cow::Borrowed(object);
    }
    let mut stored = object.clone();
    to_storage(served, &mut stored);
    Cow::Owned(stored)
}

pub fn to_storage(served: &Served, object: &mut Value) {
    if !served.needs_conversion() {
        return;
    }
    match (&*served.api.gvk.group, &*served.api.gvk.version) {
        ("events.k8s.io", _) => event_to_core(object),
        ("autoscaling", "v1") => autoscaler_v1_to_v2(object),
        _ => {}
    }
    object["apiVersion"] =
        crate::registry::api_version(&served.storage.group, &served.storage.version).into();
}

/// (core/v1, events.k8s.io/v1)
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn event_from_core(object: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        if let Some(value) = remove(object, core) {
            object[new] = value;
        }
    }
}

fn event_to_core(object: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        if let Some(value) = remove(object, new) {
            object[core] = value;
        }
    }
    for (field, empty) in
        [("involvedObject", json!({})), ("source", json!({})), ("reportingComponent", json!(""))]
    {
        if object[field].is_null() {
            object[field] = empty;
        }
    }
}

/// Where v1 keeps what it has no fields for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn autoscaler_v2_to_v1(object: &mut Value) {
    let mut others = Vec::new();
    if let Some(Value::Array(metrics)) = remove_in(object, "spec", "metrics") {
        for metric in metrics {
            let target = &metric["resource"]["target"];
            let is_cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
            match target["averageUtilization"].as_i64() {
                Some(percent) if is_cpu => object["spec"]["targetCPUUtilizationPercentage"] = percent.into(),
                _ => others.push(metric),
            }
        }
    }
    let behavior = remove_in(object, "spec", "behavior");
    let annotations = [(METRICS, (!others.is_empty()).then_some(Value::Array(others))), (BEHAVIOR, behavior)];
    for (key, value) in annotations {
        if let Some(value) = value {
            crate::object::metadata_mut(object)
                .entry("annotations")
                .or_insert_with(|| Value::Object(Map::new()))[key] = value.to_string().into();
        }
    }
    if object["status"].is_object() {
        object["status"] = status_v2_to_v1(&object["status"]);
    }
}

fn status_v2_to_v1(status: &Value) -> Value {
    let mut out = Map::new();
    for field in ["observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"] {
        if !status[field].is_null() {
            out.insert(field.into(), status[field].clone());
        }
    }
    let cpu = status["currentMetrics"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|metric| metric["resource"]["name"] == "cpu");
    if let Some(percent) = cpu.and_then(|metric| metric["resource"]["current"]["averageUtilization"].as_i64())
    {
        out.insert("currentCPUUtilizationPercentage".into(), percent.into());
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        out.entry(field).or_insert(0.into());
    }
    Value::Object(out)
}

fn autoscaler_v1_to_v2(object: &mut Value) {
    let mut metrics = Vec::new();
    let others = take_annotation(object, METRICS);
    let behavior = take_annotation(object, BEHAVIOR);
    if let Some(percent) = remove_in(object, "spec", "targetCPUUtilizationPercentage") {
        metrics.push(json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}
        }));
    }
    if let Some(Value::Array(others)) = others {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = metrics.into();
    }
    if let Some(behavior) = behavior {
        object["spec"]["behavior"] = behavior;
    }
    if let Some(percent) = remove_in(object, "status", "currentCPUUtilizationPercentage") {
        object["status"]["currentMetrics"] = json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": percent, "averageValue": "0"}}
        }]);
    }
}

/// Takes a field out of a part of the object; a part that is absent stays absent.
fn remove_in(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    remove(object.get_mut(part)?, field)
}

/// JSON kept as text in an annotation.
fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let text = remove_in(object.get_mut("metadata")?, "annotations", key)?;
    serde_json::from_str(text.as_str()?).ok()
}
