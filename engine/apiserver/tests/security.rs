//! Who may do what, on a whole server: tokens, reviews, impersonation, escalation, client certificates over TLS.

mod harness;

use bytes::Bytes;
use coracle_apiserver::{ApiServer, Config};
use coracle_store::{Store, StoreConfig};
use harness::{Answer, Harness, answer};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

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

#[tokio::test]
async fn anonymous_requests_reach_health_and_version_alone() {
    let harness = Harness::start().await;
    for (path, code) in [("/livez", 200), ("/version", 200), ("/api", 403), ("/metrics", 403), (PODS, 403)] {
        assert_eq!(ask(&harness, "GET", path, &[], Value::Null).await.code, code, "{path}");
    }
    let refused = bearer(&harness, "/version", "no-token").await;
    assert_eq!((refused.code, refused.message().as_str()), (401, "Unauthorized"));
}

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

#[tokio::test]
async fn access_reviews_answer_for_oneself_and_for_others() {
    let harness = Harness::start().await;
    bind(&harness, "edit", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let attributes =
        |verb: &str, resource: &str| json!({"namespace": "default", "verb": verb, "resource": resource});
    let group = "/apis/authorization.k8s.io/v1";
    let as_jane = [("impersonate-user", "jane")];
    for (verb, resource, allowed) in
        [("delete", "pods", true), ("create", "nodes", false), ("get", "secrets", true)]
    {
        let spec = json!({"spec": {"resourceAttributes": attributes(verb, resource)}});
        let own = harness
            .ask_with("POST", &format!("{group}/selfsubjectaccessreviews"), &as_jane, spec.to_string())
            .await
            .expect(201);
        assert_eq!(own["status"]["allowed"], allowed, "{verb} {resource}");
        let mut spec = spec;
        spec["spec"]["user"] = "jane".into();
        let other = harness.post(&format!("{group}/subjectaccessreviews"), spec).await.expect(201);
        assert_eq!(other["status"]["allowed"], allowed, "{verb} {resource}");
    }
    let rules = harness
        .ask_with(
            "POST",
            &format!("{group}/selfsubjectrulesreviews"),
            &as_jane,
            r#"{"spec":{"namespace":"default"}}"#,
        )
        .await
        .expect(201);
    assert_eq!(rules["status"]["incomplete"], false);
    assert!(rules["status"]["resourceRules"].as_array().is_some_and(|rules| rules.len() > 5));
    let who = harness
        .ask_with("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &as_jane, "{}")
        .await
        .expect(201);
    assert_eq!(who["status"]["userInfo"], json!({"username": "jane", "groups": ["system:authenticated"]}));
    let neither =
        harness.post(&format!("{group}/subjectaccessreviews"), json!({"spec": {"user": "jane"}})).await;
    assert_eq!(neither.code, 422, "{}", neither.text);
    let selector = json!({"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]});
    let attributes =
        json!({"verb": "list", "resource": "pods", "fieldSelector": selector, "labelSelector": {}});
    let review = json!({"spec": {"resourceAttributes": attributes}});
    let refused = harness.post(&format!("{group}/selfsubjectaccessreviews"), review).await;
    assert_eq!(
        refused.message(),
        "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements, spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required]"
    );
}

#[tokio::test]
async fn nobody_becomes_or_grants_more_than_allowed() {
    let harness = Harness::start().await;
    bind(&harness, "admin", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let token = token(&harness, json!({})).await;
    let headers = [("authorization", format!("Bearer {token}")), ("impersonate-user", "jane".into())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let refused = ask(&harness, "GET", PODS, &headers, Value::Null).await;
    assert_eq!(
        refused.message(),
        "pods is forbidden: User \"system:serviceaccount:default:app\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    for (resource, code) in [("configmaps", 201), ("nodes", 403)] {
        let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
        let role = json!({"metadata": {"name": resource}, "rules": rules});
        let headers = [("impersonate-user", "jane"), ("content-type", "application/json")];
        let made = harness.ask_with("POST", roles, &headers, role.to_string()).await;
        assert_eq!(made.code, code, "{}", made.text);
        if code == 403 {
            assert!(made.message().contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"), "{}", made.text);
        }
    }
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A ClusterRole of these rules (group, resource, verb), for the User or `NAMESPACE/NAME` of a service account; in the
/// whole cluster when no namespace is given.
async fn grant(harness: &Harness, name: &str, namespace: &str, subject: Value, rules: &[[&str; 3]]) {
    let rule = |[group, resource, verb]: &[&str; 3]| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    harness
        .post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": name}, "rules": rules}))
        .await
        .expect(201);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]});
    let path = match namespace {
        "" => format!("{RBAC}/clusterrolebindings"),
        namespace => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
    };
    harness.post(&path, binding).await.expect(201);
}

#[tokio::test]
async fn impersonation_may_be_limited_to_what_is_done_meanwhile() {
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let harness = Harness::start().await;
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    bind(&harness, "admin", user("jane")).await;
    let token = token(&harness, json!({})).await;
    let app = json!({"kind": "ServiceAccount", "name": "app", "namespace": "default"});
    let identity = [[AUTHENTICATION, "users", "impersonate:user-info"]];
    grant(&harness, "identity", "", app.clone(), &identity).await;
    grant(&harness, "action", "default", app, &[["", "pods", "impersonate-on:user-info:list"]]).await;
    let bearer = format!("Bearer {token}");
    let as_jane = async |method: &str, path: &str, group: Option<&str>| {
        let mut headers = vec![("authorization", bearer.as_str()), ("impersonate-user", "jane")];
        headers.extend(group.map(|group| ("impersonate-group", group)));
        let answer = ask(&harness, method, path, &headers, json!({})).await;
        (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(as_jane("GET", PODS, None).await, (200, String::new()));
    let maps = "/api/v1/namespaces/default/configmaps";
    let (code, text) = as_jane("GET", maps, None).await;
    assert_eq!(code, 403);
    assert!(text.contains("cannot impersonate-on:user-info:list resource \"configmaps\""), "{text}");
    let (code, text) = as_jane("GET", PODS, Some("devs")).await;
    assert_eq!(code, 403);
    assert!(
        text.contains(
            "cannot impersonate:user-info resource \"groups\" in API group \"authentication.k8s.io\""
        ),
        "{text}"
    );
    let (_, text) = as_jane("GET", PODS, Some("system:masters")).await;
    assert!(text.ends_with("impersonating the system:masters group is not allowed"), "{text}");
}

#[tokio::test]
async fn the_status_of_a_claim_is_written_by_those_whom_its_parts_belong_to() {
    const GROUP: &str = "resource.k8s.io";
    let harness = Harness::start().await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let requests = json!([{"name": "r", "exactly": {"deviceClassName": "c"}}]);
    let claim = json!({"metadata": {"name": "claim"}, "spec": {"devices": {"requests": requests}}});
    harness.post(claims, claim).await.expect(201);
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    for (name, right) in [
        ("nobody", [GROUP, "resourceclaims/status", "patch"]),
        ("scheduler", [GROUP, "resourceclaims/binding", "patch"]),
        ("driver", [GROUP, "resourceclaims/driver", "arbitrary-node:patch"]),
    ] {
        grant(&harness, name, "", user(name), &[[GROUP, "resourceclaims/status", "patch"], right]).await;
    }
    let device = json!({"driver": "d.example.com", "pool": "p", "device": "x"});
    let mut result = device.clone();
    result["request"] = "r".into();
    let allocation = json!({"status": {"allocation": {"devices": {"results": [result]}}}});
    let said = json!({"status": {"devices": [device]}});
    let binding = "status: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: resourceclaims.resource.k8s.io is forbidden: User \"NAME\" cannot patch resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope";
    let driver = "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" permission: resourceclaims.resource.k8s.io \"d.example.com\" is forbidden: User \"NAME\" cannot arbitrary-node:patch resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"default\"";
    for (name, patch, why) in [
        ("nobody", &allocation, binding),
        ("driver", &allocation, binding),
        ("scheduler", &allocation, ""),
        ("nobody", &said, driver),
        ("scheduler", &said, driver),
        ("driver", &said, ""),
    ] {
        let headers = [("impersonate-user", name), ("content-type", "application/merge-patch+json")];
        let answer =
            harness.ask_with("PATCH", &format!("{claims}/claim/status"), &headers, patch.to_string()).await;
        let (code, expected) = match why {
            "" => (200, String::new()),
            why => (
                422,
                format!("ResourceClaim.resource.k8s.io \"claim\" is invalid: {}", why.replace("NAME", name)),
            ),
        };
        assert_eq!((answer.code, answer.message()), (code, expected), "{name}");
    }
}

#[tokio::test]
async fn a_backup_is_for_those_who_may_read_everything_and_is_whole() {
    let harness = Harness::start().await;
    let backup = "/coracle/backup";
    let token = token(&harness, json!({})).await;
    assert_eq!(ask(&harness, "GET", backup, &[], Value::Null).await.code, 403);
    assert_eq!(bearer(&harness, backup, &token).await.code, 403);
    // The path alone is not enough: what is behind it are all Secrets.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let mut role =
        json!({"metadata": {"name": "paths"}, "rules": [{"nonResourceURLs": ["*"], "verbs": ["get"]}]});
    let made = harness.post(&format!("{rbac}/clusterroles"), role.clone()).await.expect(201);
    let binding = json!({
        "metadata": {"name": "paths"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "paths"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": "default"}],
    });
    harness.post(&format!("{rbac}/clusterrolebindings"), binding).await.expect(201);
    assert_eq!(bearer(&harness, "/metrics", &token).await.code, 200);
    let refused = bearer(&harness, backup, &token).await;
    assert_eq!(refused.code, 403);
    assert!(refused.message().contains("cannot list resource \"*\" in API group \"*\""), "{}", refused.text);
    role["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    role["rules"].as_array_mut().expect("rules").push(everything);
    harness.ask("PUT", &format!("{rbac}/clusterroles/paths"), role).await.expect(200);

    let large = json!({"metadata": {"name": "large"}, "data": {"a": "x".repeat(200_000)}});
    harness.post("/api/v1/namespaces/default/configmaps", large).await.expect(201);
    let revision = harness.store.reader().revision();
    let answer = bearer(&harness, backup, &token).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let mut reader = coracle_backup::Reader::open(answer.text.as_bytes()).expect("a header");
    assert_eq!(reader.header().revision, revision.0);
    let snapshot = harness.store.reader().snapshot();
    let mut found = Vec::new();
    while let Some(line) = reader.next_line().expect("whole") {
        let coracle_backup::Line::Object(line) = line else { panic!("only objects") };
        found.push((
            format!("{}/{}/{}", line.resource, line.namespace, line.name),
            line.json.get().to_owned(),
        ));
    }
    let expected: Vec<(String, String)> = snapshot
        .resources()
        .into_iter()
        .flat_map(|(resource, _)| {
            snapshot.list(&coracle_store::Scope::all(resource)).cloned().collect::<Vec<_>>()
        })
        .map(|object| {
            let key = &object.key;
            let name = format!("{}/{}/{}", key.resource, key.namespace, key.name);
            (name, String::from_utf8_lossy(&object.json).into_owned())
        })
        .collect();
    assert!(found == expected, "{} objects of {}", found.len(), expected.len());
    assert_eq!(
        ask(&harness, "POST", backup, &[("authorization", &format!("Bearer {token}"))], json!({})).await.code,
        403
    );
}

#[tokio::test]
async fn the_admin_kubeconfig_works_over_tls_and_a_restart_writes_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store_config =
        StoreConfig { dir: dir.path().join("store"), encrypted: Vec::new(), history_events: 1000 };
    let store = Store::open(store_config).await.expect("store opens");
    let mut config = Config {
        data_dir: dir.path().to_owned(),
        bind: "127.0.0.1:0".parse().expect("address"),
        node_ip: "127.0.0.1".parse().expect("address"),
        node_name: "node-1".into(),
        extra_sans: Vec::new(),
        service_cidr: "10.43.0.0/16".parse().expect("network"),
        cluster_domain: "cluster.local".into(),
        node_port_range: 30000..=32767,
        protection: coracle_apiserver::Protection::default(),
    };
    let server = std::sync::Arc::new(ApiServer::build(config.clone(), &store).await.expect("server builds"));
    config.bind = server.address();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.clone().serve(stop.clone()));
    let kubeconfig = server.admin_kubeconfig(None, None).expect("kubeconfig");
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig).expect("written");
    let (_, client) = coracle_client::from_kubeconfig(&path).expect("client");
    let namespaces =
        kube::Api::<Namespace>::all(client.clone()).list(&Default::default()).await.expect("lists");
    assert_eq!(namespaces.items.len(), 4);
    drop(client);
    assert_eq!(answer_to_huge_headers(&server).await, "HTTP/1.1 431 Request Header Fields Too Large");
    stop.cancel();
    serving.await.expect("ends");
    drop(server);

    let before = store.reader().revision();
    ApiServer::build(config, &store).await.expect("server builds again");
    assert_eq!(store.reader().revision(), before);
}

#[tokio::test]
async fn at_stop_requests_in_flight_end_well_and_connections_without_one_go_at_once() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

    let harness = Harness::start().await;
    let token = token(&harness, json!({})).await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(harness.server.clone().serve(stop.clone()));
    // Accepted before the request comes, it never says anything.
    let mut silent = tokio::net::TcpStream::connect(harness.server.address()).await.expect("connects");
    let (read, mut write) = tokio::io::split(connect(&harness.server).await);
    let body = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;
    let (begin, rest) = body.split_at(9);
    let head = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nhost: kubernetes\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{begin}",
        body.len()
    );
    write.write_all(head.as_bytes()).await.expect("sent");
    write.flush().await.expect("sent");
    let in_flight = "apiserver_current_inflight_requests{request_kind=\"mutating\"} 1\n";
    while !harness.get("/metrics").await.text.contains(in_flight) {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    assert_eq!(silent.read(&mut [0]).await.expect("an orderly end"), 0);
    write.write_all(rest.as_bytes()).await.expect("sent");
    write.flush().await.expect("sent");
    let mut line = String::new();
    tokio::io::BufReader::new(read).read_line(&mut line).await.expect("an answer");
    assert_eq!(line, "HTTP/1.1 201 Created\r\n");
    serving.await.expect("ends");
}

async fn connect(server: &ApiServer) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use rustls::pki_types::pem::PemObject;

    let ca =
        rustls::pki_types::CertificateDer::from_pem_slice(server.ca_pem().as_bytes()).expect("authority");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let stream = tokio::net::TcpStream::connect(server.address()).await.expect("connects");
    let name = rustls::pki_types::ServerName::try_from("kubernetes").expect("name");
    connector.connect(name, stream).await.expect("handshake")
}

/// The first line of the answer to a megabyte of headers.
async fn answer_to_huge_headers(server: &ApiServer) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

    let (read, mut write) = tokio::io::split(connect(server).await);
    let head = format!("GET /version HTTP/1.1\r\nhost: kubernetes\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    // The server may close before it has read everything.
    let sending = tokio::spawn(async move { drop(write.write_all(head.as_bytes()).await) });
    let mut line = String::new();
    tokio::io::BufReader::new(read).read_line(&mut line).await.expect("an answer");
    drop(sending.await);
    line.trim_end().to_owned()
}

/// A harness whose server is protected like this.
async fn protected(change: impl FnOnce(&mut coracle_apiserver::Protection, &std::path::Path)) -> Harness {
    Harness::start_with(|config| change(&mut config.protection, &config.data_dir.clone())).await
}

#[tokio::test]
async fn metrics_have_the_stock_series_and_count_each_request_once() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let maps = "/api/v1/namespaces/default/configmaps";
    harness.server.add_metrics(std::sync::Arc::new(|page: &mut String| {
        page.push_str(
            "# HELP workqueue_depth x\n# TYPE workqueue_depth gauge\nworkqueue_depth{name=\"x\"} 0\n",
        );
    }));
    harness.post(maps, json!({"metadata": {"name": "a"}})).await.expect(201);
    harness.post(maps, json!({"metadata": {"name": "a"}})).await.expect(409);
    assert_eq!(harness.get("/api/v1/namespaces/default/nothings").await.code, 404);
    let mut watch = harness.watch(&format!("{maps}?watch=true")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    let page = harness.get("/metrics").await.text;
    let labels = |code: u16, verb: &str, scope: &str| {
        format!(
            "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"{scope}\",subresource=\"\",verb=\"{verb}\",version=\"v1\"}} 1\n"
        )
    };
    let gauge = "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
    for line in [
        labels(201, "POST", "resource"),
        labels(409, "POST", "resource"),
        format!("{gauge} 1\n"),
        "apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"} 1\n".into(),
        "apiserver_storage_objects{resource=\"configmaps\"} 3\n".into(),
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n".into(),
        "authorization_attempts_total{result=\"denied\"} 0\n".into(),
        "process_open_fds ".into(),
        "etcd_request_duration_seconds_count{group=\"\",operation=\"create\",resource=\"configmaps\"} 4\n".into(),
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"validate\"} ".into(),
        "apiserver_admission_controller_admission_duration_seconds_count{name=\"NamespaceLifecycle\",operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ".into(),
        "apiserver_request_sli_duration_seconds_count{component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\",verb=\"POST\",version=\"v1\"} 2\n".into(),
        "workqueue_depth{name=\"x\"} 0\n".into(),
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"workload-low\"} 245\n".into(),
    ] {
        assert!(page.contains(&line), "{line}{page}");
    }
    assert!(!page.contains("nothings"), "{page}");
    drop(watch);
    let page = harness.get("/metrics").await.text;
    assert!(page.contains(&format!("{gauge} 0\n")), "{page}");
    // Every family is described once, and every line has its family above it.
    let mut families = std::collections::HashSet::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
            assert!(families.insert(name.to_owned()), "{name} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = families.contains(name) || base.is_some_and(|base| families.contains(base));
            assert!(
                known && line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn health_endpoints_tell_their_checks_and_what_they_were_asked_to_leave_out() {
    let harness = Harness::start().await;
    let text = async |path: &str| harness.get(path).await.text;
    assert_eq!(text("/livez").await, "ok");
    let livez = text("/livez?verbose").await;
    assert!(livez.starts_with("[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]poststarthook/"), "{livez}");
    assert!(livez.ends_with(" ok\nlivez check passed\n") && !livez.contains("-readiness"), "{livez}");
    let readyz = text("/readyz?verbose&exclude=log&exclude=x").await;
    for part in [
        "[+]log excluded: ok\n[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\n",
        "\n[+]poststarthook/scheduling/bootstrap-system-priority-classes ok\n",
        "\n[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"x\"\nreadyz check passed\n",
    ] {
        assert!(readyz.contains(part), "{part}: {readyz}");
    }
    let hook = "/livez/poststarthook/rbac/bootstrap-roles";
    assert_eq!((text("/livez/etcd").await, text(hook).await), ("ok".into(), "ok".into()));
    for unknown in ["/livez/shutdown", "/livez/poststarthook", "/livez/poststarthook/none"] {
        assert_eq!(harness.get(unknown).await.code, 404, "{unknown}");
    }
    assert!(harness.get("/").await.expect(200)["paths"].as_array().expect("paths").contains(&hook.into()));
    let page = harness.get("/metrics/slis").await.text;
    for line in [
        "# TYPE kubernetes_healthcheck gauge\n",
        "kubernetes_healthcheck{name=\"etcd\",type=\"readyz\"} 1\n",
        "kubernetes_healthchecks_total{name=\"etcd\",status=\"success\",type=\"readyz\"} ",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    assert!(!page.contains("name=\"shutdown\",type=\"livez\""), "{page}");
}

#[tokio::test]
async fn changes_and_reads_of_secrets_are_audited() {
    let path = std::sync::OnceLock::new();
    let harness = protected(|protection, dir| {
        let log = dir.join("audit/audit.log");
        _ = path.set(log.clone());
        let log = coracle_apiserver::audit::LogConfig {
            path: log,
            max_size_mib: 1,
            max_backups: 1,
            max_age_days: 1,
        };
        protection.audit.log = Some(log);
    })
    .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let headers = [("audit-id", "mine"), ("impersonate-user", "jane"), ("content-type", "application/json")];
    let refused = harness.ask_with("POST", maps, &headers, r#"{"metadata":{"name":"a"}}"#).await;
    assert_eq!((refused.code, &refused.headers["audit-id"]), (403, &http::HeaderValue::from_static("mine")));
    let made = harness.post(maps, json!({"metadata": {"generateName": "a-"}})).await;
    assert_eq!(made.headers["audit-id"].len(), 36);
    let name = made.json()["metadata"]["name"].clone();
    harness.get(maps).await.expect(200);
    harness.get("/api/v1/namespaces/default/secrets").await.expect(200);
    drop(harness.watch("/api/v1/secrets?watch=true").await);
    bearer(&harness, maps, "wrong").await;
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let brief: Vec<String> = text
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("event");
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            [
                text(&event["stage"]),
                text(&event["verb"]),
                text(&event["objectRef"]["resource"]),
                text(&event["objectRef"]["name"]).replace(name.as_str().unwrap_or_default(), "NAME"),
                text(&event["impersonatedUser"]["username"]),
                text(&event["annotations"]["authorization.k8s.io/decision"]),
                event["responseStatus"]["code"].to_string(),
            ]
            .join(" ")
        })
        .collect();
    assert_eq!(
        brief,
        [
            "ResponseComplete create configmaps - jane forbid 403",
            "ResponseComplete create configmaps NAME - allow 201",
            "ResponseComplete list secrets - - allow 200",
            "ResponseStarted watch secrets - - allow 200",
            "ResponseComplete watch secrets - - allow 200",
        ]
    );
    assert!(text.contains("\"auditID\":\"mine\""));

    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/audit": "baseline"}}});
    harness.ask("PATCH", "/api/v1/namespaces/default", label).await.expect(200);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {
        "hostNetwork": true, "containers": [{"name": "c", "image": "i"}],
    }});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let deployment = json!({"metadata": {"name": "d"}, "spec": spec});
    harness.post("/apis/apps/v1/namespaces/default/deployments", deployment).await.expect(201);
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let event: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("event");
    assert_eq!(
        event["annotations"]["pod-security.kubernetes.io/audit-violations"],
        "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_audited_and_counted() {
    let path = std::sync::OnceLock::new();
    let harness = protected(|protection, dir| {
        // Who is not exempt waits.
        protection.max_in_flight = 0;
        protection.max_mutating_in_flight = 0;
        let log = path.get_or_init(|| dir.join("audit.log")).clone();
        let log = coracle_apiserver::audit::LogConfig {
            path: log,
            max_size_mib: 1,
            max_backups: 1,
            max_age_days: 1,
        };
        protection.audit.log = Some(log);
    })
    .await;
    let jane = coracle_client::Identity { user: "jane".into(), groups: Vec::new() };
    let body = Full::new(Bytes::from_static(br#"{"metadata":{"name":"a"}}"#));
    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(body)
        .expect("request");
    let mut sending = Box::pin(harness.send(Some(jane), request));
    let queued = "apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"global-default\",priority_level=\"global-default\"} 1\n";
    while {
        assert!(futures::poll!(&mut sending).is_pending());
        !harness.get("/metrics").await.text.contains(queued)
    } {}
    drop(sending);
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let event: Value = serde_json::from_str(text.trim()).expect("one event");
    assert_eq!(
        [&event["stage"], &event["verb"], &event["user"]["username"], &event["responseStatus"]["code"]],
        [&json!("ResponseComplete"), &json!("create"), &json!("jane"), &json!(504)]
    );
    let page = harness.get("/metrics").await.text;
    let counted = page.lines().find(|line| {
        line.starts_with("apiserver_request_total{code=\"504\"") && line.contains("resource=\"configmaps\"")
    });
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
}

#[tokio::test]
async fn flow_control_marks_requests_and_its_mandatory_objects_come_back() {
    let harness = Harness::start().await;
    let flows = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let list = harness.get(&format!("{flows}/flowschemas")).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(13));
    let schema = harness.get(&format!("{flows}/flowschemas/exempt")).await.expect(200);
    let answer = harness.get("/version").await;
    assert_eq!(
        answer.headers["x-kubernetes-pf-flowschema-uid"],
        schema["metadata"]["uid"].as_str().unwrap_or_default()
    );
    // A schema of a level that does not exist is said to dangle, until the level comes.
    let mut watch =
        harness.watch(&format!("{flows}/flowschemas?watch=true&fieldSelector=metadata.name%3Dmine")).await;
    let spec = json!({"priorityLevelConfiguration": {"name": "mine"}, "matchingPrecedence": 5, "rules": []});
    harness
        .post(&format!("{flows}/flowschemas"), json!({"metadata": {"name": "mine"}, "spec": spec}))
        .await
        .expect(201);
    let dangles = async |watch: &mut harness::Lines, wanted: &str| loop {
        let event = watch.next().await.expect("event");
        let condition = &event["object"]["status"]["conditions"][0];
        if condition["status"] == wanted {
            break condition["reason"].clone();
        }
    };
    assert_eq!(dangles(&mut watch, "True").await, "NotFound");
    let limited = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}});
    let levels = format!("{flows}/prioritylevelconfigurations");
    harness.post(&levels, json!({"metadata": {"name": "mine"}, "spec": limited})).await.expect(201);
    assert_eq!(dangles(&mut watch, "False").await, "Found");
    let mut watch =
        harness.watch(&format!("{levels}?watch=true&fieldSelector=metadata.name%3Dcatch-all")).await;
    assert_eq!(watch.brief().await, "ADDED catch-all");
    harness.ask("DELETE", &format!("{levels}/catch-all"), Value::Null).await.expect(200);
    assert_eq!(watch.brief().await, "DELETED catch-all");
    assert_eq!(watch.brief().await, "ADDED catch-all");
}

#[tokio::test]
async fn suggested_flow_objects_come_back_but_for_specs_that_somebody_took_over() {
    let harness = Harness::start().await;
    let flows = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let level = |name: &str| format!("{flows}/prioritylevelconfigurations/{name}");
    let shares = |count: i64| json!({"spec": {"limited": {"nominalConcurrencyShares": count}}});
    let untouched = harness.get(&level("workload-high")).await.expect(200);
    harness.ask("PATCH", &level("workload-low"), shares(7)).await.expect(200);
    let mut own = shares(7);
    own["metadata"] = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}});
    harness.ask("PATCH", &level("system"), own).await.expect(200);
    // Without the annotation, what was changed stays.
    let mut own = shares(7);
    own["metadata"] = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": null}});
    harness.ask("PATCH", &level("node-high"), own).await.expect(200);
    harness.ask("DELETE", &level("global-default"), Value::Null).await.expect(200);
    let harness = harness.restarted().await;
    for (name, count) in [("workload-low", 100), ("system", 7), ("node-high", 7), ("global-default", 20)] {
        let level = harness.get(&level(name)).await.expect(200);
        assert_eq!(level["spec"]["limited"]["nominalConcurrencyShares"], count, "{name}");
    }
    assert_eq!(harness.get(&level("workload-high")).await.expect(200), untouched);
}

#[tokio::test]
async fn flow_control_can_be_looked_at() {
    let harness = Harness::start().await;
    let path = "/debug/api_priority_and_fairness";
    let levels = harness.get(&format!("{path}/dump_priority_levels")).await;
    assert_eq!(
        (levels.code, levels.headers["content-type"].as_bytes()),
        (200, &b"text/plain; charset=utf-8"[..])
    );
    let lines: Vec<&str> = levels.text.lines().collect();
    assert!(lines[0].starts_with("PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests,"));
    assert!(lines[1].starts_with("catch-all,         0,            true,   false,       0,"), "{}", lines[1]);
    assert_eq!(lines.len(), 9);
    // This request is one of the exempt level.
    assert!(
        lines[2].starts_with("exempt,            0,            false,  false,       0,               1,")
    );
    let queues = harness.get(&format!("{path}/dump_queues")).await.text;
    assert!(queues.starts_with("PriorityLevelName, Index,  PendingRequests, ExecutingRequests, SeatsInUse,"));
    assert_eq!(harness.get(&format!("{path}/nothing")).await.code, 404);
}

#[tokio::test]
async fn a_server_without_free_seats_says_so_and_requests_may_not_ask_nonsense() {
    let harness = protected(|protection, _| {
        protection.max_in_flight = 0;
        protection.max_mutating_in_flight = 0;
        // Of which a quarter may be spent waiting.
        protection.request_timeout = std::time::Duration::from_secs(4);
    })
    .await;
    let reject = json!({"spec": {"limited": {"limitResponse": {"type": "Reject", "queuing": null}}}});
    let level = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/global-default";
    harness.ask("PATCH", level, reject).await.expect(200);
    let full = async || {
        let answer = ask(&harness, "GET", "/version", &[], Value::Null).await;
        (answer.code, answer.text.clone(), answer.headers.get("retry-after").cloned())
    };
    let too_many = (
        429,
        "Too many requests, please try again later.\n".to_owned(),
        Some(http::HeaderValue::from_static("1")),
    );
    // The level is taken over shortly after its change.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(180);
    while full().await != too_many {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&harness, "GET", "/livez", &[], Value::Null).await.code, 200, "probes are exempt");
    let wrong = harness.get("/api/v1/pods?timeout=soon").await;
    assert_eq!(
        (wrong.code, wrong.message().as_str()),
        (400, "invalid timeout specified in the request URL - time: invalid duration \"soon\"")
    );
}

#[tokio::test]
async fn a_list_holds_its_seat_until_it_is_read() {
    let harness = Harness::start().await;
    bind(&harness, "view", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let executing = async || {
        let page = harness.get("/metrics").await.text;
        let series = "apiserver_flowcontrol_current_executing_requests{flow_schema=\"global-default\"";
        let line = page.lines().find(|line| line.starts_with(series)).unwrap_or_default().to_owned();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let jane = coracle_client::Identity { user: "jane".into(), groups: Vec::new() };
    let request = http::Request::builder().uri(PODS).body(Full::new(Bytes::new())).expect("request");
    let response = harness.send(Some(jane), request).await;
    assert_eq!((response.status().as_u16(), executing().await.as_str()), (200, "1"));
    assert_eq!(answer(response).await.json()["kind"], "PodList");
    assert_eq!(executing().await, "0");
}

#[tokio::test]
async fn a_watch_holds_its_seats_until_its_initial_events_are_sent() {
    let harness = Harness::start().await;
    bind(&harness, "view", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for at in 0..100 {
        harness.post(maps, json!({"metadata": {"name": format!("m{at}")}})).await.expect(201);
    }
    // What jane's requests under way are: seats and verb.
    let requests = async || {
        let path = "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=yes";
        let page = harness.get(path).await.text;
        let row = |line: &str| {
            let cells: Vec<String> = line.split(',').map(|cell| cell.trim().to_owned()).collect();
            (cells[10] == "jane").then(|| format!("{} {}", cells[6], cells[11]))
        };
        page.lines().filter_map(row).collect::<Vec<_>>()
    };
    let jane = coracle_client::Identity { user: "jane".into(), groups: Vec::new() };
    let initial = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for (path, seats, last) in [
        // There are maps of the system too: more than a hundred in all.
        (format!("{maps}?{initial}"), "2 watch", "initial-events-end"),
        (format!("{maps}?{initial}&fieldSelector=metadata.name%3Dm7"), "1 watch", "initial-events-end"),
        (format!("{maps}?watch=1"), "1 watch", "\"m99\""),
    ] {
        let request = http::Request::builder().uri(&path).body(Full::new(Bytes::new())).expect("request");
        let mut body = harness.send(Some(jane.clone()), request).await.into_body();
        let mut sent = Vec::new();
        while !requests().await.is_empty() {
            assert_eq!(requests().await, [seats], "{path}");
            let frame = body.frame().await.expect("a frame").expect("its bytes");
            sent.extend(frame.into_data().expect("data"));
        }
        assert!(String::from_utf8_lossy(&sent).contains(last), "{path}");
    }
}

#[tokio::test]
async fn a_bootstrap_token_introduces_a_new_node_until_it_is_deleted() {
    let harness = Harness::start().await;
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let data = json!({
        "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers",
    });
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": data});
    harness.post(secrets, secret).await.expect(201);
    let headers = [("authorization", "Bearer abcdef.0123456789abcdef")];
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = ask(&harness, "POST", review, &headers, json!({})).await.expect(201);
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "system:bootstrap:abcdef", "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"]})
    );
    let spec = json!({"spec": {"token": "abcdef.0123456789abcdef"}});
    let reviewed = harness.post("/apis/authentication.k8s.io/v1/tokenreviews", spec).await.expect(201);
    assert_eq!(reviewed["status"]["user"]["username"], "system:bootstrap:abcdef");
    harness.ask("DELETE", &format!("{secrets}/bootstrap-token-abcdef"), Value::Null).await.expect(200);
    assert_eq!(ask(&harness, "POST", review, &headers, json!({})).await.code, 401);
}

#[tokio::test]
async fn who_may_not_approve_does_not_and_nobody_asks_for_the_masters() {
    let harness = Harness::start().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let signing = |name: &str, group: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        let key = rcgen::KeyPair::generate().expect("key");
        let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("request");
        let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
        let spec = json!({"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let refused = harness.post(requests, signing("m", "system:masters")).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "certificatesigningrequests.certificates.k8s.io \"m\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        )
    );
    let made = harness.post(requests, signing("j", "devs")).await.expect(201);
    assert_eq!((&made["spec"]["username"], &made["status"]), (&json!("admin"), &json!({})));
    // May update the approval, but approve nothing.
    let api = "/apis/rbac.authorization.k8s.io/v1";
    let rule = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["patch"]});
    harness
        .post(&format!("{api}/clusterroles"), json!({"metadata": {"name": "a"}, "rules": [rule]}))
        .await
        .expect(201);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a"});
    let jane = json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "a"}, "roleRef": role, "subjects": [jane]});
    harness.post(&format!("{api}/clusterrolebindings"), binding).await.expect(201);
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "R"}]}})
        .to_string();
    let headers = [("impersonate-user", "jane"), ("content-type", "application/merge-patch+json")];
    let path = format!("{requests}/j/approval");
    let refused = harness.ask_with("PATCH", &path, &headers, approval.clone()).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "certificatesigningrequests.certificates.k8s.io \"j\" is forbidden: user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\""
        )
    );
    let approved = harness.ask_with("PATCH", &path, &headers[1..], approval).await.expect(200);
    assert!(approved["status"]["conditions"][0]["lastTransitionTime"].is_string());
    let denied = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
    let both = harness.ask("PATCH", &path, denied).await;
    assert_eq!(both.code, 422, "{}", both.text);
}

#[tokio::test]
async fn a_node_changes_itself_and_gets_tokens_for_its_own_pods_alone() {
    let harness = Harness::start().await;
    harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.expect(201);
    let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    harness.post("/api/v1/nodes", node("n2", json!({}))).await.expect(201);
    let pod = |name: &str, node: &str| {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]);
        let containers = json!([{"name": "c", "image": "i"}]);
        let spec = json!({"nodeName": node, "serviceAccountName": "app", "containers": containers, "volumes": volumes});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let driver =
        json!({"metadata": {"name": "d.example.com"}, "spec": {"tokenRequests": [{"audience": "driver"}]}});
    harness.post("/apis/storage.k8s.io/v1/csidrivers", driver).await.expect(201);
    let size = json!({"storage": "1Gi"});
    let volume = json!({"metadata": {"name": "volume"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": size, "csi": {"driver": "d.example.com", "volumeHandle": "h"}}});
    harness.post("/api/v1/persistentvolumes", volume).await.expect(201);
    let claim = json!({"metadata": {"name": "claim"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": size}, "volumeName": "volume"}});
    harness.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await.expect(201);
    let mut uids = Vec::new();
    for (name, node) in [("own", "n1"), ("other", "n2")] {
        let made = harness.post(PODS, pod(name, node)).await.expect(201);
        uids.push(made["metadata"]["uid"].as_str().expect("uid").to_owned());
    }
    let as_node = async |method: &str, path: &str, body: Value| {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [
            ("impersonate-user", "system:node:n1"),
            ("impersonate-group", "system:nodes"),
            ("content-type", media),
        ];
        let answer = harness.ask_with(method, path, &headers, body.to_string()).await;
        (answer.code, answer.message())
    };
    let bound = |name: &str, uid: &str| {
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": reference}})
    };
    let token = format!("{ACCOUNTS}/app/token");
    let role = json!({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}});
    let taints = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let plain = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let mut odd = bound("own", &uids[0]);
    odd["spec"]["audiences"] = json!(["vault"]);
    let mut of_driver = bound("own", &uids[0]);
    of_driver["spec"]["audiences"] = json!(["driver"]);
    for (method, path, body, code, message) in [
        (
            "POST",
            "/api/v1/nodes",
            node("n1", json!({"node-restriction.kubernetes.io/x": "1"})),
            403,
            "node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/x",
        ),
        ("POST", "/api/v1/nodes", node("n1", json!({"kubernetes.io/os": "linux", "team": "a"})), 201, ""),
        ("PATCH", "/api/v1/nodes/n1", json!({"metadata": {"labels": {"team": "b"}}}), 200, ""),
        (
            "PATCH",
            "/api/v1/nodes/n1",
            role,
            403,
            "is not allowed to modify labels: node-role.kubernetes.io/x",
        ),
        ("PATCH", "/api/v1/nodes/n1", taints, 403, "node \"n1\" is not allowed to modify taints"),
        (
            "PATCH",
            "/api/v1/nodes/n2",
            json!({"metadata": {"labels": {"team": "b"}}}),
            403,
            "node \"n1\" is not allowed to modify node \"n2\"",
        ),
        ("DELETE", "/api/v1/nodes/n1", json!({}), 403, "cannot delete resource \"nodes\""),
        (
            "DELETE",
            "/api/v1/namespaces/default/pods/other",
            json!({}),
            403,
            "node \"n1\" can only delete pods with spec.nodeName set to itself",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/pods/own/status",
            json!({"metadata": {"labels": {"a": "b"}}}),
            403,
            "node \"n1\" cannot update labels through pod status",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/pods/own/status",
            json!({"status": {"phase": "Running"}}),
            200,
            "",
        ),
        ("POST", PODS, pod("new", "n1"), 403, "node \"n1\" can only create mirror pods"),
        ("POST", &token, plain, 403, "node requested token not bound to a pod"),
        ("POST", &token, bound("own", &uids[1]), 403, "does not match the UID in record"),
        (
            "POST",
            &token,
            bound("other", &uids[1]),
            403,
            "node requested token bound to a pod scheduled on a different node",
        ),
        (
            "POST",
            &token,
            odd,
            403,
            "serviceaccounts \"app\" is forbidden: audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience",
        ),
        ("POST", &token, of_driver, 201, ""),
        ("POST", &token, bound("own", &uids[0]), 201, ""),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
            json!({"metadata": {"name": "n2"}}),
            403,
            "leases.coordination.k8s.io \"n2\" is forbidden: can only access node lease with the same name as the requesting node",
        ),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            json!({"metadata": {"name": "n1"}}),
            403,
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (
            "POST",
            "/apis/storage.k8s.io/v1/csinodes",
            json!({"metadata": {"name": "n2"}, "spec": {"drivers": []}}),
            403,
            "can only access CSINode with the same name as the requesting node",
        ),
    ] {
        let (seen, text) = as_node(method, path, body.clone()).await;
        assert!(
            seen == code && (code < 400 || text.contains(message)),
            "{method} {path} {body}: {seen} {text}"
        );
    }
}

#[tokio::test]
async fn anybody_learns_where_the_cluster_is() {
    let harness = Harness::start().await;
    let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    let info = ask(&harness, "GET", path, &[], Value::Null).await.expect(200);
    let kubeconfig = info["data"]["kubeconfig"].as_str().expect("kubeconfig");
    assert!(
        kubeconfig.contains("certificate-authority-data: ") && kubeconfig.contains("users: null"),
        "{kubeconfig}"
    );
}
