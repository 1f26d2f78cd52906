//! Admission webhooks, asked over real TLS.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::backend::{Backend, Received, reply};
use crate::harness::Harness;

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn answer(request: &Received, mut response: Value) -> Value {
    response["uid"] = request.json()["request"]["uid"].clone();
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
}

fn patched(request: &Received, patch: &Value) -> Value {
    let encoded = STANDARD.encode(patch.to_string());
    answer(request, json!({"allowed": true, "patchType": "JSONPatch", "patch": encoded}))
}

/// What the webhooks of these tests do, by path.
fn handle(request: &Received) -> Option<http::Response<http_body_util::Full<bytes::Bytes>>> {
    let asked = request.json()["request"].clone();
    let body = match request.path.split('?').next().unwrap_or_default() {
        "/allow" => answer(request, json!({"allowed": true, "warnings": ["look out"]})),
        "/deny" => answer(
            request,
            json!({"allowed": false, "warnings": ["look out"],
            "status": {"message": "not today", "code": 403, "reason": "Forbidden"}}),
        ),
        "/first" => patched(request, &json!([{"op": "add", "path": "/data/first", "value": "1"}])),
        // Adds to what the first one added.
        "/second" => {
            let seen = asked["object"]["data"]["first"].as_str().unwrap_or("nothing").to_owned();
            patched(request, &json!([{"op": "add", "path": "/data/second", "value": seen}]))
        }
        "/odd" => patched(
            request,
            &json!([{"op": "add", "path": "/odd", "value": 1}, {"op": "add", "path": "/data/count", "value": "1"}]),
        ),
        "/moved" => {
            patched(request, &json!([{"op": "replace", "path": "/metadata/namespace", "value": "other"}]))
        }
        "/renamed" => {
            patched(request, &json!([{"op": "replace", "path": "/metadata/name", "value": "other"}]))
        }
        "/no-list" => patched(request, &json!({"a": 1})),
        "/no-operation" => patched(request, &json!([1])),
        "/old" => old_answer(request),
        "/wrong" => json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}),
        "/broken" => return reply(500, &json!("out of order")),
        _ => return None,
    };
    reply(200, &body)
}

async fn start() -> (Harness, Backend) {
    let harness = Harness::start().await;
    let backend = Backend::start(&["localhost", "hooks.default.svc"], None, handle).await;
    (harness, backend)
}

fn webhook(name: &str, client: Value, patch: Value) -> Value {
    let mut hook = json!({
        "name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
    });
    coracle_schema::json_merge_patch(&mut hook, &patch);
    hook
}

async fn register(harness: &Harness, path: &str, name: &str, hooks: &[Value]) {
    let object = json!({"metadata": {"name": name}, "webhooks": hooks});
    harness.post(path, object).await.expect(201);
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "v"}})
}

#[tokio::test]
async fn mutating_webhooks_change_objects_in_the_order_of_their_names() {
    let (harness, backend) = start().await;
    register(&harness, MUTATING, "b", &[webhook("second.b.io", backend.client("/second"), json!({}))]).await;
    register(&harness, MUTATING, "a", &[webhook("first.a.io", backend.client("/first"), json!({}))]).await;
    let made = harness.post(MAPS, map("x")).await.expect(201);
    assert_eq!(made["data"], json!({"k": "v", "first": "1", "second": "1"}));
    let [first, _] = &backend.received()[..] else { panic!("two calls") };
    assert_eq!(first.path, "/first?timeout=10s");
    let request = &first.json()["request"];
    assert_eq!(
        [&request["operation"], &request["name"], &request["namespace"], &request["dryRun"]],
        [&json!("CREATE"), &json!("x"), &json!("default"), &json!(false)]
    );
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(request["userInfo"]["username"], "admin");
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!((&request["object"]["data"], &request["oldObject"]), (&json!({"k": "v"}), &Value::Null));
}

#[tokio::test]
async fn a_webhook_is_asked_again_when_a_later_one_changed_the_object() {
    let (harness, backend) = start().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let hooks = [
        webhook("second.a.io", backend.client("/second"), again),
        webhook("first.a.io", backend.client("/first"), json!({})),
    ];
    register(&harness, MUTATING, "a", &hooks).await;
    let made = harness.post(MAPS, map("x")).await.expect(201);
    assert_eq!(made["data"], json!({"k": "v", "first": "1", "second": "1"}));
    let paths: Vec<String> = backend.received().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/second?timeout=10s", "/first?timeout=10s", "/second?timeout=10s"]);
}

#[tokio::test]
async fn a_mutated_object_is_shaped_and_checked_again() {
    let (harness, backend) = start().await;
    register(&harness, MUTATING, "a", &[webhook("odd.a.io", backend.client("/odd"), json!({}))]).await;
    let made = harness.post(MAPS, map("x")).await.expect(201);
    assert_eq!((made.get("odd"), &made["data"]["count"]), (None, &json!("1")));
}

#[tokio::test]
async fn a_mutated_object_stays_in_its_namespace() {
    let (harness, backend) = start().await;
    harness.post(MAPS, map("old")).await.expect(201);
    let one = format!("{MAPS}/old");
    let both = json!({"rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    register(&harness, MUTATING, "a", &[webhook("moved.a.io", backend.client("/moved"), both.clone())]).await;
    for refused in
        [harness.post(MAPS, map("x")).await, harness.ask("PATCH", &one, json!({"data": {"k": "w"}})).await]
    {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        assert_eq!((refused.code, refused.message()), (400, why.into()));
    }
    harness.ask("DELETE", &format!("{MUTATING}/a"), Value::Null).await.expect(200);
    // A new object may get another name, one that is there may not.
    register(&harness, MUTATING, "a", &[webhook("renamed.a.io", backend.client("/renamed"), both)]).await;
    let refused = harness.ask("PATCH", &one, json!({"data": {"k": "w"}})).await;
    let why = "ConfigMap \"other\" is invalid: metadata.name: Invalid value: \"other\": field is immutable";
    assert_eq!((refused.code, refused.message()), (422, why.into()));
    harness.post(MAPS, map("x")).await.expect(201);
    harness.get(&format!("{MAPS}/other")).await.expect(200);
}

#[tokio::test]
async fn validating_webhooks_refuse_and_warn() {
    let (harness, backend) = start().await;
    let rules = json!({"rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"],
        "resources": ["configmaps", "pods/attach"]}],
        "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}});
    harness.post(MAPS, map("old")).await.expect(201);
    register(&harness, VALIDATING, "a", &[webhook("no.a.io", backend.client("/deny"), rules)]).await;
    let refused = harness.post(MAPS, map("x")).await;
    assert_eq!(
        (refused.code, refused.message()),
        (403, "admission webhook \"no.a.io\" denied the request: not today".into())
    );
    assert_eq!(refused.json()["reason"], "Forbidden");
    assert_eq!(refused.headers["warning"], "299 - \"look out\"");
    let one = format!("{MAPS}/old");
    for (method, body) in [("PATCH", json!({"data": {"k": "w"}})), ("DELETE", Value::Null)] {
        let refused = harness.ask(method, &one, body).await;
        assert_eq!(refused.code, 403, "{method} {}", refused.text);
    }
    let deleted = backend.received().last().expect("a call").json()["request"].clone();
    assert_eq!(
        [&deleted["operation"], &deleted["object"], &deleted["oldObject"]["data"]["k"]],
        [&json!("DELETE"), &Value::Null, &json!("v")]
    );
    let attach =
        harness.post("/api/v1/namespaces/default/pods/p/attach?container=c&tty=true", Value::Null).await;
    assert_eq!(attach.code, 403, "{}", attach.text);
    let opened = backend.received().last().expect("a call").json()["request"].clone();
    assert_eq!([&opened["operation"], &opened["subResource"]], [&json!("CONNECT"), &json!("attach")]);
    assert_eq!(
        opened["object"],
        json!({"kind": "PodAttachOptions", "apiVersion": "v1", "container": "c", "tty": true})
    );
    assert_eq!(opened.get("options"), Some(&Value::Null));
    // Not selected, and the configurations themselves are out of reach of webhooks.
    let mut free = map("free");
    free["metadata"]["labels"] = json!({"free": "yes"});
    harness.post(MAPS, free).await.expect(201);
    harness.ask("DELETE", &format!("{VALIDATING}/a"), Value::Null).await.expect(200);
    harness.post(MAPS, map("x")).await.expect(201);
}

#[tokio::test]
async fn a_webhook_that_fails_is_judged_by_its_policy() {
    let (harness, backend) = start().await;
    let nobody = json!({"url": "https://localhost:1/x"});
    let short = json!({"timeoutSeconds": 1});
    let stranger =
        json!({"url": format!("https://127.0.0.1:{}/allow", backend.address.port()), "caBundle": backend.ca});
    let unknown = json!({"url": format!("https://localhost:{}/allow", backend.address.port())});
    let missing = json!({"service": {"name": "none", "namespace": "default", "path": "/x"}});
    for (path, kind, wanted) in [("/no-list", "object", "Patch"), ("/no-operation", "number", "Operation")] {
        let hook = |policy: &str| webhook("x.a.io", backend.client(path), json!({"failurePolicy": policy}));
        register(&harness, MUTATING, "a", &[hook("Fail")]).await;
        let refused = harness.post(MAPS, map("x")).await;
        let why = format!(
            "Internal error occurred: failed calling webhook \"x.a.io\": received undecodable patch in webhook response: json: cannot unmarshal {kind} into Go value of type jsonpatch.{wanted}"
        );
        assert_eq!((refused.code, refused.message()), (500, why));
        harness.ask("DELETE", &format!("{MUTATING}/a"), Value::Null).await.expect(200);
        register(&harness, MUTATING, "a", &[hook("Ignore")]).await;
        harness.post(&format!("{MAPS}?dryRun=All"), map("x")).await.expect(201);
        harness.ask("DELETE", &format!("{MUTATING}/a"), Value::Null).await.expect(200);
    }
    let rows = [
        (backend.client("/wrong"), json!({}), "received invalid webhook response: webhook response was absent".to_owned()),
        (
            backend.client("/broken"),
            json!({}),
            "failed to call webhook: an error on the server (\"\\\"out of order\\\"\") has prevented the request from succeeding".into(),
        ),
        (
            backend.client("/hang"),
            short,
            format!(
                "failed to call webhook: Post \"https://localhost:{}/hang?timeout=1s\": context deadline exceeded",
                backend.address.port()
            ),
        ),
        (
            nobody,
            json!({}),
            "failed to call webhook: Post \"https://localhost:1/x?timeout=10s\": dial tcp 127.0.0.1:1: connect: connection refused".into(),
        ),
        (
            missing,
            json!({}),
            "failed to call webhook: Post \"https://none.default.svc:443/x?timeout=10s\": service \"none\" not found".into(),
        ),
        (
            stranger,
            json!({}),
            format!(
                "failed to call webhook: Post \"https://127.0.0.1:{}/allow?timeout=10s\": tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
                backend.address.port()
            ),
        ),
        (
            unknown,
            json!({}),
            format!(
                "failed to call webhook: Post \"https://localhost:{}/allow?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                backend.address.port()
            ),
        ),
    ];
    for (client, patch, why) in rows {
        register(&harness, VALIDATING, "a", &[webhook("x.a.io", client, patch)]).await;
        let refused = harness.post(MAPS, map("x")).await;
        assert_eq!(
            (refused.code, refused.message()),
            (500, format!("Internal error occurred: failed calling webhook \"x.a.io\": {why}"))
        );
        harness
            .ask(
                "PATCH",
                &format!("{VALIDATING}/a"),
                json!([{"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]),
            )
            .await
            .expect(200);
        harness.post(&format!("{MAPS}?dryRun=All"), map("x")).await.expect(201);
        harness.ask("DELETE", &format!("{VALIDATING}/a"), Value::Null).await.expect(200);
    }
}

#[tokio::test]
async fn a_status_that_a_webhook_held_up_is_written_later() {
    let (harness, backend) = start().await;
    let rules = json!({"rules": [{"operations": ["UPDATE"], "apiGroups": ["apiextensions.k8s.io"],
        "apiVersions": ["v1"], "resources": ["customresourcedefinitions/status"]}]});
    register(&harness, VALIDATING, "a", &[webhook("no.a.io", backend.client("/deny"), rules)]).await;
    harness.post(crate::CRDS, crate::definition()).await.expect(201);
    let asked = async {
        while backend.received().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.expect("the webhook is asked");
    harness.ask("DELETE", &format!("{VALIDATING}/a"), Value::Null).await.expect(200);
    crate::reached(&harness, "widgets.example.com", "Established=True").await;
}

#[tokio::test]
async fn a_service_is_reached_under_its_name() {
    let (harness, backend) = start().await;
    backend.service(&harness, "hooks").await;
    let client = json!({"service": {"name": "hooks", "namespace": "default", "path": "/first", "port": backend.address.port()}, "caBundle": backend.ca});
    register(&harness, MUTATING, "a", &[webhook("first.a.io", client, json!({}))]).await;
    let made = harness.post(MAPS, map("x")).await.expect(201);
    assert_eq!(made["data"]["first"], "1");
    let dry = harness.post(&format!("{MAPS}?dryRun=All"), map("y")).await.expect(201);
    assert_eq!(dry["data"]["first"], "1");
    assert_eq!(backend.received().last().expect("a call").json()["request"]["dryRun"], true);
}

#[tokio::test]
async fn rules_for_another_version_and_for_a_subresource_see_it_in_their_form() {
    let (harness, backend) = start().await;
    let rules = |rule: Value| json!({"rules": [rule]});
    let hooks = [
        webhook(
            "hpa.a.io",
            backend.client("/allow"),
            rules(json!({"operations": ["CREATE"], "apiGroups": ["autoscaling"],
            "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]})),
        ),
        webhook(
            "scale.a.io",
            backend.client("/allow"),
            rules(json!({"operations": ["UPDATE"], "apiGroups": ["apps"],
            "apiVersions": ["v1"], "resources": ["deployments/scale"]})),
        ),
    ];
    register(&harness, VALIDATING, "a", &hooks).await;
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}});
    let made = harness.post("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", scaler).await;
    assert_eq!(made.headers["warning"], "299 - \"look out\"", "{}", made.text);
    let request = backend.received().last().expect("a call").json()["request"].clone();
    assert_eq!(
        [
            &request["kind"]["version"],
            &request["requestKind"]["version"],
            &request["object"]["spec"]["targetCPUUtilizationPercentage"]
        ],
        [&json!("v1"), &json!("v2"), &json!(70)]
    );
    let labels = json!({"app": "d"});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    harness.post("/apis/apps/v1/namespaces/default/deployments", deployment).await.expect(201);
    let scale = harness
        .ask(
            "PATCH",
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            json!({"spec": {"replicas": 4}}),
        )
        .await
        .expect(200);
    assert_eq!(scale["spec"]["replicas"], 4);
    let request = backend.received().last().expect("a call").json()["request"].clone();
    assert_eq!(
        [
            &request["kind"]["kind"],
            &request["object"]["kind"],
            &request["object"]["spec"],
            &request["oldObject"]["spec"]
        ],
        [&json!("Scale"), &json!("Scale"), &json!({"replicas": 4}), &json!({"replicas": 1})]
    );
}

#[tokio::test]
async fn conditions_decide_who_is_asked() {
    let (harness, backend) = start().await;
    let conditions =
        json!({"matchConditions": [{"name": "not-free", "expression": "object.data.kind != 'free'"}]});
    register(&harness, VALIDATING, "a", &[webhook("no.a.io", backend.client("/deny"), conditions)]).await;
    let map = |kind: Value| json!({"metadata": {"name": "x"}, "data": {"kind": kind}});
    assert_eq!(harness.post(MAPS, map(json!("bound"))).await.code, 403);
    harness.post(MAPS, map(json!("free"))).await.expect(201);
    assert_eq!(backend.received().len(), 1);
    let unclear = harness.post(MAPS, json!({"metadata": {"name": "y"}})).await;
    assert!(unclear.code == 403 && unclear.message().contains("no such key"), "{}", unclear.text);
    // Conditions may name the namespace, but are not shown it.
    harness.ask("DELETE", &format!("{VALIDATING}/a"), Value::Null).await.expect(200);
    let conditions = json!({"matchConditions": [{"name": "c", "expression": "namespaceObject == null"}]});
    register(&harness, VALIDATING, "a", &[webhook("no.a.io", backend.client("/deny"), conditions)]).await;
    assert_eq!(
        harness.post(MAPS, map(json!("bound"))).await.message(),
        "admission webhook \"no.a.io\" denied the request: not today"
    );
}

#[tokio::test]
async fn configurations_are_checked() {
    let (harness, backend) = start().await;
    for (patch, why) in [
        (json!({"name": "short"}), "should be a domain with at least three segments separated by dots"),
        (json!({"sideEffects": "Some"}), "supported values: \"None\", \"NoneOnDryRun\""),
        (json!({"admissionReviewVersions": ["v2"]}), "must include at least one of v1, v1beta1"),
        (
            json!({"matchConditions": [{"name": "c", "expression": "1 +"}]}),
            "webhooks[0].matchConditions[0].expression: Invalid value: \"1 +\": compilation failed",
        ),
        (json!({"clientConfig": {"url": "http://x"}}), "'https' is the only allowed URL scheme"),
    ] {
        let hook = webhook("x.a.io", backend.client("/allow"), patch);
        let refused = harness.post(VALIDATING, json!({"metadata": {"name": "a"}, "webhooks": [hook]})).await;
        assert_eq!(refused.code, 422, "{}", refused.text);
        assert!(refused.message().contains(why), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_token_is_made_only_when_webhooks_admit_it() {
    let (harness, backend) = start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    harness.post(accounts, json!({"metadata": {"name": "app"}})).await.expect(201);
    let path = format!("{accounts}/app/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    harness.post(&path, request.clone()).await.expect(201);
    let rule = json!({"rules": [{
        "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts/token"],
    }]});
    register(&harness, VALIDATING, "a", &[webhook("a.a.io", backend.client("/deny"), rule)]).await;
    let refused = harness.post(&path, request).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(refused.message().contains("not today"), "{}", refused.text);
}

/// A webhook that was written for `v1beta1` answers without uid and patchType.
fn old_answer(request: &Received) -> Value {
    let patch = STANDARD.encode(json!([{"op": "add", "path": "/data/old", "value": "1"}]).to_string());
    assert_eq!(request.json()["apiVersion"], "admission.k8s.io/v1beta1");
    json!({"response": {"allowed": true, "patch": patch}})
}

#[tokio::test]
async fn webhooks_of_the_older_review_version_are_asked_in_it() {
    let (harness, backend) = start().await;
    let old = json!({"admissionReviewVersions": ["v0", "v1beta1", "v1"]});
    register(&harness, MUTATING, "a", &[webhook("old.a.io", backend.client("/old"), old)]).await;
    let made = harness.post(MAPS, map("x")).await.expect(201);
    assert_eq!(made["data"]["old"], "1");
}

fn appending(reinvocation: &str) -> Value {
    json!({
        "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["configmaps"]}]},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'replace', path: '/data/k', value: object.data.k + '+'}]"}}],
        "failurePolicy": "Fail", "reinvocationPolicy": reinvocation,
    })
}

#[tokio::test]
async fn policies_run_again_only_when_they_want_to() {
    let (harness, backend) = start().await;
    register(&harness, MUTATING, "a", &[webhook("first.a.io", backend.client("/first"), json!({}))]).await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let binding = json!({"metadata": {"name": "p"}, "spec": {"policyName": "p"}});
    harness.post(&format!("{group}/mutatingadmissionpolicybindings"), binding).await.expect(201);
    let policies = format!("{group}/mutatingadmissionpolicies");
    for (reinvocation, expected) in [("Never", "v+"), ("IfNeeded", "v++")] {
        let policy = json!({"metadata": {"name": "p"}, "spec": appending(reinvocation)});
        harness.post(&policies, policy).await.expect(201);
        let made = harness.post(&format!("{MAPS}?dryRun=All"), map("x")).await.expect(201);
        assert_eq!(made["data"], json!({"k": expected, "first": "1"}), "{reinvocation}");
        harness.ask("DELETE", &format!("{policies}/p"), Value::Null).await.expect(200);
    }
}

#[tokio::test]
async fn a_refusal_carries_the_warnings_of_the_whole_request() {
    let (harness, backend) = start().await;
    let hooks = [
        webhook("no.a.io", backend.client("/deny"), json!({})),
        webhook("yes.a.io", backend.client("/allow"), json!({})),
    ];
    register(&harness, VALIDATING, "a", &hooks).await;
    let mut odd = map("x");
    odd["odd"] = 1.into();
    let refused = harness.post(MAPS, odd).await;
    let warnings: Vec<&str> =
        refused.headers.get_all("warning").into_iter().map(|value| value.to_str().expect("text")).collect();
    assert_eq!(warnings, ["299 - \"unknown field \\\"odd\\\"\"", "299 - \"look out\""], "{}", refused.text);
}

#[tokio::test]
async fn an_eviction_is_put_to_those_who_ask_for_evictions_and_to_nobody_else() {
    let (harness, backend) = start().await;
    harness.account("default").await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    harness.post(pods, pod).await.expect(201);
    let rule = |operation: &str, resource: &str| {
        json!({"rules": [{
            "operations": [operation], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource]}]})
    };
    let hooks = [
        ("/allow", "CREATE", "pods/eviction"),
        ("/deny", "DELETE", "pods"),
        ("/deny", "UPDATE", "pods/status"),
    ];
    let hooks: Vec<Value> = (0..)
        .zip(hooks)
        .map(|(at, (path, operation, resource))| {
            webhook(&format!("h{at}.a.io"), backend.client(path), rule(operation, resource))
        })
        .collect();
    register(&harness, VALIDATING, "a", &hooks).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    harness.post(&format!("{pods}/a/eviction"), eviction).await.expect(201);
    assert_eq!(harness.get(&format!("{pods}/a")).await.code, 404);
    let asked: Vec<String> =
        backend.received().iter().map(|one| one.path.split('?').next().unwrap_or_default().into()).collect();
    assert_eq!(asked, ["/allow"]);
}

#[tokio::test]
async fn a_server_that_starts_again_asks_nobody_about_what_is_as_it_should_be() {
    let (harness, backend) = start().await;
    let everything = json!({"rules": [
        {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]},
    ]});
    register(&harness, VALIDATING, "a", &[webhook("all.a.io", backend.client("/allow"), everything)]).await;
    let restarted = harness.restarted().await;
    restarted.post(MAPS, map("y")).await.expect(201);
    let received = backend.received();
    let groups: Vec<Value> =
        received.iter().map(|review| review.json()["request"]["resource"]["group"].clone()).collect();
    assert!(groups.contains(&json!("")), "{groups:?}");
    assert!(!groups.contains(&json!("flowcontrol.apiserver.k8s.io")), "{groups:?}");
}
