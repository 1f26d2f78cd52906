//! The same object in another version of its API.
//!
//! Two resources are served in more than one version by default: Events (core/v1, events.k8s.io/v1) and
//! HorizontalPodAutoscalers (autoscaling/v1, v2). Everything else is stored in the only version that is served.
//! Custom resources with a conversion webhook are converted by whoever defined them: what may meet one waits for it
//! ([`shown`], [`stored`], [`between`]); after that, what does not wait finds the object converted already.
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/apis/events/v1/conversion.go and
//! https://github.com/kubernetes/kubernetes/tree/master/pkg/apis/autoscaling/v1/conversion.go

use std::{borrow::Cow, sync::Arc};

use coracle_store::{Event, Object};
use serde_json::{Map, Value, json};

use crate::{
    crd::Conversion,
    object::{self, remove},
    registry::Served,
    status::Status,
};

/// Who converts the resource's objects, when that is not this server.
fn webhook(served: &Served) -> Option<&Conversion> {
    served.custom.as_ref()?.conversion.as_deref()
}

/// Whether objects must pass through [`shown`] before they are looked at.
pub fn waits(served: &Served) -> bool {
    webhook(served).is_some()
}

/// A stored object in the version of the request, as far as a webhook makes it.
pub async fn shown(served: &Served, object: Arc<Object>) -> Result<Arc<Object>, Status> {
    if !waits(served) {
        return Ok(object);
    }
    let mut one = shown_all(served, vec![object]).await?;
    one.pop().ok_or_else(|| Status::internal("a converted object is missing"))
}

/// How every stored object begins.
pub fn head(kind: &str, api_version: &str) -> Vec<u8> {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",").into_bytes()
}

/// [`shown`] for many objects, with one question for all of them.
pub async fn shown_all(served: &Served, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>, Status> {
    let Some(conversion) = webhook(served) else { return Ok(objects) };
    let wanted = served.api_version();
    let head = head(&served.api.gvk.kind, &wanted);
    if objects.iter().all(|object| object.json.starts_with(&head)) {
        return Ok(objects);
    }
    let values = objects.iter().map(|object| crate::verbs::decode(object)).collect::<Result<_, _>>()?;
    let converted = conversion.convert(values, &wanted).await?;
    let in_version = |(object, mut value): (Arc<Object>, Value)| {
        if object.json.starts_with(&head) {
            return Ok(object);
        }
        shape(served, &mut value)?;
        let json = serde_json::to_vec(&value).map_err(Status::internal)?;
        Ok(Arc::new(object.in_version(object::meta(&value), json.into())))
    };
    objects.into_iter().zip(converted).map(in_version).collect()
}

/// A change in the version of the request: both states of the object.
pub async fn shown_event(served: &Served, event: Arc<Event>) -> Result<Arc<Event>, Status> {
    if !waits(served) {
        return Ok(event);
    }
    let objects = [Some(event.object.clone()), event.previous.clone()].into_iter().flatten().collect();
    let mut converted = shown_all(served, objects).await?.into_iter();
    let object = converted.next().ok_or_else(|| Status::internal("a converted object is missing"))?;
    Ok(Arc::new(Event { kind: event.kind, object, previous: converted.next() }))
}

/// An object of a request in the version that is stored.
pub async fn stored<'a>(served: &Served, value: &'a Value) -> Result<Cow<'a, Value>, Status> {
    if !served.needs_conversion() {
        return Ok(Cow::Borrowed(value));
    }
    let mut value = value.clone();
    if let Some(conversion) = webhook(served) {
        let wanted = crate::registry::api_version(&served.storage.group, &served.storage.version);
        let mut converted = conversion.convert(vec![value], &wanted).await?;
        let converted = converted.pop().ok_or_else(|| Status::internal("a converted object is missing"))?;
        return Ok(Cow::Owned(converted));
    }
    to_storage(served, &mut value);
    Ok(Cow::Owned(value))
}

/// An object in another version of its resource. What is no object of the resource (Scale, options) stays as it is.
pub async fn between(from: &Served, to: &Served, value: &Value) -> Result<Value, Status> {
    if value["apiVersion"] == to.api_version() || value["kind"] != *from.api.gvk.kind {
        return Ok(value.clone());
    }
    let mut value = bare(from, to, value.clone()).await?;
    if waits(to) {
        shape(to, &mut value)?;
    } else if let (Some(_), Some(schema)) = (&to.custom, &to.schema) {
        schema.default(&mut value);
    }
    Ok(value)
}

/// An object, or parts of one, in another version, neither pruned nor defaulted.
pub async fn bare(from: &Served, to: &Served, mut value: Value) -> Result<Value, Status> {
    if let Some(conversion) = webhook(to) {
        let mut converted = conversion.convert(vec![value], &to.api_version()).await?;
        return converted.pop().ok_or_else(|| Status::internal("a converted object is missing"));
    }
    to_storage(from, &mut value);
    fields_from_storage(to, &mut value);
    value["apiVersion"] = to.api_version().into();
    Ok(value)
}

/// Prunes and defaults what a webhook made.
fn shape(served: &Served, value: &mut Value) -> Result<(), Status> {
    if let Some(schema) = &served.schema {
        schema.prune(value).map_err(Status::internal)?;
        schema.default(value);
    }
    Ok(())
}

pub fn from_storage(served: &Served, object: &mut Value) {
    if !served.needs_conversion() {
        return;
    }
    fields_from_storage(served, object);
    object["apiVersion"] = served.api_version().into();
    // The schema may be another than the object was stored with. What can not be pruned was accepted once.
    if let (Some(_), Some(schema)) = (&served.custom, &served.schema) {
        let _ = schema.prune(object);
        schema.default(object);
    }
}

fn fields_from_storage(served: &Served, object: &mut Value) {
    match (&*served.api.gvk.group, &*served.api.gvk.version) {
        ("events.k8s.io", _) => event_from_core(object),
        ("autoscaling", "v1") => autoscaler_v2_to_v1(object),
        _ => {}
    }
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
