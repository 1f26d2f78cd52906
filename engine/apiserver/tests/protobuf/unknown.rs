//! What a client of a later version says and this one does not know.

use coracle_apiserver::protobuf::MEDIA_TYPE;
use serde_json::{Value, json};

use super::{METADATA, ask};
use crate::harness::Harness;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PATH: &str = "/apis/apps/v1/namespaces/default/deployments/d";
/// Field 999: the number 7, or 8.
const SEVEN: &str = "uD4H";
const EIGHT: &str = "uD4I";
const CONTAINER: &str = "/spec/template/spec/containers/0";
const PLACES: [&str; 4] = ["", "/metadata", "/spec", CONTAINER];

fn deployment() -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    for place in PLACES {
        object.pointer_mut(place).expect("is there")["$unknown"] = SEVEN.into();
    }
    object
}

/// What is at [`PLACES`].
#[track_caller]
fn assert_unknown(object: &Value, expected: [&str; 4], after: &str) {
    let seen =
        PLACES.map(|place| object.pointer(place).expect("is there")["$unknown"].as_str().unwrap_or_default());
    assert_eq!(seen, expected, "after {after}");
}

#[tokio::test]
async fn it_survives_every_way_of_writing_and_belongs_to_nobody() {
    let harness = Harness::start().await;
    let (code, _, created) = ask(&harness, "POST", DEPLOYMENTS, MEDIA_TYPE, &deployment()).await;
    assert_eq!(code, 201, "{created}");
    let all = [SEVEN; 4];
    assert_unknown(&created, all, "a create");
    let read = harness.get(PATH).await.expect(200);
    assert_unknown(&read, all, "a create");
    assert!(read["spec"].to_string().ends_with(r#","$unknown":"uD4H"}"#), "{read}");
    let steps: [(&str, &str, &str, Value); 6] = [
        (
            "PATCH",
            "",
            "application/strategic-merge-patch+json",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "tty": true}]}}}}),
        ),
        ("PATCH", "", "application/merge-patch+json", json!({"metadata": {"labels": {"l": "m"}}})),
        (
            "PATCH",
            "",
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/spec/replicas", "value": 2}]),
        ),
        (
            "PATCH",
            "?fieldManager=f&force=true",
            "application/apply-patch+yaml",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
                "template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}),
        ),
        ("PUT", "?dryRun=All&fieldValidation=Strict", "application/json", Value::Null),
        ("PUT", "?fieldValidation=Strict", "application/json", Value::Null),
    ];
    for (method, query, media_type, body) in steps {
        let after = format!("{method}{query} {media_type}");
        let body = if body.is_null() { harness.get(PATH).await.expect(200) } else { body };
        let headers = [("content-type", media_type)];
        let path = format!("{PATH}{query}");
        let answer = harness.ask_with(method, &path, &headers, body.to_string()).await.expect(200);
        assert_unknown(&answer, all, &after);
        let read = harness.get(PATH).await.expect(200);
        assert_unknown(&read, all, &after);
        assert!(!read["metadata"]["managedFields"].to_string().contains("$unknown"), "{read}");
    }
    // Who writes a status knows nothing of what others put beside it.
    let mut whole = harness.get(PATH).await.expect(200);
    for place in PLACES {
        whole.pointer_mut(place).and_then(Value::as_object_mut).expect("is there").shift_remove("$unknown");
    }
    whole["status"] = json!({"replicas": 1, "$unknown": EIGHT});
    let status = harness.ask("PUT", &format!("{PATH}/status"), whole).await.expect(200);
    assert_unknown(&status, all, "an update of the status");
    assert_eq!(status["status"]["$unknown"], EIGHT);
    let (_, _, read) = ask(&harness, "GET", PATH, MEDIA_TYPE, &Value::Null).await;
    assert_unknown(&read, all, "an update of the status");
    let (_, _, list) = ask(&harness, "GET", DEPLOYMENTS, MEDIA_TYPE, &Value::Null).await;
    assert_unknown(&list["items"][0], all, "a list");
    let (_, _, list) = ask(&harness, "GET", DEPLOYMENTS, METADATA, &Value::Null).await;
    assert_eq!(list["items"][0]["metadata"]["$unknown"], SEVEN);
    assert_eq!(list["items"][0]["$unknown"], Value::Null);
}

#[tokio::test]
async fn who_does_not_know_it_may_leave_it_out_also_where_nothing_may_change() {
    let harness = Harness::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    harness
        .post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}}))
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "i", "$unknown": SEVEN}], "$unknown": SEVEN}});
    assert_eq!(ask(&harness, "POST", pods, MEDIA_TYPE, &pod).await.0, 201);
    let path = format!("{pods}/p");
    let mut read = harness.get(&path).await.expect(200);
    read["metadata"]["labels"] = json!({"l": "m"});
    for place in ["/spec", "/spec/containers/0"] {
        let own = read.pointer_mut(place).and_then(Value::as_object_mut).expect("is there");
        assert!(own.shift_remove("$unknown").is_some(), "{place}");
    }
    let (code, _, changed) = ask(&harness, "PUT", &path, MEDIA_TYPE, &read).await;
    assert_eq!((code, &changed["metadata"]["labels"]), (200, &json!({"l": "m"})), "{changed}");
    assert!(!changed["spec"].to_string().contains("$unknown"), "{changed}");
}

#[tokio::test]
async fn what_is_none_is_refused_when_it_comes() {
    let harness = Harness::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    harness.post(maps, json!({"metadata": {"name": "m"}})).await.expect(201);
    let path = format!("{maps}/m");
    for (unknown, code, says) in [
        (
            json!("uD4"),
            400,
            "cannot be handled as a ConfigMap: $unknown must hold protobuf fields in base64: Invalid padding",
        ),
        (
            json!("uD4="),
            400,
            "cannot be handled as a ConfigMap: $unknown must hold protobuf fields in base64: unexpected EOF",
        ),
        (json!({}), 400, "strict decoding error: unknown field \"$unknown\""),
    ] {
        let object = json!({"metadata": {"name": "n"}, "$unknown": unknown});
        let answer = harness.post(&format!("{maps}?fieldValidation=Strict"), object).await;
        assert_eq!(answer.code, code, "{unknown}: {}", answer.text);
        assert!(answer.message().ends_with(says), "{unknown}: {}", answer.text);
        let patch = json!({"$unknown": unknown});
        let answer = harness.ask("PATCH", &format!("{path}?fieldValidation=Strict"), patch).await;
        assert_eq!(answer.code, 422, "{unknown}: {}", answer.text);
    }
    // Field 2 is `data`.
    let hidden = json!({"$unknown": "EgYKAWsSAXa4Pgc="});
    harness.ask("PATCH", &path, hidden).await.expect(200);
    let (_, _, read) = ask(&harness, "GET", &path, MEDIA_TYPE, &Value::Null).await;
    assert_eq!((&read["$unknown"], &read["data"]), (&json!(SEVEN), &Value::Null));
}

#[tokio::test]
async fn in_another_version_only_what_metadata_has_is_there() {
    let harness = Harness::start().await;
    let [new, core] =
        ["/apis/events.k8s.io/v1", "/api/v1"].map(|group| format!("{group}/namespaces/default/events"));
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default", "$unknown": SEVEN},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "$unknown": SEVEN}, "$unknown": SEVEN});
    assert_eq!(ask(&harness, "POST", &core, MEDIA_TYPE, &event).await.0, 201);
    let read = harness.get(&format!("{core}/e")).await.expect(200);
    assert_eq!([&read["$unknown"], &read["involvedObject"]["$unknown"]], [SEVEN; 2]);
    let (_, _, read) = ask(&harness, "GET", &format!("{new}/e"), MEDIA_TYPE, &Value::Null).await;
    assert_eq!((&read["regarding"]["name"], &read["metadata"]["$unknown"]), (&json!("p"), &json!(SEVEN)));
    assert_eq!([&read["$unknown"], &read["regarding"]["$unknown"]], [&Value::Null; 2]);
}
