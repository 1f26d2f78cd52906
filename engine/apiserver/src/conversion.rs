//! The same object in another version of its API.
//!
//! Two resources are served in more than one version by default: Events (core/v1, events.k8s.io/v1) and
//! HorizontalPodAutoscalers (autoscaling/v1, v2). Everything else is stored in the only version that is served.
//! Protobuf's unknown fields are left out between them, but for those of metadata: their numbers are one version's.
//! Custom resources are read with the schema of the version that they are stored in: it prunes them and has the defaults;
//! what another version does not know is left out on the way to it. With a conversion webhook they are converted by
//! whoever defined them: what may meet one waits for it ([`shown`], [`stored`], [`between`]); after that, what does not
//! wait finds the object converted already.
//! Source: `crdConversionRESTOptionsGetter` in
//! https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/customresource_handler.go,
//! https://github.com/kubernetes/kubernetes/tree/master/pkg/apis/events/v1/conversion.go and
//! https://github.com/kubernetes/kubernetes/tree/master/pkg/apis/autoscaling/v1/conversion.go

use std::{borrow::Cow, sync::Arc};

use coracle_store::{Event, Object};
use serde_json::{Map, Value, json};

use crate::{
    crd::{Conversion, Custom},
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
    let (Some(conversion), Some(custom)) = (webhook(served), &served.custom) else { return Ok(objects) };
    if !served.needs_conversion() {
        return Ok(objects);
    }
    let wanted = served.api_version();
    let mut values = Vec::with_capacity(objects.len());
    for object in &objects {
        let mut value = crate::verbs::decode(object)?;
        shape_stored(custom, &mut value);
        values.push(value);
    }
    let head = head(&served.api.gvk.kind, &wanted);
    let converted = conversion.convert(values, &wanted).await?;
    let in_version = |(object, mut value): (Arc<Object>, Value)| {
        if !object.json.starts_with(&head) {
            prune(custom, &wanted, &mut value);
        }
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
        value = converted.pop().ok_or_else(|| Status::internal("a converted object is missing"))?;
    } else {
        to_storage(served, &mut value);
    }
    if let (Some(custom), true) = (&served.custom, served.api.gvk != served.storage) {
        prune(custom, &served.storage.version, &mut value);
    }
    Ok(Cow::Owned(value))
}

/// An object in another version of its resource, as admission sees it: neither pruned nor defaulted. What is no object of
/// the resource (Scale, options) stays as it is.
pub async fn between(from: &Served, to: &Served, value: &Value) -> Result<Value, Status> {
    if value["apiVersion"] == to.api_version() || value["kind"] != *from.api.gvk.kind {
        return Ok(value.clone());
    }
    bare(from, to, value.clone()).await
}

/// What admission made of an object in the version `from`, in that of the request: with the defaults of the one, without
/// what the other does not know.
pub async fn changed(from: &Served, to: &Served, mut value: Value) -> Result<Value, Status> {
    if value["kind"] != *from.api.gvk.kind {
        return Ok(value);
    }
    if let Some(schema) = &from.schema {
        if from.custom.is_none() {
            schema.prune(&mut value).map_err(Status::internal)?;
        }
        schema.default(&mut value);
    }
    let mut value = between(from, to, &value).await?;
    if let Some(schema) = &to.schema {
        schema.prune(&mut value).map_err(Status::internal)?;
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

/// What cannot be pruned was accepted once.
fn prune(custom: &Custom, version: &str, object: &mut Value) {
    if let Some(schema) = custom.schemas.of(version) {
        let _ = schema.prune(object);
    }
}

/// By the schema as it is now of the version that the object is stored in.
fn shape_stored(custom: &Custom, object: &mut Value) {
    if let Some(schema) = object["apiVersion"].as_str().and_then(|version| custom.schemas.of(version)) {
        let _ = schema.prune(object);
        schema.default(object);
    }
}

pub fn from_storage(served: &Served, object: &mut Value) {
    if !served.needs_conversion() || waits(served) {
        return;
    }
    let wanted = served.api_version();
    let is_other = object["apiVersion"] != wanted;
    if let Some(custom) = &served.custom {
        shape_stored(custom, object);
        object["apiVersion"] = wanted.into();
        if is_other {
            prune(custom, &served.api.gvk.version, object);
        }
    } else if is_other {
        fields_from_storage(served, object);
        object["apiVersion"] = wanted.into();
    }
}

fn fields_from_storage(served: &Served, object: &mut Value) {
    match (&*served.api.gvk.group, &*served.api.gvk.version) {
        ("events.k8s.io", _) => event_from_core(object),
        ("autoscaling", "v1") => autoscaler_v2_to_v1(object),
        _ => return,
    }
    forget_unknown(served, object);
}

fn forget_unknown(served: &Served, object: &mut Value) {
    let Some(schema) = &served.schema else { return };
    let metadata = object.get_mut("metadata").map(Value::take);
    schema.forget_unknown(object);
    if let Some(metadata) = metadata {
        object["metadata"] = metadata;
    }
}

pub fn to_storage(served: &Served, object: &mut Value) {
    if !served.needs_conversion() {
        return;
    }
    if served.custom.is_none() {
        forget_unknown(served, object);
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
        if let Some(value) = remove(object, core).filter(|value| *value != "") {
            object[new] = value;
        }
    }
    if object["reportingInstance"] == "" {
        remove(object, "reportingInstance");
    }
}

fn event_to_core(object: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        if let Some(value) = remove(object, new) {
            object[core] = value;
        }
    }
    let always = ["reportingComponent", "reportingInstance"].map(|field| (field, json!("")));
    for (field, empty) in
        ["involvedObject", "source"].map(|field| (field, json!({}))).into_iter().chain(always)
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
    let mut metrics = match take_annotation(object, METRICS) {
        Some(Value::Array(others)) => others,
        _ => Vec::new(),
    };
    let behavior = take_annotation(object, BEHAVIOR);
    let percent = remove_in(object, "spec", "targetCPUUtilizationPercentage");
    // Without any metric it is what v2 defaults to.
    if let Some(percent) = percent.or_else(|| metrics.is_empty().then(|| 80.into())) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    object["spec"]["metrics"] = metrics.into();
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
