//! API groups behind a Service.

use coracle_apiserver::audit::LogConfig;
use serde_json::{Value, json};

use super::backend::{Backend, Received, reply};
use crate::harness::Harness;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

fn handle(request: &Received) -> Option<http::Response<http_body_util::Full<bytes::Bytes>>> {
    match request.path.as_str() {
        "/apis/wardle.example.com/v1alpha1" => reply(
            200,
            &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1", "resources": [
                {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get", "list"]},
                {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"]},
            ]}),
        ),
        "/apis" => {
            let resource = json!({"resource": "flunders", "categories": ["told"], "subresources": [{"subresource": "status"}]});
            let version = json!({"version": "v1alpha1", "freshness": "Current", "resources": [resource]});
            let group = json!({"metadata": {"name": "wardle.example.com"}, "versions": [version]});
            reply(
                200,
                &json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [group]}),
            )
        }
        "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders?limit=2" => {
            reply(200, &json!({"kind": "FlunderList", "items": []}))
        }
        "/openapi/v2" => reply(
            200,
            &json!({"swagger": "2.0", "paths": {
                "/apis/wardle.example.com/v1alpha1/flunders": {"get": {"schema": {"$ref": "#/definitions/Flunder"}}},
                "/healthz": {},
            }, "definitions": {"Flunder": {"type": "object"}, "Other": {}}}),
        ),
        "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders" => {
            // Too long to be there all at once.
            reply(201, &json!({"kind": "Flunder", "metadata": {"name": "made"}, "data": "x".repeat(4 << 20)}))
        }
        "/apis/wardle.example.com/v1alpha1/away" => http::Response::builder()
            .status(302)
            .header("location", "https://example.com/")
            .body(http_body_util::Full::default())
            .ok(),
        _ => reply(404, &json!({"kind": "Status", "code": 404})),
    }
}

/// Waits until the condition `Available` says what is wanted.
async fn until(harness: &Harness, status: &str, reason: &str) -> Value {
    let mut watch = harness
        .watch(&format!("{SERVICES}?watch=1&fieldSelector=metadata.name%3Dv1alpha1.wardle.example.com"))
        .await;
    loop {
        let event = watch.next().await.expect("an event");
        let condition = event["object"]["status"]["conditions"][0].clone();
        if condition["status"] == status && condition["reason"] == reason {
            return condition;
        }
    }
}

fn api_service(backend: &Backend) -> Value {
    json!({
        "metadata": {"name": "v1alpha1.wardle.example.com"},
        "spec": {
            "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "caBundle": backend.ca,
            "service": {"name": "wardle", "namespace": "default", "port": backend.address.port()},
        },
    })
}

#[tokio::test]
async fn a_group_behind_a_service_is_checked_described_and_passed_on() {
    let harness = Harness::start_with(|config| {
        let path = config.data_dir.join("audit.log");
        let log = LogConfig { path, max_size_mib: 1, max_backups: 1, max_age_days: 1 };
        config.protection.audit.log = Some(log);
    })
    .await;
    let config = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let config = harness.get(config).await.expect(200)["data"].clone();
    assert_eq!(config["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    // Only lets in whom the authority of the ConfigMap vouches for.
    let ca = config["requestheader-client-ca-file"].as_str().expect("PEM");
    let backend = Backend::start(&["wardle.default.svc"], Some(ca), handle).await;
    let index = async || harness.get("/openapi/v3").await.headers["etag"].clone();
    let without = index().await;
    harness.post(SERVICES, api_service(&backend)).await.expect(201);
    let missing = until(&harness, "False", "ServiceNotFound").await;
    assert_eq!(missing["message"], "service/wardle in \"default\" is not present");
    let list = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders?limit=2";
    let refused = harness.get(list).await;
    assert_eq!((refused.code, refused.text.as_str()), (503, "service unavailable\n"));
    backend.service(&harness, "wardle").await;
    until(&harness, "True", "Passed").await;
    // Clients ask for the index with what they have of it.
    assert_ne!(index().await, without);
    assert_eq!(harness.get("/openapi/v3/api/v1").await.headers["etag"], without);

    // The audit log does not wait for what another server says of what it made.
    let flunders = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";
    let made = harness.post(flunders, json!({"kind": "Flunder"})).await.expect(201);
    assert_eq!(made["metadata"]["name"], "made");
    assert_eq!(harness.get(list).await.expect(200)["kind"], "FlunderList");
    // What the server says of itself may be asked for again at any time.
    let asked = backend.received().into_iter().rev().find(|asked| asked.path == list).expect("a request");
    assert_eq!((asked.method.as_str(), asked.header("x-remote-user")), ("GET", vec!["admin"]));
    assert_eq!(asked.header("x-remote-group"), ["system:masters", "system:authenticated"]);
    assert_eq!(asked.header("host"), [format!("wardle.default.svc:{}", backend.address.port())]);
    let away = harness.get("/apis/wardle.example.com/v1alpha1/away").await;
    assert_eq!(away.code, 502, "{}", away.text);

    let whole = harness.get("/openapi/v2").await.expect(200);
    assert!(whole["paths"]["/apis/wardle.example.com/v1alpha1/flunders"]["get"].is_object());
    assert_eq!(whole["definitions"]["Flunder"], json!({"type": "object"}));
    assert_eq!([&whole["paths"]["/healthz"], &whole["definitions"]["Other"]], [&Value::Null, &Value::Null]);

    let group = harness.get("/apis/wardle.example.com").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v1alpha1");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = harness.ask_with("GET", "/apis", &[("accept", accept)], "").await.expect(200);
    let items = all["items"].as_array().expect("items");
    let own = items.iter().find(|item| item["metadata"]["name"] == "wardle.example.com").expect("the group");
    assert_eq!(own["versions"][0]["freshness"], "Current");
    assert_eq!(own["versions"][0]["resources"][0]["subresources"][0]["subresource"], "status");
    assert_eq!(own["versions"][0]["resources"][0]["categories"], json!(["told"]));

    let harness = harness.restarted().await;
    assert_eq!(harness.get(list).await.expect(200)["kind"], "FlunderList");
    harness.ask("DELETE", "/api/v1/namespaces/default/services/wardle", Value::Null).await.expect(200);
    until(&harness, "False", "ServiceNotFound").await;
    let metrics = harness.get("/metrics").await.text;
    for line in [
        "aggregator_unavailable_apiservice{name=\"v1.apps\"} 0\n",
        "aggregator_unavailable_apiservice{name=\"v1alpha1.wardle.example.com\"} 1\n",
        "aggregator_unavailable_apiservice_total{name=\"v1alpha1.wardle.example.com\",reason=\"ServiceNotFound\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    harness.ask("DELETE", &format!("{SERVICES}/v1alpha1.wardle.example.com"), Value::Null).await.expect(200);
    let mut gone = harness.get("/apis/wardle.example.com").await.code;
    while gone != 404 {
        tokio::task::yield_now().await;
        gone = harness.get("/apis/wardle.example.com").await.code;
    }
}

#[tokio::test]
async fn local_groups_have_api_services_that_are_available() {
    let harness = Harness::start().await;
    let apps = harness.get(&format!("{SERVICES}/v1.apps")).await.expect(200);
    assert_eq!(apps["spec"]["groupPriorityMinimum"], 17800);
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    let condition = &apps["status"]["conditions"][0];
    assert_eq!(
        [&condition["type"], &condition["status"], &condition["reason"]],
        ["Available", "True", "Local"]
    );
    let name = "v1.example.com";
    crate::create(&harness, crate::definition(), "Established=True").await;
    let mut watch = harness.watch(&format!("{SERVICES}?watch=1&fieldSelector=metadata.name%3D{name}")).await;
    assert_eq!(watch.brief().await, format!("ADDED {name}"));
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
    harness.ask("DELETE", crds, Value::Null).await.expect(200);
    while watch.brief().await != format!("DELETED {name}") {}
}
