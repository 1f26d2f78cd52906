//! Server-side apply and managed fields on a real store, in process.

mod harness;

use harness::{Answer, Harness};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn apply(harness: &Harness, path: &str, query: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/apply-patch+yaml")];
    harness.ask_with("PATCH", &format!("{path}?{query}"), &headers, body.to_owned()).await
}

fn map(data: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {data}}}")
}

fn entries(object: &Value) -> Vec<(String, String, Value)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| (text(entry, "manager"), text(entry, "operation"), entry["fieldsV1"].clone()))
        .collect()
}

#[tokio::test]
async fn applying_creates_merges_conflicts_and_is_forced() {
    let harness = Harness::start().await;
    let one = format!("{MAPS}/a");
    let created = apply(&harness, &one, "fieldManager=me", &map("{k: '1'}")).await.expect(201);
    assert_eq!(entries(&created), [("me".into(), "Apply".into(), json!({"f:data": {"f:k": {}}}))]);
    let again = apply(&harness, &one, "fieldManager=me", &map("{k: '1'}")).await.expect(200);
    assert_eq!(again, created, "nothing changed");
    let refused = apply(&harness, &one, "fieldManager=other", &map("{k: '2'}")).await.expect(409);
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"me\": .data.k");
    assert_eq!(
        refused["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"me\"", "field": ".data.k"}])
    );
    let dry = apply(&harness, &one, "fieldManager=other&force=true&dryRun=All", &map("{k: '2'}")).await;
    assert_eq!(dry.expect(200)["data"]["k"], "2");
    let forced = apply(&harness, &one, "fieldManager=other&force=true", &map("{k: '2'}")).await.expect(200);
    assert_eq!(entries(&forced).len(), 1);
    let emptied = apply(&harness, &one, "fieldManager=other", "{apiVersion: v1, kind: ConfigMap}").await;
    assert_eq!(emptied.expect(200)["data"], Value::Null);
}

#[tokio::test]
async fn what_is_not_an_apply_is_refused_with_the_stock_text() {
    let harness = Harness::start().await;
    let one = format!("{MAPS}/a");
    let rows = [
        (
            "",
            map("{}"),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "fieldManager=me",
            "{apiVersion: v1, kind: ConfigMap, metadata: {managedFields: [{manager: x}]}}".into(),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            "fieldManager=me",
            "{apiVersion: v1, kind: ConfigMap, metadata: {managedFields: []}}".into(),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            "fieldManager=me",
            map("{}").replace("v1", "v2"),
            400,
            "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        (
            "fieldManager=me",
            map("{}").replace(" data:", " date:"),
            500,
            "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .date: field not declared in schema",
        ),
        (
            "fieldManager=me",
            map("{k: 5}"),
            500,
            "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .data.k: expected string, got &value.valueUnstructured{Value:5}",
        ),
    ];
    for (query, body, code, text) in rows {
        let answer = apply(&harness, &one, query, &body).await;
        assert_eq!((answer.code, answer.message().as_str()), (code, text));
    }
    let containers = |inner: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, spec: {{template: {{spec: {{containers: {inner}}}}}}}}}"
        )
    };
    let at = "failed to create typed patch object (default/d; apps/v1, Kind=Deployment): .spec.template.spec.containers";
    for (inner, why) in [
        ("{a: b}", ": expected list, got &{map[a:b]}"),
        ("[{name: c, env: x}]", "[name=\"c\"].env: expected list, got &{x}"),
        ("[{name: c, tty: 1}]", "[name=\"c\"].tty: expected boolean, got &{1}"),
        (
            "[{name: c, args: [a, true]}]",
            "[name=\"c\"].args[1]: expected string, got &value.valueUnstructured{Value:true}",
        ),
        (
            "[{name: c, ports: [{containerPort: \"80\"}]}]",
            "[name=\"c\"].ports[containerPort=\"80\",protocol=\"TCP\"].containerPort: expected numeric (int or float), got string",
        ),
    ] {
        let answer =
            apply(&harness, &format!("{DEPLOYMENTS}/d"), "fieldManager=me", &containers(inner)).await;
        assert_eq!((answer.code, answer.message()), (500, format!("{at}{why}")));
    }
    // Several are told together.
    let both = containers("[{name: c, tty: 1, args: [1]}]");
    let answer = apply(&harness, &format!("{DEPLOYMENTS}/d"), "fieldManager=me", &both).await;
    let (start, item) = at.split_once(".spec").expect("a path");
    let lines = [
        format!("  .spec{item}[name=\"c\"].tty: expected boolean, got &{{1}}"),
        format!(
            "  .spec{item}[name=\"c\"].args[0]: expected string, got &value.valueUnstructured{{Value:1}}"
        ),
    ];
    assert_eq!((answer.code, answer.message()), (500, format!("{start}errors:\n{}", lines.join("\n"))));
    let forced = harness.ask("PATCH", &format!("{one}?force=true"), json!({})).await;
    assert!(forced.message().contains("may not be specified for non-apply patch"), "{}", forced.text);
}

#[tokio::test]
async fn every_write_is_tracked_and_can_be_reset() {
    let harness = Harness::start().await;
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}
    });
    let headers = [("content-type", "application/json"), ("user-agent", "tool/v1 (linux)")];
    harness.ask_with("POST", DEPLOYMENTS, &headers, body.to_string()).await.expect(201);
    let one = format!("{DEPLOYMENTS}/web");
    let scale = json!({"spec": {"replicas": 3}});
    harness.ask("PATCH", &format!("{one}/scale?fieldManager=scaler"), scale).await.expect(200);
    let status = json!({"status": {"replicas": 1}});
    let object =
        harness.ask("PATCH", &format!("{one}/status?fieldManager=controller"), status).await.expect(200);
    let seen: Vec<(Value, Value)> = object["metadata"]["managedFields"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| (entry["manager"].clone(), entry["subresource"].clone()))
        .collect();
    let mut expected = [("controller", json!("status")), ("scaler", json!("scale")), ("tool", Value::Null)];
    expected.sort_by_key(|(name, _)| seen.iter().position(|(own, _)| own == name));
    assert_eq!(seen, expected.map(|(name, subresource)| (json!(name), subresource)));
    let config = "{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 5}}";
    assert_eq!(
        apply(&harness, &one, "fieldManager=me", config).await.message(),
        "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let reset = json!({"metadata": {"managedFields": [{}]}});
    assert!(entries(&harness.ask("PATCH", &one, reset).await.expect(200)).is_empty());
    assert!(
        entries(&harness.ask("PATCH", &one, json!({"spec": {"paused": true}})).await.expect(200)).is_empty()
    );
}

#[tokio::test]
async fn nobody_owns_by_its_status_what_that_never_stores() {
    let harness = Harness::start().await;
    let deployment = json!({
        "metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}
    });
    let attachment = json!({"metadata": {"name": "web"}, "spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
    const ATTACHMENTS: &str = "/apis/storage.k8s.io/v1/volumeattachments";
    let rows = [
        (
            DEPLOYMENTS,
            deployment,
            "apiVersion: apps/v1, kind: Deployment",
            "replicas: 0",
            json!({"f:annotations": {"f:b": {}}}),
        ),
        (
            ATTACHMENTS,
            attachment,
            "apiVersion: storage.k8s.io/v1, kind: VolumeAttachment",
            "attached: true",
            Value::Null,
        ),
    ];
    for (path, object, kind, status, expected) in rows {
        harness.post(path, object).await.expect(201);
        let config = format!(
            "{{{kind}, metadata: {{name: web, labels: {{a: b}}, annotations: {{b: c}}}}, status: {{{status}}}}}"
        );
        let one = format!("{path}/web/status");
        let applied = apply(&harness, &one, "fieldManager=me", &config).await.expect(200);
        let own = entries(&applied).into_iter().find(|(manager, ..)| manager == "me").expect("an entry").2;
        assert_eq!((applied["metadata"].get("labels"), &own["f:metadata"]), (None, &expected), "{path}");
    }
}

#[tokio::test]
async fn what_kubectl_noted_on_the_clients_side_follows_what_it_applies_on_the_servers() {
    let harness = Harness::start().await;
    const NOTE: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let maps = "/api/v1/namespaces/default/configmaps";
    let noted = json!({"metadata": {"name": "a", "annotations": {NOTE: "{}"}}, "data": {"k": "v"}});
    harness.post(maps, noted).await.expect(201);
    let config = "{kind: ConfigMap, apiVersion: v1, metadata: {name: a}, data: {x: \"<1>\", k: v}}";
    let one = format!("{maps}/a");
    let other = apply(&harness, &one, "fieldManager=other", config).await.expect(200);
    assert_eq!(other["metadata"]["annotations"][NOTE], "{}");
    let applied = apply(&harness, &one, "fieldManager=kubectl", config).await.expect(200);
    let expected = "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"v\",\"x\":\"\\u003c1\\u003e\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\n";
    assert_eq!(applied["metadata"]["annotations"][NOTE], expected);
    // Where nothing was noted, nothing is.
    let fresh = config.replace("name: a", "name: b");
    let fresh = apply(&harness, &format!("{maps}/b"), "fieldManager=kubectl", &fresh).await.expect(201);
    assert_eq!(fresh["metadata"].get("annotations"), None);
}

#[tokio::test]
async fn a_false_that_is_applied_is_no_silence() {
    let harness = Harness::start().await;
    let one = format!("{DEPLOYMENTS}/w");
    let deployment = |paused: bool| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w", "annotations": {}}, "spec": {
            "paused": paused, "selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "tty": false}]}}}})
        .to_string()
    };
    apply(&harness, &one, "fieldManager=me", &deployment(true)).await.expect(201);
    let refused = apply(&harness, &one, "fieldManager=other", &deployment(false)).await.expect(409);
    let fields = refused["details"]["causes"].as_array().expect("causes").iter().map(|cause| &cause["field"]);
    assert_eq!(
        json!(fields.collect::<Vec<_>>()),
        json!([".metadata.annotations", ".spec.paused", ".spec.template.spec.containers[name=\"c\"].tty"])
    );
    let mine = apply(&harness, &one, "fieldManager=me", &deployment(false)).await.expect(200);
    assert_eq!(mine["spec"].get("paused"), None);
    assert_eq!(entries(&mine)[0].2["f:spec"]["f:paused"], json!({}));
    let again = apply(&harness, &one, "fieldManager=me", &deployment(false)).await.expect(200);
    assert_eq!(again, mine, "nothing changed");
}
