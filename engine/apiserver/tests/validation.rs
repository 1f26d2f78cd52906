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
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            json!({"metadata": {"name": "x"}, "spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "behavior": {"scaleUp": {"policies": []}}}}),
            "HorizontalPodAutoscaler.autoscaling \"x\" is invalid: spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
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
async fn some_kinds_are_replaced_only_at_a_revision() {
    let harness = Harness::start().await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/x";
    let whole = |holder: &str| json!({"metadata": {"name": "x"}, "spec": {"holderIdentity": holder, "strategy": "any"}});
    // An absent one is created; what only coordinated leader election would read is dropped.
    let made = harness.ask("PUT", lease, whole("a")).await.expect(201);
    assert_eq!(made["spec"], json!({"holderIdentity": "a"}));
    let refused = harness.ask("PUT", lease, whole("b")).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            422,
            "leases.coordination.k8s.io \"x\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        )
    );
    let mut next = made.clone();
    next["spec"]["holderIdentity"] = "b".into();
    harness.ask("PUT", lease, next).await.expect(200);
    let class = "/apis/node.k8s.io/v1/runtimeclasses/x";
    let made = harness.ask("PUT", class, json!({"metadata": {"name": "x"}, "handler": "h"})).await;
    assert_eq!(made.code, 201, "a RuntimeClass is created by PUT");
}

#[tokio::test]
async fn generations_count_as_the_stock_strategies_do() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let spec: Value = serde_json::from_str(SPEC).expect("spec");
    for (path, object, change, next) in [
        (
            "/api/v1/namespaces/default/podtemplates",
            json!({"template": {"spec": spec}}),
            json!({"template": {"metadata": {"labels": {"a": "b"}}}}),
            2,
        ),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", json!({"value": 1}), json!({"description": "d"}), 1),
        (
            "/apis/resource.k8s.io/v1/deviceclasses",
            json!({"spec": {}}),
            json!({"spec": {"extendedResourceName": "a.b/gpu"}}),
            2,
        ),
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            json!({"spec": {}}),
            json!({"spec": {"requiresRepublish": true}}),
            2,
        ),
    ] {
        let mut object = object;
        object["metadata"] = json!({"name": "x"});
        let made = harness.post(path, object).await.expect(201);
        assert_eq!(made["metadata"]["generation"], 1, "{path}");
        let changed = harness.ask("PATCH", &format!("{path}/x"), change).await.expect(200);
        assert_eq!(changed["metadata"]["generation"], next, "{path}");
    }
}

#[tokio::test]
async fn the_networks_of_a_node_are_told_in_both_fields() {
    let harness = Harness::start().await;
    let nodes = "/api/v1/nodes";
    let source = json!({"configMap": {"name": "a", "namespace": "b", "kubeletConfigKey": "c"}});
    let node = json!({"metadata": {"name": "x"}, "spec": {"podCIDR": "10.0.0.0/24", "configSource": source}});
    let made = harness.post(nodes, node).await.expect(201);
    assert_eq!(
        (&made["spec"]["podCIDRs"], &made["spec"]["configSource"]),
        (&json!(["10.0.0.0/24"]), &Value::Null)
    );
    let node = format!("{nodes}/x");
    let patch = |spec: Value| harness.ask("PATCH", &node, json!({"spec": spec}));
    let refused = patch(json!({"podCIDR": "10.0.9.0/24"})).await;
    assert!(
        refused.message().ends_with("node updates may not change podCIDR except from \"\" to valid"),
        "{}",
        refused.text
    );
    // The first one is authoritative.
    let kept = patch(json!({"podCIDRs": ["10.0.9.0/24"]})).await.expect(200);
    assert_eq!(kept["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
}

#[tokio::test]
async fn a_status_that_comes_along_stays_with_nodes_and_service_cidrs_alone() {
    let harness = Harness::start().await;
    let posted =
        |status: &Value, spec: Value| json!({"metadata": {"name": "x"}, "spec": spec, "status": status});
    let (nodes, cidrs) = ("/api/v1/nodes", "/apis/networking.k8s.io/v1/servicecidrs");
    let conditions = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "A", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
    let capacity =
        json!({"capacity": {"cpu": "32", "pods": "110"}, "allocatable": {"cpu": "30"}, "phase": "Running"});
    let budget = json!({"maxUnavailable": 1});
    for (path, spec, status, kept) in [
        (nodes, json!({}), &capacity, &capacity),
        (cidrs, json!({"cidrs": ["10.9.0.0/24"]}), &conditions, &conditions),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget, &conditions, &Value::Null),
    ] {
        let made = harness.post(path, posted(status, spec)).await.expect(201);
        for (field, _) in status.as_object().into_iter().flatten() {
            assert_eq!(made["status"][field], kept[field], "{path} {field}");
        }
        let owned = made["metadata"]["managedFields"].to_string();
        assert!(!owned.contains("f:status"), "a posted status is nobody's: {owned}");
    }
    let negative = json!({"allocatable": {"cpu": "-1"}});
    let refused = harness.post(nodes, posted(&negative, json!({}))).await.message();
    assert!(refused.contains("status.allocatable.cpu: Invalid value: \"-1\""), "{refused}");
}

#[tokio::test]
async fn access_to_devices_as_an_administrator_is_for_labelled_namespaces() {
    let harness = Harness::start().await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let exactly = json!({"deviceClassName": "gpu", "adminAccess": true});
    let claim = json!({"metadata": {"name": "x"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}});
    let refused = harness.post(claims, claim.clone()).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            422,
            "ResourceClaim.resource.k8s.io \"x\" is invalid: spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"
        )
    );
    let labels = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    harness.ask("PATCH", "/api/v1/namespaces/default", labels).await.expect(200);
    harness.post(claims, claim).await.expect(201);
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

#[tokio::test]
async fn metadata_is_refused_with_the_stock_text() {
    let harness = Harness::start().await;
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": true});
    let owners = "[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"a\",\"uid\":\"a\",\"controller\":true},{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"b\",\"uid\":\"b\",\"controller\":true}]";
    let two = format!(
        "ConfigMap \"x\" is invalid: metadata.ownerReferences: Invalid value: {owners}: Only one reference can have Controller set to true. Found \"true\" in references for Pod/a and Pod/b"
    );
    let maps = "/api/v1/namespaces/default/configmaps";
    for (path, object, text) in [
        (
            maps,
            json!({"metadata": {"name": "x", "finalizers": ["a/b", "x"]}}),
            "ConfigMap \"x\" is invalid: metadata.finalizers[1]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ),
        (maps, json!({"metadata": {"name": "x", "ownerReferences": [owner("a"), owner("b")]}}), &two),
        (
            "/api/v1/namespaces",
            json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["y"]}}),
            "Namespace \"x\" is invalid: spec.finalizers: Invalid value: \"y\": name is neither a standard finalizer name nor is it fully qualified",
        ),
    ] {
        let answer = harness.post(path, object).await;
        assert_eq!((answer.code, answer.message().as_str()), (422, text));
    }
    let phase = json!({"status": {"phase": "Terminating"}});
    let refused = harness.ask("PATCH", "/api/v1/namespaces/default/status", phase).await;
    assert_eq!(
        refused.message(),
        "Namespace \"default\" is invalid: status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    );
}

#[tokio::test]
async fn what_a_feature_that_is_off_would_read_is_dropped() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let mut set = workload(json!({"a": "b"}));
    set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
    let made = harness.post("/apis/apps/v1/namespaces/default/statefulsets", set).await.expect(201);
    assert_eq!(made["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 0}));
}
