//! Custom resources in several versions that nobody converts: each version shows what its schema knows.

use serde_json::{Value, json};

use super::conversion::{about, bound};
use crate::harness::Harness;

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/plans")
}

/// v1 is stored. `both` is in either version; `left` has a default in v1, `right` in v2 alone.
async fn start() -> Harness {
    let harness = Harness::start().await;
    let text = json!({"type": "string"});
    let with = |default: &str| json!({"type": "string", "default": default});
    let version = |name: &str, own: &str, left: &Value, right: &Value| {
        json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {
                own: {"type": "string"}, "both": {"type": "string"}, "left": left, "right": right,
            }}},
        }}})
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "plans.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "plans", "kind": "Plan"},
            "versions": [
                version("v1", "first", &with("l"), &text),
                version("v2", "second", &text, &with("r")),
            ],
        },
    });
    crate::create(&harness, definition, "Established=True").await;
    harness
}

fn plan(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Plan", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn an_object_is_read_by_the_schema_that_it_is_stored_with_and_shown_by_that_of_the_request() {
    let harness = start().await;
    let read = async |version: &str, name: &str| {
        harness.get(&format!("{}/{name}", path(version))).await.expect(200)["spec"].clone()
    };
    let mut watch = harness.watch(&format!("{}?watch=1", path("v2"))).await;
    harness.post(&path("v1"), plan("v1", "a", json!({"first": "1", "both": "b"}))).await.expect(201);
    let (stored, shown) =
        (json!({"first": "1", "both": "b", "left": "l"}), json!({"both": "b", "left": "l"}));
    assert_eq!((read("v1", "a").await, read("v2", "a").await), (stored.clone(), shown.clone()));
    let list = harness.get(&path("v2")).await.expect(200);
    assert_eq!(list["items"][0]["spec"], shown);
    assert_eq!(watch.next().await.expect("an event")["object"]["spec"], shown);
    // What the version of a request brings is stored as far as the stored version knows it.
    let made = harness.post(&path("v2"), plan("v2", "b", json!({"second": "2"}))).await.expect(201);
    assert_eq!(made["spec"], json!({"right": "r", "left": "l"}));
    assert_eq!(read("v1", "b").await, json!({"right": "r", "left": "l"}));
    // Until it is written in another version, what that does not know stays.
    harness.ask("PATCH", &format!("{}/a", path("v1")), json!({"spec": {"both": "c"}})).await.expect(200);
    assert_eq!(read("v1", "a").await["first"], "1");
    harness.ask("PATCH", &format!("{}/a", path("v2")), json!({"spec": {"both": "d"}})).await.expect(200);
    assert_eq!(read("v1", "a").await, json!({"both": "d", "right": "r", "left": "l"}));
}

#[tokio::test]
async fn admission_in_another_version_sees_and_keeps_everything() {
    let harness = start().await;
    let spec = about(
        "v2",
        &["CREATE"],
        json!({
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'add', path: '/spec/both', value: object.spec.first + '!'}]"}}],
            "reinvocationPolicy": "Never", "failurePolicy": "Fail",
        }),
    );
    bound(&harness, "mutating", "both", spec, json!({})).await;
    let spec =
        about("v2", &["CREATE"], json!({"validations": [{"expression": "object.spec.first != 'bad'"}]}));
    bound(&harness, "validating", "first", spec, json!({"validationActions": ["Deny"]})).await;
    let made = harness.post(&path("v1"), plan("v1", "a", json!({"first": "1"}))).await.expect(201);
    // The defaults are those of the version in which it was changed.
    assert_eq!(made["spec"], json!({"first": "1", "left": "l", "both": "1!", "right": "r"}));
    let refused = harness.post(&path("v1"), plan("v1", "b", json!({"first": "bad"}))).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
}
