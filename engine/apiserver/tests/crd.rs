//! CustomResourceDefinitions and what they define, from creation to deletion.

mod harness;

use harness::Harness;
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 1, "description": "How large it is."},
            "color": {"type": "string", "default": "red", "enum": ["red", "green"]},
            "replicas": {"type": "integer"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"},
        }},
    }}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": {"status": {}, "scale": {
                        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    }},
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                },
                {"name": "v1beta1", "served": true, "storage": false, "schema": schema},
            ],
        },
    })
}

/// Creates a definition and waits until the wanted condition is there.
async fn create(harness: &Harness, definition: Value, condition: &str) -> Value {
    let name = definition["metadata"]["name"].as_str().expect("name").to_owned();
    let mut watch = harness.watch(&format!("{CRDS}?watch=1&fieldSelector=metadata.name%3D{name}")).await;
    harness.post(CRDS, definition).await.expect(201);
    loop {
        let event = watch.next().await.expect("an event");
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions
            .iter()
            .any(|it| format!("{}={}", it["type"], it["status"]).replace('"', "") == condition)
        {
            return event["object"].clone();
        }
    }
}

async fn start() -> Harness {
    let harness = Harness::start().await;
    let established = create(&harness, definition(), "Established=True").await;
    assert_eq!(established["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(
        established["status"]["acceptedNames"],
        json!({"plural": "widgets", "singular": "widget", "shortNames": ["wd"], "kind": "Widget", "listKind": "WidgetList", "categories": ["all"]})
    );
    harness
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn an_established_definition_is_served_and_described_at_once() {
    let harness = start().await;
    let group = harness.get("/apis/example.com").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let resources = harness.get("/apis/example.com/v1").await.expect(200);
    let names: Vec<&str> = resources["resources"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = harness.ask_with("GET", "/apis", &[("accept", accept)], "").await.expect(200);
    assert!(all["items"].as_array().expect("items").iter().any(|it| it["metadata"]["name"] == "example.com"));
    let document = harness.get("/openapi/v3/apis/example.com/v1").await.expect(200);
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["description"], "How large it is.");
    assert!(
        document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"].is_object()
    );
    let whole = harness.get("/openapi/v2").await.expect(200);
    assert!(whole["definitions"]["com.example.v1.Widget"].is_object());
    let index = harness.get("/openapi/v3").await.expect(200);
    assert!(index["paths"]["apis/example.com/v1"].is_object());
}

#[tokio::test]
async fn objects_are_pruned_defaulted_validated_and_watched() {
    let harness = start().await;
    let mut watch = harness.watch(&format!("{WIDGETS}?watch=1")).await;
    let created =
        harness.post(WIDGETS, widget("a", json!({"size": 3, "odd": 1, "free": {"x": 1}}))).await.expect(201);
    assert_eq!(created["spec"], json!({"size": 3, "free": {"x": 1}, "color": "red"}));
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(watch.brief().await, "ADDED a");
    let refused = harness.post(WIDGETS, widget("b", json!({"size": 0, "color": "blue"}))).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message(),
        "Widget.example.com \"b\" is invalid: [spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1, spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\"]"
    );
    let strict =
        harness.post(&format!("{WIDGETS}?fieldValidation=Strict"), widget("b", json!({"odd": 1}))).await;
    assert_eq!(
        strict.message(),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.odd\""
    );
    let missing = harness.post(WIDGETS, json!({"metadata": {"name": "b"}})).await;
    assert_eq!(missing.message(), "Widget.example.com \"b\" is invalid: spec: Required value");
    let one = format!("{WIDGETS}/a");
    let patched = harness.ask("PATCH", &one, json!({"spec": {"size": 4}})).await.expect(200);
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(4), &json!(2)));
    let strategic = harness
        .ask_with("PATCH", &one, &[("content-type", "application/strategic-merge-patch+json")], "{}")
        .await;
    assert_eq!(strategic.code, 415, "{}", strategic.text);
    let without_revision = harness.ask("PUT", &one, widget("a", json!({"size": 5}))).await;
    assert!(
        without_revision.message().contains("must be specified for an update"),
        "{}",
        without_revision.text
    );
    let list = harness.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.expect(200);
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("WidgetList"), Some(1)));
    assert_eq!(list["items"][0]["kind"], "Widget", "custom resources in lists say their kind");
    let list = harness.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dgreen")).await.expect(200);
    assert_eq!(list["items"], json!([]));
    harness.ask("DELETE", &one, Value::Null).await.expect(200);
    assert_eq!(watch.brief().await, "MODIFIED a");
    assert_eq!(watch.brief().await, "DELETED a");
}

#[tokio::test]
async fn status_scale_columns_and_other_versions_work() {
    let harness = start().await;
    let mut object = widget("a", json!({"size": 3, "replicas": 2}));
    object["status"] = json!({"phase": "mine"});
    let created = harness.post(WIDGETS, object).await.expect(201);
    assert!(created.get("status").is_none(), "{created}");
    let one = format!("{WIDGETS}/a");
    let status = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"size": 9}, "status": {"replicas": 1, "selector": "a=b"}});
    let after = harness.ask("PATCH", &format!("{one}/status"), status).await.expect(200);
    assert_eq!((&after["spec"]["size"], &after["metadata"]["generation"]), (&json!(3), &json!(1)));
    assert_eq!((&after["status"]["replicas"], after["metadata"].get("labels")), (&json!(1), None));
    let scale = harness.get(&format!("{one}/scale")).await.expect(200);
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]),
        (&json!(2), &json!({"replicas": 1, "selector": "a=b"}))
    );
    harness.ask("PATCH", &format!("{one}/scale"), json!({"spec": {"replicas": 7}})).await.expect(200);
    let other = harness.get("/apis/example.com/v1beta1/namespaces/default/widgets/a").await.expect(200);
    assert_eq!(
        (&other["apiVersion"], &other["spec"]["replicas"]),
        (&json!("example.com/v1beta1"), &json!(7))
    );
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = harness.ask_with("GET", WIDGETS, &[("accept", accept)], "").await.expect(200);
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(columns, ["Name", "Size", "Age"]);
    assert_eq!((&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]), (&json!("a"), &json!(3)));
}

#[tokio::test]
async fn deleting_a_definition_deletes_its_objects_first() {
    let harness = start().await;
    let mut held = widget("held", json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    harness.post(WIDGETS, held).await.expect(201);
    harness.post(WIDGETS, widget("free", json!({"size": 1}))).await.expect(201);
    let mut definitions = harness.watch(&format!("{CRDS}?watch=1")).await;
    let mut widgets = harness.watch(&format!("{WIDGETS}?watch=1&resourceVersion=0")).await;
    let one = format!("{CRDS}/widgets.example.com");
    let deleted = harness.ask("DELETE", &one, Value::Null).await.expect(200);
    assert_eq!(deleted["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    while widgets.brief().await != "DELETED free" {}
    harness.get(&one).await.expect(200);
    let refused = harness.post(WIDGETS, widget("late", json!({"size": 1}))).await;
    assert_eq!(refused.code, 405, "{}", refused.text);
    harness
        .ask("PATCH", &format!("{WIDGETS}/held"), json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    while definitions.brief().await != "DELETED widgets.example.com" {}
    assert_eq!(harness.get(&one).await.code, 404);
}

#[tokio::test]
async fn names_in_use_are_not_accepted_and_bad_definitions_are_refused() {
    let harness = start().await;
    let mut other = definition();
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    let refused = create(&harness, other, "NamesAccepted=False").await;
    assert_eq!(refused["status"]["conditions"][0]["reason"], "ListKindConflict");
    for (patch, part) in [
        (json!({"spec": {"conversion": {"strategy": "Webhook"}}}), "conversion by Webhook is not supported"),
        (json!({"spec": {"group": "example.org"}}), "must be spec.names.plural+\".\"+spec.group"),
        (json!({"spec": {"scope": "Cluster"}}), "field is immutable"),
    ] {
        let answer = harness.ask("PATCH", &format!("{CRDS}/widgets.example.com"), patch).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.message().contains(part), "{}", answer.text);
    }
}
