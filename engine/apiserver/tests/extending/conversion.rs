//! Custom resources whose versions a webhook converts.

use serde_json::{Value, json};

use super::backend::{Backend, Received, reply};
use crate::harness::Harness;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/sites")
}

/// v1 has `hostPort: a:1`, v2 has `host: a` and `port: "1"`.
fn convert(request: &Received) -> Option<http::Response<http_body_util::Full<bytes::Bytes>>> {
    let asked = request.json()["request"].clone();
    let version = asked["desiredAPIVersion"].clone();
    let mut result = json!({"status": "Success"});
    let mut objects = Vec::new();
    for object in asked["objects"].as_array().expect("objects") {
        let mut next = object.clone();
        next["apiVersion"] = version.clone();
        let fields = next.as_object_mut().expect("an object");
        if version == "example.com/v2" {
            let whole = fields.remove("hostPort").unwrap_or_default();
            let (host, port) = whole.as_str().unwrap_or_default().split_once(':').unwrap_or_default();
            fields.insert("host".into(), host.into());
            fields.insert("port".into(), port.into());
        } else {
            let text =
                |value: Option<Value>| value.unwrap_or_default().as_str().unwrap_or_default().to_owned();
            let whole = format!("{}:{}", text(fields.remove("host")), text(fields.remove("port")));
            fields.insert("hostPort".into(), whole.into());
        }
        if object["metadata"]["annotations"]["cannot"].is_string() {
            result = json!({"status": "Failure", "message": "cannot convert this one"});
        }
        if object["metadata"]["annotations"]["steals"].is_string() {
            next["metadata"]["name"] = "other".into();
        }
        objects.push(next);
    }
    let response = json!({"uid": asked["uid"], "result": result, "convertedObjects": objects});
    reply(
        200,
        &json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response}),
    )
}

fn definition(backend: &Backend, storage: &str) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        let selectable: Vec<Value> =
            fields.iter().map(|field| json!({"jsonPath": format!(".{field}")})).collect();
        json!({"name": name, "served": true, "storage": name == storage, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "sites.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "sites", "kind": "Site"},
            "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": backend.client("/convert"), "conversionReviewVersions": ["v1"]}},
        },
    })
}

fn site(name: &str, host_port: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Site", "metadata": {"name": name}, "hostPort": host_port})
}

async fn start() -> (Harness, Backend) {
    let harness = Harness::start().await;
    let backend = Backend::start(&["localhost"], None, convert).await;
    crate::create(&harness, definition(&backend, "v1"), "Established=True").await;
    (harness, backend)
}

#[tokio::test]
async fn objects_are_read_and_written_in_either_version() {
    let (harness, backend) = start().await;
    let made = harness.post(&path("v1"), site("a", "a:1")).await.expect(201);
    assert_eq!((made["hostPort"].as_str(), backend.received().len()), (Some("a:1"), 0));
    let read = harness.get(&format!("{}/a", path("v2"))).await.expect(200);
    assert_eq!(
        [&read["apiVersion"], &read["host"], &read["port"]],
        [&json!("example.com/v2"), &json!("a"), &json!("1")]
    );
    assert_eq!(read["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let patched = harness.ask("PATCH", &format!("{}/a", path("v2")), json!({"port": "2"})).await.expect(200);
    assert_eq!(
        (&patched["host"], &patched["port"], &patched["metadata"]["generation"]),
        (&json!("a"), &json!("2"), &json!(2))
    );
    assert_eq!(harness.get(&format!("{}/a", path("v1"))).await.expect(200)["hostPort"], "a:2");
    let other = json!({"apiVersion": "example.com/v2", "kind": "Site", "metadata": {"name": "b"}, "host": "b", "port": "7"});
    let made = harness.post(&path("v2"), other).await.expect(201);
    assert_eq!([&made["host"], &made["port"]], [&json!("b"), &json!("7")]);
    let stored = harness.get(&format!("{}/b", path("v1"))).await.expect(200);
    assert_eq!((stored["hostPort"].as_str(), stored.get("host")), (Some("b:7"), None));
    let deleted = harness.ask("DELETE", &format!("{}/b", path("v2")), Value::Null).await;
    assert_eq!(deleted.code, 200, "{}", deleted.text);
}

#[tokio::test]
async fn lists_of_mixed_versions_and_watches_are_converted_and_then_selected() {
    let (harness, backend) = start().await;
    harness.post(&path("v1"), site("a", "a:1")).await.expect(201);
    let one = format!("{CRDS}/sites.example.com");
    let mut changed = definition(&backend, "v2");
    changed["metadata"]["resourceVersion"] =
        harness.get(&one).await.expect(200)["metadata"]["resourceVersion"].clone();
    harness.ask("PUT", &one, changed).await.expect(200);
    let mut definitions = harness.watch(&format!("{CRDS}?watch=1")).await;
    // The new storage version is there once the status says so.
    while definitions.next().await.expect("an event")["object"]["status"]["storedVersions"]
        != json!(["v1", "v2"])
    {}
    let other = json!({"apiVersion": "example.com/v2", "kind": "Site", "metadata": {"name": "b"}, "host": "b", "port": "2"});
    harness.post(&path("v2"), other).await.expect(201);
    let list = harness.get(&path("v2")).await.expect(200);
    let hosts: Vec<&Value> =
        list["items"].as_array().expect("items").iter().map(|item| &item["host"]).collect();
    assert_eq!(hosts, ["a", "b"]);
    let list = harness.get(&format!("{}?fieldSelector=host%3Da", path("v2"))).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let mut watch = harness.watch(&format!("{}?watch=1&fieldSelector=host%3Da", path("v2"))).await;
    let first = watch.next().await.expect("an event");
    assert_eq!([&first["type"], &first["object"]["host"]], ["ADDED", "a"]);
    harness.ask("PATCH", &format!("{}/a", path("v1")), json!({"hostPort": "a:9"})).await.expect(200);
    let second = watch.next().await.expect("an event");
    assert_eq!([&second["type"], &second["object"]["port"]], ["MODIFIED", "9"]);
    harness.ask("PATCH", &format!("{}/a", path("v1")), json!({"hostPort": "c:9"})).await.expect(200);
    assert_eq!(watch.brief().await, "DELETED a");
}

#[tokio::test]
async fn a_conversion_that_fails_or_overreaches_is_refused() {
    let (harness, _backend) = start().await;
    for (annotation, why) in [
        ("cannot", "conversion webhook for example.com/v1, Kind=Site failed: cannot convert this one"),
        (
            "steals",
            "conversion webhook for example.com/v1, Kind=Site returned invalid object: must have the same name: steals != other",
        ),
    ] {
        let mut bad = site(annotation, "a:1");
        bad["metadata"]["annotations"] = json!({annotation: ""});
        harness.post(&path("v1"), bad).await.expect(201);
        let refused = harness.get(&format!("{}/{annotation}", path("v2"))).await;
        assert_eq!((refused.code, refused.message()), (500, why.to_owned()));
    }
}

/// `spec` of a policy about custom resources as `version` has them.
pub fn about(version: &str, operations: &[&str], mut spec: Value) -> Value {
    spec["matchConstraints"] = json!({"resourceRules": [{
        "operations": operations, "apiGroups": ["example.com"], "apiVersions": [version],
        "resources": ["*"],
    }]});
    spec
}

pub async fn bound(harness: &Harness, kind: &str, name: &str, spec: Value, binding: Value) {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    harness.post(&format!("{group}/{kind}admissionpolicies"), policy).await.expect(201);
    let mut binding = json!({"metadata": {"name": name}, "spec": binding});
    binding["spec"]["policyName"] = name.into();
    harness.post(&format!("{group}/{kind}admissionpolicybindings"), binding).await.expect(201);
}

#[tokio::test]
async fn policies_and_webhooks_see_the_version_that_they_name() {
    let (harness, backend) = start().await;
    let spec = about(
        "v2",
        &["CREATE"],
        json!({
            "mutations": [{"patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{port: object.port + '0'}"}}],
            "reinvocationPolicy": "Never", "failurePolicy": "Fail",
        }),
    );
    bound(&harness, "mutating", "ports", spec, json!({})).await;
    let spec = about(
        "v2",
        &["CREATE", "DELETE"],
        json!({"validations": [{"expression": "request.operation == 'DELETE' ? oldObject.host != 'kept' : object.host != 'bad'",
            "messageExpression": "request.kind.version"}]}),
    );
    bound(&harness, "validating", "hosts", spec, json!({"validationActions": ["Deny"]})).await;
    let made = harness.post(&path("v1"), site("a", "a:1")).await.expect(201);
    assert_eq!((&made["apiVersion"], &made["hostPort"]), (&json!("example.com/v1"), &json!("a:10")));
    let refused = harness.post(&path("v1"), site("b", "bad:1")).await;
    assert!(refused.code == 422 && refused.message().ends_with("denied request: v2"), "{}", refused.text);
    harness.post(&path("v1"), site("kept", "kept:1")).await.expect(201);
    for version in ["v1", "v2"] {
        let one = format!("{}/kept", path(version));
        assert_eq!(harness.ask("DELETE", &one, Value::Null).await.code, 422, "{version}");
    }
    // A condition of a webhook is put to the version that its rule names.
    let hook = json!({"metadata": {"name": "h"}, "webhooks": [{
        "name": "h.example.com", "clientConfig": {"url": "https://localhost:1/x", "caBundle": backend.ca},
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["sites"]}],
        "matchConditions": [{"name": "c", "expression": "object.host == 'asked'"}],
    }]});
    harness
        .post("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", hook)
        .await
        .expect(201);
    harness.post(&path("v1"), site("c", "c:1")).await.expect(201);
    assert_eq!(harness.post(&path("v1"), site("d", "asked:1")).await.code, 500);
}

#[tokio::test]
async fn every_use_of_a_deprecated_version_is_told() {
    let harness = Harness::start().await;
    let backend = Backend::start(&["localhost"], None, convert).await;
    let mut definition = definition(&backend, "v1");
    definition["spec"]["versions"][1]["deprecated"] = true.into();
    crate::create(&harness, definition, "Established=True").await;
    let text = "299 - \"example.com/v2 Site is deprecated\"";
    for (version, name, code, expected) in
        [("v1", "", 200, None), ("v2", "", 200, Some(text)), ("v2", "/none", 404, Some(text))]
    {
        let answer = harness.get(&format!("{}{name}", path(version))).await;
        let told = answer.headers.get("warning").map(|text| text.to_str().expect("text"));
        assert_eq!((answer.code, told), (code, expected), "{version}{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_converted_is_not_deleted_either() {
    let (harness, _backend) = start().await;
    let mut bad = site("cannot", "a:1");
    bad["metadata"]["annotations"] = json!({"cannot": ""});
    harness.post(&path("v1"), bad).await.expect(201);
    let refused = harness.ask("DELETE", &format!("{}/cannot", path("v2")), Value::Null).await;
    assert_eq!(refused.code, 500, "{}", refused.text);
    harness.get(&format!("{}/cannot", path("v1"))).await.expect(200);
    harness.ask("DELETE", &format!("{}/cannot", path("v1")), Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_definition_goes_whoever_has_an_opinion_on_its_objects() {
    // The stored version is neither the preferred one nor, the second time, served.
    for served in [true, false] {
        let harness = Harness::start().await;
        let backend = Backend::start(&["localhost"], None, convert).await;
        let mut definition = definition(&backend, "v1");
        definition["spec"]["versions"][0]["served"] = served.into();
        crate::create(&harness, definition, "Established=True").await;
        let body = json!({"apiVersion": "example.com/v2", "kind": "Site", "metadata": {"name": "a"}, "host": "a", "port": "1"});
        harness.post(&path("v2"), body).await.expect(201);
        let spec = about("*", &["DELETE"], json!({"validations": [{"expression": "false"}]}));
        bound(&harness, "validating", "never", spec, json!({"validationActions": ["Deny"]})).await;
        drop(backend);
        let one = format!("{CRDS}/sites.example.com");
        let mut definitions = harness.watch(&format!("{CRDS}?watch=1")).await;
        harness.ask("DELETE", &one, Value::Null).await.expect(200);
        while definitions.brief().await != "DELETED sites.example.com" {}
    }
}
