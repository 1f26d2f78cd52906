//! Server-side apply by managers who write different versions of one object.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::backend::{Backend, Received, reply};
use crate::harness::{Answer, Harness};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// v1alpha1 calls `size` what v1 calls `capacity`.
fn convert(request: &Received) -> Option<http::Response<http_body_util::Full<bytes::Bytes>>> {
    let asked = request.json()["request"].clone();
    let is_new = asked["desiredAPIVersion"] == "example.com/v1";
    let mut objects = asked["objects"].clone();
    for object in objects.as_array_mut().expect("objects") {
        object["apiVersion"] = asked["desiredAPIVersion"].clone();
        if let Some(spec) = object["spec"].as_object_mut() {
            let names = if is_new { ["size", "capacity"] } else { ["capacity", "size"] };
            if let Some(value) = spec.remove(names[0]) {
                spec.insert(names[1].into(), value);
            }
        }
    }
    let response = json!({"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    reply(
        200,
        &json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response}),
    )
}

fn definition(conversion: &Value) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        let spec = json!({"type": "object", "properties": fields});
        json!({"name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tanks.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "tanks", "kind": "Tank"},
            "versions": [version("v1", &["capacity", "color"]), version("v1alpha1", &["size", "color"])],
            "conversion": conversion,
        },
    })
}

fn webhook(backend: &Backend) -> Value {
    json!({"strategy": "Webhook", "webhook": {
        "clientConfig": backend.client("/convert"), "conversionReviewVersions": ["v1"]}})
}

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/tanks/t")
}

async fn apply(harness: &Harness, manager: &str, version: &str, spec: Value) -> Answer {
    let body = json!({"apiVersion": format!("example.com/{version}"), "kind": "Tank",
        "metadata": {"name": "t"}, "spec": spec});
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{}?fieldManager={manager}", path(version));
    harness.ask_with("PATCH", &path, &headers, body.to_string()).await
}

/// `MANAGER VERSION FIELD...` of the spec, one an entry, sorted.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut owners: Vec<String> = entries
        .map(|entry| {
            let version = entry["apiVersion"].as_str().unwrap_or_default().trim_start_matches("example.com/");
            let fields = entry["fieldsV1"]["f:spec"].as_object().into_iter().flatten();
            let fields: Vec<&str> = fields.map(|(field, _)| field.as_str()).collect();
            format!("{} {version} {}", entry["manager"].as_str().unwrap_or_default(), fields.join(" "))
        })
        .collect();
    owners.sort();
    owners
}

async fn start() -> (Harness, Backend) {
    let harness = Harness::start().await;
    let backend = Backend::start(&["localhost"], None, convert).await;
    crate::create(&harness, definition(&webhook(&backend)), "Established=True").await;
    (harness, backend)
}

/// Changes the definition and waits until `version` answers with `code`.
async fn redefine(harness: &Harness, change: impl FnOnce(&mut Value), version: &str, code: u16) {
    let one = format!("{CRDS}/tanks.example.com");
    let mut definition = harness.get(&one).await.expect(200);
    change(&mut definition["spec"]);
    harness.ask("PUT", &one, definition).await.expect(200);
    while harness.get(&path(version)).await.code != code {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_another_manager_applied_in_another_version_is_its_own() {
    let (harness, _backend) = start().await;
    apply(&harness, "old", "v1alpha1", json!({"size": "1", "color": "red"})).await.expect(201);
    let refused = apply(&harness, "new", "v1", json!({"capacity": "2"})).await.expect(409);
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"old\": .spec.size");
    let shared = apply(&harness, "new", "v1", json!({"capacity": "1"})).await.expect(200);
    assert_eq!(owners(&shared), ["new v1 f:capacity", "old v1alpha1 f:color f:size"]);
    let left = apply(&harness, "new", "v1", json!({})).await.expect(200);
    assert_eq!(left["spec"], json!({"capacity": "1", "color": "red"}), "the other one still wants it");
    assert_eq!(owners(&left)[1], "old v1alpha1 f:color f:size");
}

#[tokio::test]
async fn a_manager_that_changes_its_version_gives_up_what_it_no_longer_applies() {
    let (harness, _backend) = start().await;
    apply(&harness, "me", "v1alpha1", json!({"size": "1", "color": "red"})).await.expect(201);
    let same = apply(&harness, "me", "v1", json!({"capacity": "1", "color": "red"})).await.expect(200);
    assert_eq!(owners(&same), ["me v1 f:capacity f:color"]);
    apply(&harness, "me", "v1alpha1", json!({"size": "2", "color": "red"})).await.expect(200);
    apply(&harness, "other", "v1alpha1", json!({"color": "red"})).await.expect(200);
    let gone = apply(&harness, "me", "v1", json!({})).await.expect(200);
    assert_eq!(gone["spec"], json!({"color": "red"}));
    assert_eq!(owners(&gone), ["me v1 ", "other v1alpha1 f:color"]);
}

#[tokio::test]
async fn an_update_takes_what_it_changes_from_managers_of_every_version() {
    let (harness, _backend) = start().await;
    apply(&harness, "old", "v1alpha1", json!({"size": "1", "color": "red"})).await.expect(201);
    let path = format!("{}?fieldManager=editor", path("v1"));
    let updated = harness.ask("PATCH", &path, json!({"spec": {"capacity": "2"}})).await.expect(200);
    assert_eq!(owners(&updated), ["editor v1 f:capacity", "old v1alpha1 f:color"]);
}

#[tokio::test]
async fn without_a_webhook_versions_differ_by_name_alone() {
    let harness = Harness::start().await;
    crate::create(&harness, definition(&json!({"strategy": "None"})), "Established=True").await;
    apply(&harness, "old", "v1alpha1", json!({"color": "red"})).await.expect(201);
    let refused = apply(&harness, "new", "v1", json!({"color": "blue", "capacity": "1"})).await.expect(409);
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"old\": .spec.color");
    let moved = apply(&harness, "old", "v1", json!({"capacity": "1"})).await.expect(200);
    assert_eq!(
        (&moved["spec"], owners(&moved)),
        (&json!({"capacity": "1"}), vec!["old v1 f:capacity".into()])
    );
}

#[tokio::test]
async fn entries_stay_while_their_version_exists_and_go_with_it() {
    let (harness, _backend) = start().await;
    apply(&harness, "old", "v1alpha1", json!({"size": "1"})).await.expect(201);
    redefine(&harness, |spec| spec["versions"][1]["served"] = false.into(), "v1alpha1", 404).await;
    let refused = apply(&harness, "new", "v1", json!({"capacity": "2"})).await.expect(409);
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"old\": .spec.size");
    // The version that comes shows when the change has arrived.
    let replace = |spec: &mut Value| {
        spec["versions"][1] = {
            let mut next = spec["versions"][0].clone();
            (next["name"], next["storage"]) = ("v2".into(), false.into());
            next
        }
    };
    redefine(&harness, replace, "v2", 200).await;
    let applied = apply(&harness, "new", "v1", json!({"capacity": "2"})).await.expect(200);
    assert_eq!(owners(&applied), ["new v1 f:capacity"]);
}

#[tokio::test]
async fn without_an_answer_nothing_is_applied_and_an_update_leaves_the_managers_alone() {
    let harness = Harness::start().await;
    let works = Arc::new(AtomicBool::new(true));
    let answers = works.clone();
    let backend = Backend::start(&["localhost"], None, move |request| {
        if answers.load(Ordering::SeqCst) { convert(request) } else { reply(500, &json!({})) }
    })
    .await;
    crate::create(&harness, definition(&webhook(&backend)), "Established=True").await;
    apply(&harness, "old", "v1alpha1", json!({"size": "1"})).await.expect(201);
    works.store(false, Ordering::SeqCst);
    let refused = apply(&harness, "new", "v1", json!({"capacity": "1"})).await.expect(500);
    let message = refused["message"].as_str().expect("a message");
    assert!(message.starts_with("conversion webhook for example.com/v1, Kind=Tank failed"), "{message}");
    let updated = harness.ask("PATCH", &path("v1"), json!({"spec": {"capacity": "2"}})).await.expect(200);
    assert_eq!(
        (&updated["spec"]["capacity"], owners(&updated)),
        (&json!("2"), vec!["old v1alpha1 f:size".into()])
    );
}

#[tokio::test]
async fn autoscalers_are_compared_in_the_version_of_their_manager() {
    let harness = Harness::start().await;
    let ask = async |version: &str, manager: &str, metrics: Value| {
        let mut body = json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}}});
        body["spec"].as_object_mut().expect("fields").extend(metrics.as_object().expect("fields").clone());
        let headers = [("content-type", "application/apply-patch+yaml")];
        let path = format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a");
        harness.ask_with("PATCH", &format!("{path}?fieldManager={manager}"), &headers, body.to_string()).await
    };
    ask("v1", "old", json!({"targetCPUUtilizationPercentage": 50})).await.expect(201);
    let cpu = |percent: i64| {
        json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}}]})
    };
    let refused = ask("v2", "new", cpu(60)).await.expect(409);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"old\": .spec.targetCPUUtilizationPercentage"
    );
    ask("v2", "new", cpu(50)).await.expect(200);
}
