//! What the kinds' own checks say, over the API: bad objects are refused with the stock texts, good ones get stored.

mod harness;
mod policies;

use harness::Harness;
use serde_json::{Value, json};

const SPEC: &str = r#"{"containers": [{"name": "a", "image": "a"}]}"#;

fn workload(labels: Value) -> Value {
    let spec: Value = serde_json::from_str(SPEC).expect("spec");
    json!({"metadata": {"name": "x"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": labels}, "spec": spec}
    }})
}

#[tokio::test]
async fn bad_objects_are_refused_with_the_stock_text() {
    let harness = Harness::start().await;
    harness.account("default").await;
    for (path, object, text) in [
        (
            "/api/v1/namespaces/default/pods",
            json!({"metadata": {"name": "x"}, "spec": {"containers": []}}),
            "Pod \"x\" is invalid: spec.containers: Required value",
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            workload(json!({"a": "c"})),
            "Deployment.apps \"x\" is invalid: spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
        ),
        (
            "/api/v1/namespaces/default/secrets",
            json!({"metadata": {"name": "x"}, "type": "kubernetes.io/ssh-auth"}),
            "Secret \"x\" is invalid: data[ssh-privatekey]: Required value",
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}}),
            "Job.batch \"x\" is invalid: spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            "/api/v1/namespaces/default/resourcequotas",
            json!({"metadata": {"name": "x"}, "spec": {"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}}),
            "ResourceQuota \"x\" is invalid: spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
        ),
        (
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            json!({"metadata": {"name": "x"}, "spec": {"maxReplicas": 0, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
            "HorizontalPodAutoscaler.autoscaling \"x\" is invalid: [spec.maxReplicas: Invalid value: 0: must be greater than 0, spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`]",
        ),
        (
            "/apis/networking.k8s.io/v1/servicecidrs",
            json!({"metadata": {"name": "x"}, "spec": {"cidrs": ["10.0.0.1/16"]}}),
            "ServiceCIDR.networking.k8s.io \"x\" is invalid: spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length",
        ),
        (
            "/apis/networking.k8s.io/v1/ipaddresses",
            json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services", "name": ""}}}),
            "IPAddress.networking.k8s.io \"10.0.0.1\" is invalid: spec.parentRef.name: Required value",
        ),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            json!({"metadata": {"name": "x"}, "spec": {"drivers": [{"name": "d", "nodeID": ""}]}}),
            "CSINode.storage.k8s.io \"x\" is invalid: spec.drivers[0].nodeID: Required value",
        ),
        (
            "/apis/storage.k8s.io/v1/volumeattachments",
            json!({"metadata": {"name": "x"}, "spec": {"attacher": "a", "nodeName": "n", "source": {}}}),
            "VolumeAttachment.storage.k8s.io \"x\" is invalid: spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"metadata": {"name": "x"}, "spec": {"backoffLimitPerIndex": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}}}),
            "Job.batch \"x\" is invalid: spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
    ] {
        let answer = harness.post(path, object).await;
        assert_eq!((answer.code, answer.message().as_str()), (422, text));
    }
}

#[tokio::test]
async fn a_stored_pod_and_deployment_change_only_where_they_may() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let pods = "/api/v1/namespaces/default/pods";
    let spec: Value = serde_json::from_str(SPEC).expect("spec");
    harness.post(pods, json!({"metadata": {"name": "x"}, "spec": spec})).await.expect(201);
    let pod = format!("{pods}/x");
    harness.ask("PATCH", &pod, json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "other"}]);
    harness.ask("PATCH", &pod, image).await.expect(200);
    let refused = harness.ask("PATCH", &pod, json!({"spec": {"hostNetwork": true}})).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.message().contains("pod updates may not change fields other than"),
        "{}",
        refused.message()
    );

    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    harness.post(deployments, workload(json!({"a": "b"}))).await.expect(201);
    let change = json!({"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}}}}});
    let refused = harness.ask("PATCH", &format!("{deployments}/x"), change).await;
    assert!(refused.message().ends_with("field is immutable"), "{}", refused.message());
}

#[tokio::test]
async fn a_job_selects_by_its_uid() {
    let harness = Harness::start().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]});
    let job = harness
        .post(jobs, json!({"metadata": {"name": "x"}, "spec": {"template": {"spec": spec}}}))
        .await
        .expect(201);
    let uid = &job["metadata"]["uid"];
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], *uid);
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "x");
    let suspended = json!({"spec": {"suspend": true}});
    harness.ask("PATCH", &format!("{jobs}/x"), suspended).await.expect(200);
}

#[tokio::test]
async fn an_ingress_without_a_class_gets_the_default_one() {
    let harness = Harness::start().await;
    let class = json!({"metadata": {"name": "main", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}, "spec": {"controller": "a.b/c"}});
    harness.post("/apis/networking.k8s.io/v1/ingressclasses", class).await.expect(201);
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "x"}, "spec": {"defaultBackend": backend}});
    let made =
        harness.post("/apis/networking.k8s.io/v1/namespaces/default/ingresses", ingress).await.expect(201);
    assert_eq!(made["spec"]["ingressClassName"], "main");
}

#[tokio::test]
async fn tables_show_the_columns_of_the_kind() {
    let harness = Harness::start().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = harness.ask_with("GET", "/api/v1/services", &accept, "").await.expect(200);
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .filter_map(|own| own["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]);
    assert_eq!(table["rows"][0]["cells"][0], "kubernetes");
    assert_eq!(table["rows"][0]["cells"][4], "443/TCP");
}
