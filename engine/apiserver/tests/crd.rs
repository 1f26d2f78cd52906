//! CustomResourceDefinitions and what they define, from creation to deletion.

mod expressions;
mod extending;
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
    let mut older = schema.clone();
    let fields = older["openAPIV3Schema"]["properties"]["spec"]["properties"].as_object_mut();
    fields.expect("properties").remove("free");
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
                {"name": "v1beta1", "served": true, "storage": false, "schema": older},
            ],
        },
    })
}

/// Creates a definition and waits until the wanted condition is there.
async fn create(harness: &Harness, definition: Value, condition: &str) -> Value {
    let name = definition["metadata"]["name"].as_str().expect("name").to_owned();
    harness.post(CRDS, definition).await.expect(201);
    reached(harness, &name, condition).await
}

async fn reached(harness: &Harness, name: &str, condition: &str) -> Value {
    let mut watch = harness.watch(&format!("{CRDS}?watch=1&fieldSelector=metadata.name%3D{name}")).await;
    let seen = async {
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
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), seen).await.expect(condition)
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
    assert_eq!(schema["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.color"}]));
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
    for (body, text) in [
        (
            json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "b"}}),
            "Widget.example.com \"b\" is invalid: spec: Required value",
        ),
        (
            json!({"metadata": {"name": "b"}}),
            "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in '{\"metadata\":{\"name\":\"b\"}}' ({\"metadata\":{\"name\":\"b\"}})",
        ),
        (
            json!({"kind": "Widget", "metadata": {"name": "b"}}),
            "the API version in the data () does not match the expected API version (example.com/v1)",
        ),
        (
            json!({"kind": "Widget", "apiVersion": "example.com/v7"}),
            "the API version in the data (example.com/v7) does not match the expected API version (example.com/v1)",
        ),
        (
            json!({"kind": "Gadget", "apiVersion": "example.com/v1", "metadata": {"name": "b"}}),
            "Gadget.example.com \"b\" is invalid: kind: Invalid value: \"Gadget\": must be Widget",
        ),
        (
            json!({"kind": "Widget", "apiVersion": "example.com/v1beta1"}),
            "the API version in the data (example.com/v1beta1) does not match the expected API version (example.com/v1)",
        ),
    ] {
        assert_eq!(harness.post(WIDGETS, body).await.message(), text);
    }
    let one = format!("{WIDGETS}/a");
    let patched = harness.ask("PATCH", &one, json!({"spec": {"size": 4}})).await.expect(200);
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(4), &json!(2)));
    let strategic = harness
        .ask_with("PATCH", &one, &[("content-type", "application/strategic-merge-patch+json")], "{}")
        .await;
    assert_eq!(
        strategic.message(),
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
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
    let mut object = widget("a", json!({"size": 3, "replicas": 2, "free": {"x": 1}}));
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
    harness.post(WIDGETS, widget("none", json!({"size": 1}))).await.expect(201);
    let none = harness.get(&format!("{WIDGETS}/none/scale")).await;
    let why = "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist";
    assert_eq!((none.code, none.message().as_str()), (500, why));
    for (form, expected) in
        [("", Some(&json!(""))), ("as=Table;", None), ("as=PartialObjectMetadataList;", None)]
    {
        let accept = format!("application/json;{form}v=v1;g=meta.k8s.io");
        let accept = if form.is_empty() { "application/json" } else { &accept };
        let list = harness.ask_with("GET", WIDGETS, &[("accept", accept)], "").await.expect(200);
        assert_eq!(list["metadata"].get("continue"), expected, "{form}");
    }
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = harness.ask_with("GET", &format!("{one}/scale"), &[("accept", accept)], "").await.expect(200);
    let columns = table["columnDefinitions"].as_array().expect("columns").iter().map(|it| &it["name"]);
    let beta = |form: &str| format!("application/vnd.kubernetes.protobuf;as={form};v=v1beta1;g=meta.k8s.io");
    let scale = async |form: &str| {
        harness.ask_with("GET", &format!("{one}/scale"), &[("accept", &beta(form))], "").await
    };
    let metadata = scale("PartialObjectMetadata").await;
    assert!(
        metadata.text.starts_with("k8s\0\n,\n\u{13}meta.k8s.io/v1beta1\u{12}\u{15}PartialObjectMetadata")
    );
    assert_eq!(
        scale("PartialObjectMetadataList").await.message(),
        "you requested PartialObjectMetadataList, but the requested object is not a list (*v1.Scale)"
    );
    let shown: Vec<(&Value, &Value)> =
        columns.zip(table["rows"][0]["cells"].as_array().expect("cells")).take(3).collect();
    assert_eq!(json!(shown), json!([["Name", "a"], ["Desired", 2], ["Available", 1]]));
    harness.ask("PATCH", &format!("{one}/scale"), json!({"spec": {"replicas": 7}})).await.expect(200);
    let other = harness.get("/apis/example.com/v1beta1/namespaces/default/widgets/a").await.expect(200);
    assert_eq!(
        (&other["apiVersion"], &other["spec"]["replicas"]),
        (&json!("example.com/v1beta1"), &json!(7))
    );
    assert_eq!(
        (other["spec"].get("free"), &created["spec"]["free"]),
        (None, &json!({"x": 1})),
        "pruned by its schema"
    );
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
async fn numbers_come_back_as_go_prints_them() {
    let harness = start().await;
    let body =
        widget("a", json!({"size": 5.0, "free": {"x": 2.0, "y": [1e3, 0.5], "z": 18446744073709551615_u64}}));
    let made = harness.post(WIDGETS, body.clone()).await.expect(201);
    let expected =
        json!({"size": 5, "free": {"x": 2, "y": [1000, 0.5], "z": 1.8446744073709552e19}, "color": "red"});
    assert_eq!(made["spec"], expected);
    let one = format!("{WIDGETS}/a");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{one}?fieldManager=me");
    for patched in [
        harness.ask("PATCH", &one, json!({"spec": {"size": 5.0, "free": {"x": 2.0}}})).await,
        harness.ask_with("PATCH", &path, &headers, body.to_string()).await,
    ] {
        let patched = patched.expect(200);
        assert_eq!((&patched["spec"], &patched["metadata"]["generation"]), (&expected, &json!(1)));
    }
    let definition = harness.get(&format!("{CRDS}/widgets.example.com")).await.expect(200);
    let mut versions = definition["spec"]["versions"].clone();
    let size = &mut versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"];
    *size = json!({"type": "integer", "minimum": 1.0, "description": "How large it is.", "multipleOf": 3.0, "default": 3.0});
    let patch = json!({"spec": {"versions": versions}});
    for _ in 0..2 {
        let changed =
            harness.ask("PATCH", &format!("{CRDS}/widgets.example.com"), patch.clone()).await.expect(200);
        let text = changed.to_string();
        assert!(text.contains("\"minimum\":1,") && text.contains("\"default\":3,"), "{text}");
        assert_eq!(changed["metadata"]["generation"], 2);
    }
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
    let going = harness.get(&one).await.expect(200);
    let conditions = going["status"]["conditions"].as_array().expect("conditions").iter();
    let reason = conditions.filter(|it| it["type"] == "Terminating").map(|it| &it["reason"]).next();
    assert_eq!(reason, Some(&json!("InstanceDeletionInProgress")));
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
async fn names_that_come_free_are_accepted() {
    let harness = start().await;
    for (plural, names) in [
        ("gadgets", json!({"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]})),
        ("gizmos", json!({"plural": "gizmos", "kind": "Widget"})),
    ] {
        let mut waits = definition();
        waits["metadata"]["name"] = format!("{plural}.example.com").into();
        waits["spec"]["names"] = names;
        create(&harness, waits, "NamesAccepted=False").await;
    }
    let holder = format!("{CRDS}/widgets.example.com");
    harness.ask("PATCH", &holder, json!({"spec": {"names": {"shortNames": null}}})).await.expect(200);
    reached(&harness, "gadgets.example.com", "Established=True").await;
    harness.ask("DELETE", &holder, Value::Null).await.expect(200);
    reached(&harness, "gizmos.example.com", "Established=True").await;
}

/// A patch that makes these fields selectable.
fn selectable(paths: &[&str]) -> Value {
    let mut versions = definition()["spec"]["versions"].clone();
    versions[0]["selectableFields"] = paths.iter().map(|path| json!({"jsonPath": path})).collect();
    json!({"spec": {"versions": versions}})
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
        (
            json!({"spec": {"conversion": {"strategy": "Webhook"}}}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            json!({"spec": {"group": "example.org"}}),
            "spec.group: Invalid value: \"example.org\": field is immutable",
        ),
        (json!({"spec": {"scope": "Cluster"}}), "field is immutable"),
        (selectable(&[".spec.color", ".spec.color"]), "Duplicate value: \".spec.color\""),
        (selectable(&[".spec.free"]), "must point to a field of type string, boolean or integer"),
        (selectable(&[".spec.none"]), "is an invalid path: does not refer to a valid field"),
        (selectable(&[".metadata.name"]), "is an invalid path: does not refer to a valid field"),
        (selectable(&[".spec['color']"]), "is an invalid path: array notation is not allowed"),
        (selectable(&["spec.color"]), "is an invalid path: expected [ or . but got: spec"),
    ] {
        let answer = harness.ask("PATCH", &format!("{CRDS}/widgets.example.com"), patch).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.message().contains(part), "{}", answer.text);
    }
}

/// `parts`: a list by name; `tags`: a set; `limits`: atomic; and rules of every sort.
fn ruled() -> Value {
    let rules = json!([
        {"rule": "self.min <= self.max", "message": "min may not exceed max", "fieldPath": ".min"},
        {"rule": "self.min > 0", "reason": "FieldValueForbidden", "messageExpression": "'min is %d'.format([self.min])"},
        {"rule": "self.parts.all(p, p.name != 'bad')"},
        {"rule": "!has(oldSelf.fixed) || has(self.fixed)", "message": "fixed stays"},
        {"rule": "!oldSelf.hasValue() || oldSelf.value().min <= self.min", "optionalOldSelf": true, "message": "min only grows"},
    ]);
    let part = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"},
        "port": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "port is immutable"}]},
        "note": {"type": "string"},
    }});
    json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {
        "type": "object", "x-kubernetes-validations": rules, "properties": {
            "min": {"type": "integer", "default": 1}, "max": {"type": "integer", "default": 9}, "fixed": {"type": "string"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "limits": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
            "parts": {"type": "array", "default": [], "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": part},
        },
    }}}})
}

async fn start_ruled() -> Harness {
    let harness = Harness::start().await;
    let mut definition = definition();
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": ruled()});
    definition["spec"]["versions"] = json!([version]);
    create(&harness, definition, "Established=True").await;
    harness
}

#[tokio::test]
async fn validation_rules_are_enforced_with_the_stock_messages() {
    let harness = start_ruled().await;
    let refused = |message: &str| format!("Widget.example.com \"a\" is invalid: {message}");
    for (spec, message) in [
        (json!({"min": 5, "max": 3}), "spec.min: Invalid value: min may not exceed max"),
        (json!({"min": 0}), "spec: Forbidden: min is 0"),
        (
            json!({"parts": [{"name": "bad"}]}),
            "spec: Invalid value: failed rule: self.parts.all(p, p.name != 'bad')",
        ),
        (
            json!({"min": "x"}),
            "[spec.min: Invalid value: \"string\": spec.min in body must be of type integer: \"string\", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]",
        ),
    ] {
        let answer = harness.post(WIDGETS, widget("a", spec)).await;
        assert_eq!((answer.code, answer.message()), (422, refused(message)));
    }
    let spec = json!({"min": 2, "fixed": "x", "parts": [{"name": "p", "port": 1}, {"name": "q", "port": 2}]});
    harness.post(WIDGETS, widget("a", spec)).await.expect(201);
    let one = format!("{WIDGETS}/a");
    for (patch, message) in [
        (json!({"spec": {"fixed": null}}), "spec: Invalid value: fixed stays"),
        (json!({"spec": {"min": 1}}), "spec: Invalid value: min only grows"),
        // Found by its key, wherever it stands.
        (
            json!({"spec": {"parts": [{"name": "q", "port": 3}, {"name": "p", "port": 1}, {"name": "new", "port": 7}]}}),
            "spec.parts[0].port: Invalid value: 3: port is immutable",
        ),
    ] {
        let answer = harness.ask("PATCH", &one, patch).await;
        assert_eq!((answer.code, answer.message()), (422, refused(message)));
    }
    harness.ask("PATCH", &one, json!({"spec": {"min": 3}})).await.expect(200);
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused_with_the_definition() {
    let harness = start_ruled().await;
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    for (rule, message) in [
        (
            json!({"rule": "self.nope > 0"}),
            format!(
                "{at}.rule: Invalid value: {{\"Rule\":\"self.nope > 0\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:5: undefined field 'nope'\n | self.nope > 0\n | ....^"
            ),
        ),
        (
            json!({"rule": "self.min"}),
            "\"OptionalOldSelf\":null}: cel expression must evaluate to a bool".to_owned(),
        ),
        (json!({"rule": " "}), format!("{at}.rule: Required value: rule is not specified")),
        (
            json!({"rule": "true", "fieldPath": ".none"}),
            format!("{at}.fieldPath: Invalid value: \".none\": must be a valid path"),
        ),
        (
            json!({"rule": "true", "messageExpression": "self.min"}),
            "\"OptionalOldSelf\":null}: messageExpression must evaluate to a string".to_owned(),
        ),
        (json!({"rule": "true", "reason": "Odd"}), format!("{at}.reason: Unsupported value: \"Odd\"")),
    ] {
        let mut schema = ruled();
        schema["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = json!([rule]);
        let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]);
        let answer = harness
            .ask("PATCH", &format!("{CRDS}/widgets.example.com"), json!({"spec": {"versions": versions}}))
            .await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.message().contains(&message), "{message}: {}", answer.message());
    }
    let mut schema = ruled();
    schema["openAPIV3Schema"]["properties"]["spec"]["properties"]["list"]["items"]["x-kubernetes-validations"] =
        json!([{"rule": "self == oldSelf"}]);
    let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]);
    let answer = harness
        .ask("PATCH", &format!("{CRDS}/widgets.example.com"), json!({"spec": {"versions": versions}}))
        .await;
    assert!(
        answer.message().contains("oldSelf cannot be used on the uncorrelatable portion of the schema"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn applying_honours_the_lists_and_maps_of_the_schema() {
    let harness = start_ruled().await;
    let one = format!("{WIDGETS}/a");
    let apply = async |manager: &str, spec: Value| {
        let body = widget("a", spec).to_string();
        let headers = [("content-type", "application/apply-patch+yaml")];
        harness.ask_with("PATCH", &format!("{one}?fieldManager={manager}"), &headers, body).await
    };
    let mine =
        json!({"tags": ["a"], "limits": {"x": "1"}, "list": ["l"], "parts": [{"name": "p", "port": 1}]});
    apply("me", mine).await.expect(201);
    let merged =
        apply("you", json!({"tags": ["b"], "parts": [{"name": "q", "port": 2}, {"name": "p", "note": "n"}]}))
            .await;
    let merged = merged.expect(200);
    assert_eq!(merged["spec"]["tags"], json!(["a", "b"]));
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"name": "q", "port": 2}, {"name": "p", "port": 1, "note": "n"}])
    );
    let entry = merged["metadata"]["managedFields"]
        .as_array()
        .expect("entries")
        .iter()
        .find(|it| it["manager"] == "you");
    assert_eq!(
        entry.expect("an entry")["fieldsV1"]["f:spec"],
        json!({
            "f:parts": {
                "k:{\"name\":\"p\"}": {".": {}, "f:name": {}, "f:note": {}},
                "k:{\"name\":\"q\"}": {".": {}, "f:name": {}, "f:port": {}},
            },
            "f:tags": {"v:\"b\"": {}},
        })
    );
    let refused = apply("you", json!({"tags": ["b"], "limits": {"y": "2"}, "list": ["m"]})).await.expect(409);
    assert_eq!(
        refused["message"],
        "Apply failed with 2 conflicts: conflicts with \"me\":\n- .spec.limits\n- .spec.list"
    );
    // A null is for the schema to judge; where there is a default, it is the default's place.
    for (field, code, text) in [
        (
            "fixed",
            422,
            "spec.fixed: Invalid value: \"null\": spec.fixed in body must be of type string: \"null\"",
        ),
        ("max", 200, ""),
    ] {
        let answer = apply("nobody", json!({field: null})).await;
        assert!(answer.code == code && answer.text.contains(&text.replace('"', "\\\"")), "{}", answer.text);
    }
    // What is no longer applied goes, item by item.
    let left = apply("you", json!({"tags": ["b"]})).await.expect(200);
    assert_eq!(left["spec"]["parts"], json!([{"name": "p", "port": 1}]));
    let twice = apply("you", json!({"parts": [{"name": "p"}, {"name": "p"}]})).await;
    assert!(twice.message().contains("duplicate entries for key [name=\"p\"]"), "{}", twice.text);
}

#[tokio::test]
async fn a_status_that_came_with_the_object_is_nobodys() {
    let harness = Harness::start().await;
    create(&harness, definition(), "Established=True").await;
    let mut widget = widget("w", json!({"size": 1}));
    widget["status"] = json!({"phase": "sent"});
    let created = harness.post(WIDGETS, widget.clone()).await.expect(201);
    let version = created["metadata"]["resourceVersion"].clone();
    widget["metadata"] = json!({"name": "w", "resourceVersion": version, "labels": {"a": "b"}});
    for (key, field) in [("apiVersion", "example.com/v1"), ("kind", "Widget")] {
        widget[key] = field.into();
    }
    let updated = harness.ask("PUT", &format!("{WIDGETS}/w"), widget).await.expect(200);
    for object in [created, updated] {
        for entry in object["metadata"]["managedFields"].as_array().expect("entries") {
            assert!(entry["fieldsV1"].get("f:status").is_none(), "{entry}");
        }
    }
}

#[tokio::test]
async fn finalizers_of_custom_resources_have_any_name() {
    let harness = start().await;
    let mut own = widget("held", json!({}));
    own["metadata"]["finalizers"] = json!(["a.example.com", "b.example.com/c"]);
    let made = harness.post(WIDGETS, own).await;
    assert_eq!(
        made.headers["warning"].to_str().ok(),
        Some(
            "299 - \"metadata.finalizers: \\\"a.example.com\\\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers\""
        )
    );
    made.expect(201);
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let again = harness.ask("PATCH", &format!("{WIDGETS}/held"), labelled).await;
    assert!(again.headers.get("warning").is_none(), "only what is new is warned of");
    again.expect(200);
}
