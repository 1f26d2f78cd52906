//! What typed Go clients send and get: objects, lists, watches and errors as protobuf.

mod unknown;

use bytes::Bytes;
use coracle_apiserver::protobuf::{MEDIA_TYPE, decode, encode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::{
    MAPS,
    harness::{Harness, admin},
    map,
};

const METADATA: &str =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// The code, the Content-Type and the object in the answer.
async fn ask(
    harness: &Harness,
    method: &str,
    path: &str,
    accept: &str,
    body: &Value,
) -> (u16, String, Value) {
    let body = if body.is_null() { Vec::new() } else { encode(body).expect("encodes") };
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header("accept", accept).header("content-type", MEDIA_TYPE);
    let request = request.body(Full::new(Bytes::from(body))).expect("request");
    let (parts, body) = harness.send(Some(admin()), request).await.into_parts();
    let content_type = parts.headers["content-type"].to_str().expect("text").to_owned();
    let bytes = body.collect().await.expect("body").to_bytes();
    let object = match content_type.as_str() {
        MEDIA_TYPE => object(&bytes),
        _ => serde_json::from_slice(&bytes).expect("JSON"),
    };
    (parts.status.as_u16(), content_type, object)
}

fn object(bytes: &[u8]) -> Value {
    decode(bytes, None).expect("decodes")
}

#[tokio::test]
async fn objects_and_errors_are_protobuf_for_who_prefers_it() {
    let harness = Harness::start().await;
    let both = "application/vnd.kubernetes.protobuf,application/json";
    let path = format!("{MAPS}/a");
    let created = ask(&harness, "POST", MAPS, both, &map("a", json!({"k": "v"}))).await;
    assert_eq!((created.0, created.1.as_str(), &created.2["data"]), (201, MEDIA_TYPE, &json!({"k": "v"})));
    let (code, _, read) = ask(&harness, "GET", &path, both, &Value::Null).await;
    assert_eq!((code, read), (200, harness.get(&path).await.expect(200)));
    let (code, media_type, status) = ask(&harness, "GET", &format!("{MAPS}/b"), both, &Value::Null).await;
    assert_eq!((code, media_type.as_str()), (404, MEDIA_TYPE));
    assert_eq!(
        (&status["kind"], &status["reason"], &status["message"], &status["details"]["name"]),
        (&json!("Status"), &json!("NotFound"), &json!("configmaps \"b\" not found"), &json!("b"))
    );
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    assert_eq!(ask(&harness, "DELETE", &path, both, &options).await.0, 409);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let (code, _, status) = ask(&harness, "DELETE", &path, both, &options).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")));
    assert_eq!(ask(&harness, "GET", "/apis/apps/v1", both, &Value::Null).await.2["kind"], "APIResourceList");
}

#[tokio::test]
async fn lists_are_the_same_as_in_json_also_when_they_do_not_fit_into_memory_at_once() {
    let harness = Harness::start().await;
    for at in 0..12 {
        let value = "x".repeat(120_000 + at);
        harness.post(MAPS, map(&format!("m{at}"), json!({"k": value}))).await.expect(201);
    }
    let mut expected = harness.get(MAPS).await.expect(200);
    for item in expected["items"].as_array_mut().into_iter().flatten() {
        // A message does not tell its kind; only the list's envelope does.
        let fields = item.as_object_mut().expect("object");
        fields.retain(|name, _| name != "kind" && name != "apiVersion");
    }
    let (code, _, list) = ask(&harness, "GET", MAPS, MEDIA_TYPE, &Value::Null).await;
    assert_eq!(code, 200);
    assert!(list == expected, "{} and {} items", list["items"].as_array().map_or(0, Vec::len), 12);
    let (_, media_type, list) = ask(&harness, "GET", MAPS, METADATA, &Value::Null).await;
    assert_eq!((media_type.as_str(), &list["kind"]), (MEDIA_TYPE, &json!("PartialObjectMetadataList")));
    assert_eq!(list["items"][3]["metadata"], expected["items"][3]["metadata"]);
    assert!(list["items"][3].get("data").is_none());
    let empty = ask(&harness, "GET", "/api/v1/namespaces/default/secrets", MEDIA_TYPE, &Value::Null).await.2;
    assert_eq!(empty["kind"], "SecretList");
}

#[tokio::test]
async fn watches_are_frames_that_say_their_length() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201);
    let path = format!("{MAPS}?watch=true&resourceVersion=0&timeoutSeconds=1");
    let request = http::Request::builder().uri(path).header("accept", MEDIA_TYPE);
    let request = request.body(Full::new(Bytes::new())).expect("request");
    let response = harness.send(Some(admin()), request).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let bytes = response.into_body().collect().await.expect("body").to_bytes();
    let (length, event) = bytes.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().expect("four")) as usize, event.len());
    assert!(event.starts_with(b"\x0a\x05ADDED"));
    let at = event.windows(4).position(|bytes| bytes == b"k8s\0").expect("an envelope");
    assert_eq!(object(&event[at..])["data"], json!({"k": "v"}));
    let request =
        http::Request::builder().uri(format!("{MAPS}?watch=true")).header("accept", "application/yaml");
    let refused = harness.send(Some(admin()), request.body(Full::new(Bytes::new())).expect("request")).await;
    assert_eq!(refused.status(), 406);
}
