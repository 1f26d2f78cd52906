//! Who may do what, and what is seen of it, on a whole server.

mod access;
mod flow;
#[path = "../harness/mod.rs"]
mod harness;
mod life;
mod nodes;
mod observed;
mod tokens;

use bytes::Bytes;
use harness::{Answer, Harness, answer};
use http_body_util::Full;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// Asks as whoever the headers say.
async fn ask(harness: &Harness, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    let mut builder =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    answer(harness.send(None, builder.body(Full::new(Bytes::from(body))).expect("request")).await).await
}

async fn bearer(harness: &Harness, path: &str, token: &str) -> Answer {
    ask(harness, "GET", path, &[("authorization", &format!("Bearer {token}"))], Value::Null).await
}

/// A token of the service account `app`, which is made first.
async fn token(harness: &Harness, spec: Value) -> String {
    let made = harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.code;
    assert!(made == 201 || made == 409);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = harness.post(&format!("{ACCOUNTS}/app/token"), request).await.expect(201);
    assert!(answer["status"]["expirationTimestamp"].is_string());
    answer["status"]["token"].as_str().expect("token").to_owned()
}

async fn bind(harness: &Harness, role: &str, subject: Value) {
    let api = "rbac.authorization.k8s.io";
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    });
    harness
        .post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding)
        .await
        .expect(201);
}

/// A harness whose server is protected like this.
async fn protected(change: impl FnOnce(&mut coracle_apiserver::Protection, &std::path::Path)) -> Harness {
    Harness::start_with(|config| change(&mut config.protection, &config.data_dir.clone())).await
}
