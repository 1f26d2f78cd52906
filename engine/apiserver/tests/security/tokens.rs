//! Tokens of service accounts, and reviews of them.

use serde_json::{Value, json};

use crate::{ACCOUNTS, PODS, bearer, bind, harness::Harness, token};

#[tokio::test]
async fn a_service_account_token_may_what_is_bound_and_dies_with_its_account() {
    let harness = Harness::start().await;
    let token = token(&harness, json!({})).await;
    let refused = bearer(&harness, PODS, &token).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "pods is forbidden: User \"system:serviceaccount:default:app\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        )
    );
    bind(&harness, "view", json!({"kind": "ServiceAccount", "name": "app", "namespace": "default"})).await;
    assert_eq!(bearer(&harness, PODS, &token).await.code, 200);
    assert_eq!(bearer(&harness, "/api/v1/namespaces/default/secrets", &token).await.code, 403);
    assert_eq!(bearer(&harness, "/openid/v1/jwks", &token).await.code, 200);
    harness.ask("DELETE", &format!("{ACCOUNTS}/app"), Value::Null).await;
    assert_eq!(bearer(&harness, PODS, &token).await.code, 401);
}

#[tokio::test]
async fn a_token_request_is_for_the_account_that_it_names() {
    let harness = Harness::start().await;
    let account = harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.expect(201);
    let ask = async |metadata: Value, bound: Value| {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": metadata, "spec": {"boundObjectRef": bound}});
        harness.post(&format!("{ACCOUNTS}/app/token"), request).await
    };
    let made = ask(json!({}), Value::Null).await.expect(201);
    assert_eq!(made["metadata"]["uid"], account["metadata"]["uid"]);
    let uid = account["metadata"]["uid"].as_str().expect("uid");
    for (metadata, bound, code, text) in [
        (json!({"name": "x"}), Value::Null, 422, "TokenRequest.authentication.k8s.io \"app\" is invalid: metadata.name: Invalid value: \"x\": must match the service account name if specified".to_owned()),
        (json!({"uid": "x"}), Value::Null, 409, format!("Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"app\": the UID in the token request (x) does not match the UID of the service account ({uid})")),
        (json!({}), json!({"apiVersion": "v1", "kind": "Service", "name": "x"}), 400, "cannot bind token to object of type /v1, Kind=Service".to_owned()),
    ] {
        let refused = ask(metadata, bound).await;
        assert_eq!((refused.code, refused.message()), (code, text));
    }
}

#[tokio::test]
async fn a_token_of_a_pod_names_its_node_whether_or_not_that_is_there() {
    let harness = Harness::start().await;
    harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.expect(201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "app", "nodeName": "gone", "containers": [{"name": "c", "image": "i"}]}});
    harness.post(PODS, pod).await.expect(201);
    let wanted = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    let made = harness.post(&format!("{ACCOUNTS}/app/token"), wanted).await.expect(201);
    let review = json!({"spec": {"token": made["status"]["token"]}});
    let reviewed = harness.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.expect(201);
    let extra = &reviewed["status"]["user"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["gone"]));
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert!(extra["authentication.kubernetes.io/node-uid"].is_null());
}

#[tokio::test]
async fn a_token_of_a_secret_is_good_while_the_secret_holds_it() {
    let harness = Harness::start().await;
    let account = harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.expect(201);
    let uid = account["metadata"]["uid"].as_str().expect("uid").to_owned();
    let account = coracle_apiserver::authn::ObjectRef { name: "app".into(), uid };
    let token = harness.server.secret_token("default", &account, "app-token").expect("signs");
    let review = async || {
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        harness.post(path, json!({"spec": {"token": token}})).await.expect(201)["status"].clone()
    };
    assert_eq!(review().await["error"], "Token has been invalidated");
    let secret = json!({
        "metadata": {"name": "app-token", "annotations": {"kubernetes.io/service-account.name": "app"}},
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": token},
    });
    let secrets = "/api/v1/namespaces/default/secrets";
    let path = &format!("{secrets}/app-token");
    harness.post(secrets, secret).await.expect(201);
    bind(&harness, "view", json!({"kind": "ServiceAccount", "name": "app", "namespace": "default"})).await;
    assert_eq!(bearer(&harness, PODS, &token).await.code, 200);
    let used = harness.get(path).await.expect(200);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    assert_eq!(used["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"], today);
    let reviewed = review().await;
    assert_eq!(reviewed["user"]["username"], "system:serviceaccount:default:app");
    assert_eq!(reviewed["user"]["uid"], account.uid);
    assert_eq!(reviewed["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    let again = harness.get(path).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], used["metadata"]["resourceVersion"], "noted once a day");

    let label =
        |since: Value| json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": since}}});
    harness.ask("PATCH", path, label(json!("2026-01-01"))).await.expect(200);
    let refused = review().await["error"].as_str().unwrap_or_default().to_owned();
    assert!(refused.contains("has been marked invalid"), "{refused}");
    harness.ask("PATCH", path, label(Value::Null)).await.expect(200);
    harness.ask("PATCH", path, json!({"data": {"token": "eA=="}})).await.expect(200);
    assert_eq!(review().await["error"], "Token does not match server's copy");
    harness.ask("PATCH", path, json!({"stringData": {"token": token}})).await.expect(200);
    assert_eq!(bearer(&harness, PODS, &token).await.code, 200);
    harness.ask("DELETE", &format!("{ACCOUNTS}/app"), Value::Null).await.expect(200);
    assert_eq!(review().await["error"], "serviceaccounts \"app\" not found");
    harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.expect(201);
    let refused = review().await["error"].as_str().unwrap_or_default().to_owned();
    assert!(refused.starts_with("ServiceAccount UID ("), "{refused}");
    assert_eq!(bearer(&harness, PODS, &token).await.code, 401);
}

#[tokio::test]
async fn token_reviews_tell_holder_and_audience() {
    let harness = Harness::start().await;
    let token = token(&harness, json!({"audiences": ["vault"], "expirationSeconds": 600})).await;
    assert_eq!(bearer(&harness, PODS, &token).await.code, 401);
    let review = async |spec: Value| {
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        harness.post(path, json!({"spec": spec})).await.expect(201)["status"].clone()
    };
    let good = review(json!({"token": token, "audiences": ["vault", "other"]})).await;
    assert_eq!(good["authenticated"], true);
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:app");
    assert_eq!(good["audiences"], json!(["vault"]));
    let bad = review(json!({"token": token})).await;
    assert!(bad["error"].as_str().is_some_and(|error| error.starts_with("token audiences")), "{bad}");
    assert_ne!(bad["authenticated"], true);
}
