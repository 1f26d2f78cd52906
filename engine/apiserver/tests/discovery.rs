//! Discovery against the documents of a stock server. Skipped where those are not at hand.

mod harness;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use harness::Harness;
use serde_json::{Value, json};

const GOLDEN: &str = "/work/shared/kubernetes-1.36/discovery";

fn golden(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(Path::new(GOLDEN).join(name)).ok()?;
    serde_json::from_str(&text).ok()
}

/// The resources of a legacy document, by name. Only the form is compared that clients act on.
fn by_name(list: &Value) -> BTreeMap<String, Value> {
    let resources = list["resources"].as_array().expect("resources");
    resources
        .iter()
        .map(|resource| (resource["name"].as_str().expect("name").to_owned(), resource.clone()))
        .collect()
}

#[tokio::test]
async fn every_served_version_is_described_as_the_stock_server_describes_it() {
    let Some(_) = golden("api.json") else { return };
    let harness = Harness::start().await;
    let groups = harness.get("/apis").await.expect(200);
    let mut paths = vec!["/api/v1".to_owned()];
    for group in groups["groups"].as_array().expect("groups") {
        for version in group["versions"].as_array().expect("versions") {
            paths.push(format!("/apis/{}", version["groupVersion"].as_str().expect("version")));
        }
    }
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        let file = format!("{}.json", path.trim_start_matches('/').replace('/', "__"));
        let Some(expected) = golden(&file) else { panic!("{path} is not served by a stock server") };
        let seen = harness.get(&path).await.expect(200);
        assert_eq!(seen["groupVersion"], expected["groupVersion"]);
        let (seen, expected) = (by_name(&seen), by_name(&expected));
        for (name, resource) in &seen {
            let stock = expected
                .get(name)
                .unwrap_or_else(|| panic!("{path}: {name} is not served by a stock server"));
            assert_eq!(resource, stock, "{path}: {name}");
        }
        for name in expected.keys() {
            assert!(seen.contains_key(name), "{path}: {name} is missing");
        }
    }
}

#[tokio::test]
async fn the_aggregated_document_says_the_same() {
    let Some(expected) = golden("aggregated_v2.json") else { return };
    let harness = Harness::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = harness.ask_with("GET", "/apis", &[("accept", accept)], "").await;
    let etag = answer.headers["etag"].to_str().expect("etag").to_owned();
    let seen = answer.expect(200);
    for group in seen["items"].as_array().expect("items") {
        let name = &group["metadata"]["name"];
        let stock = expected["items"]
            .as_array()
            .expect("items")
            .iter()
            .find(|other| other["metadata"]["name"] == *name);
        let stock = stock.unwrap_or_else(|| panic!("{name} is not served by a stock server"));
        for version in group["versions"].as_array().expect("versions") {
            let same = stock["versions"]
                .as_array()
                .expect("versions")
                .iter()
                .find(|other| other["version"] == version["version"]);
            assert_eq!(Some(version), same, "{name}");
        }
    }
    let again = harness.ask_with("GET", "/apis", &[("accept", accept), ("if-none-match", &etag)], "").await;
    assert_eq!(again.code, 304);
}

#[tokio::test]
async fn groups_come_in_the_stock_order() {
    let Some(expected) = golden("apis.json") else { return };
    let harness = Harness::start().await;
    let seen = harness.get("/apis").await.expect(200);
    let names = |list: &Value| -> Vec<String> {
        list["groups"]
            .as_array()
            .expect("groups")
            .iter()
            .map(|group| group["name"].as_str().expect("name").to_owned())
            .collect()
    };
    let served = names(&seen);
    let stock: Vec<String> = names(&expected).into_iter().filter(|name| served.contains(name)).collect();
    assert_eq!(served, stock);
}

#[tokio::test]
async fn health_version_and_paths_are_answered() {
    let harness = Harness::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/livez/ping", "/readyz/etcd"] {
        let answer = harness.get(path).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "ok"), "{path}");
    }
    assert!(harness.get("/readyz?verbose").await.text.ends_with("readyz check passed\n"));
    assert_eq!(harness.get("/version").await.expect(200)["minor"], "36");
    assert!(
        harness.get("/").await.expect(200)["paths"]
            .as_array()
            .expect("paths")
            .contains(&"/apis/apps/v1".into())
    );
    assert!(
        harness.get("/metrics").await.text.contains("apiserver_storage_objects{resource=\"namespaces\"} 4")
    );
}

#[tokio::test]
async fn openapi_is_there_as_protobuf() {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    const PROTOBUF_V3: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let harness = Harness::start().await;
    for (path, accept, start) in
        [("/openapi/v2", PROTOBUF, "\n\u{3}2.0"), ("/openapi/v3/apis/apps/v1", PROTOBUF_V3, "\n\u{5}3.0.0")]
    {
        let media_type = accept.replace('@', ".");
        let answer = harness.ask_with("GET", path, &[("accept", accept)], "").await;
        assert_eq!((answer.code, answer.headers["content-type"].to_str().ok()), (200, Some(&*media_type)));
        assert!(answer.text.starts_with(start), "no version at the start of {path}");
    }
    for (path, accept, code) in [
        ("/openapi/v3", PROTOBUF_V3, 200),
        ("/openapi/v3/api/v1", PROTOBUF, 406),
        ("/openapi/v2", PROTOBUF_V3, 406),
        ("/openapi/v3/api/v1", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf, */*", 200),
        ("/openapi/v2", "text/html", 406),
    ] {
        let answer = harness.ask_with("GET", path, &[("accept", accept)], "").await;
        assert_eq!(answer.code, code, "{path} {accept}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_refused_as_the_stock_router_does() {
    let harness = Harness::start().await;
    let json = "the server could not find the requested resource";
    let method = "the server does not allow this method on the requested resource";
    for (asked, path, code, message) in [
        ("GET", "/nothing", 404, None),
        ("POST", "/nothing", 404, None),
        ("GET", "/healthz/nothing", 404, None),
        ("GET", "/apis/unknown.group", 404, None),
        ("GET", "/apis/unknown.group/v1/things", 404, None),
        ("GET", "/api/v1/nothings", 404, Some(json)),
        ("GET", "/api/v2", 404, Some(json)),
        ("GET", "/apis/apps/v7/deployments", 404, Some(json)),
        ("GET", "/api/v1/namespaces/default/pods/a/nothing", 404, Some(json)),
        ("GET", "/version/x", 404, Some(json)),
        ("HEAD", "/api/v1/nothings", 404, Some("")),
        ("HEAD", "/api/v1/namespaces", 405, Some("")),
        ("HEAD", "/api/v1/namespaces/default/status", 405, Some("")),
        ("HEAD", "/version", 405, Some("")),
        ("HEAD", "/api/v1", 405, Some("")),
        ("HEAD", "/apis", 200, Some("")),
        ("HEAD", "/livez", 200, None),
        ("POST", "/version", 405, Some(method)),
        ("OPTIONS", "/api/v1/namespaces", 405, Some(method)),
        ("POST", "/api/v1/pods", 405, Some(method)),
        ("DELETE", "/apis/apps/v1/deployments", 405, Some(method)),
        ("POST", "/api/v1/pods/a", 404, Some(json)),
        ("GET", "/api/v1/pods/a", 404, Some(json)),
        ("POST", "/api/v1/bindings", 404, Some(json)),
    ] {
        let answer = harness.ask(asked, path, Value::Null).await;
        let kind = answer.headers["content-type"].to_str().expect("text");
        assert_eq!(answer.code, code, "{asked} {path}");
        match message {
            None => {
                assert_eq!(kind, "text/plain; charset=utf-8", "{asked} {path}");
                let text = if code == 404 {
                    "404 page not found
"
                } else {
                    ""
                };
                assert_eq!(answer.text, text, "{asked} {path}");
            }
            Some("") => assert_eq!((kind, &*answer.text), ("application/json", ""), "{asked} {path}"),
            Some(message) => assert_eq!(answer.message(), message, "{asked} {path}"),
        }
    }
}

#[tokio::test]
async fn component_statuses_tell_what_the_components_say_when_asked() {
    let harness = Harness::start().await;
    let check = |outcome: Result<(), &'static str>| -> coracle_apiserver::ComponentCheck {
        Arc::new(move || Box::pin(async move { outcome.map_err(str::to_owned) }))
    };
    harness.server.set_components(vec![
        ("scheduler", check(Ok(()))),
        ("controller-manager", check(Err("not running"))),
    ]);
    let path = "/api/v1/componentstatuses";
    let list = harness.get(path).await.expect(200);
    assert_eq!(list["kind"], "ComponentStatusList");
    let conditions =
        |status: &str, message: &str| json!([{"type": "Healthy", "status": status, "message": message}]);
    assert_eq!(
        list["items"],
        json!([
            {"metadata": {"name": "controller-manager"}, "conditions": conditions("False", "not running")},
            {"metadata": {"name": "etcd-0"}, "conditions": conditions("True", "ok")},
            {"metadata": {"name": "scheduler"}, "conditions": conditions("True", "ok")},
        ])
    );
    let one = harness.get(&format!("{path}/etcd-0")).await.expect(200);
    assert_eq!((&one["kind"], &one["conditions"][0]["message"]), (&json!("ComponentStatus"), &json!("ok")));
    let missing = harness.get(&format!("{path}/nothing")).await;
    assert_eq!((missing.code, missing.message().as_str()), (500, "Component not found: nothing"));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = harness.ask_with("GET", path, &accept, "").await.expect(200);
    let cells: Vec<&Value> =
        table["rows"].as_array().expect("rows").iter().map(|row| &row["cells"]).collect();
    assert_eq!(cells[0], &json!(["controller-manager", "Unhealthy", "not running", ""]));
    assert_eq!(cells[2], &json!(["scheduler", "Healthy", "ok", ""]));
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    assert_eq!(harness.ask_with("GET", path, &accept, "").await.code, 200);
    assert!(harness.ask_with("GET", path, &accept, "").await.text.contains("etcd-0"));
}

#[tokio::test]
async fn old_kinds_say_at_every_use_that_they_are_old() {
    let harness = Harness::start().await;
    let warning = |answer: &harness::Answer| answer.headers.get("warning").cloned();
    let old = warning(&harness.get("/api/v1/namespaces/default/endpoints").await);
    let text = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    assert_eq!(old.expect("a warning"), text);
    assert_eq!(warning(&harness.get("/api/v1/namespaces/default/services").await), None);
}
