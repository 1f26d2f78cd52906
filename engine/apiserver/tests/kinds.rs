//! What is special about Services, Pods and Namespaces, and the subresources.

mod harness;

use coracle_client::Identity;
use harness::Harness;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_service_gets_an_address_keeps_it_and_gives_it_back() {
    let harness = Harness::start().await;
    let created = harness.post(SERVICES, service("a", json!({"ports": [{"port": 80}]}))).await.expect(201);
    let address = created["spec"]["clusterIP"].as_str().expect("address").to_owned();
    assert_eq!(created["spec"]["clusterIPs"], json!([address]));
    assert_eq!(
        (&created["spec"]["type"], &created["spec"]["ports"][0]["targetPort"]),
        (&json!("ClusterIP"), &json!(80))
    );
    assert_eq!(
        (&created["spec"]["ipFamilies"], &created["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    let same = service("b", json!({"clusterIP": address, "ports": [{"port": 80}]}));
    let taken = harness.post(SERVICES, same.clone()).await;
    assert_eq!(taken.code, 422, "{}", taken.text);
    assert!(taken.message().contains("provided IP is already allocated"), "{}", taken.text);
    // An update without the address keeps it; another one is refused.
    let update = service("a", json!({"ports": [{"port": 81}]}));
    assert_eq!(
        harness.ask("PUT", &format!("{SERVICES}/a"), update).await.expect(200)["spec"]["clusterIP"],
        *address
    );
    let moved = harness
        .ask(
            "PATCH",
            &format!("{SERVICES}/a"),
            json!({"spec": {"clusterIP": "10.43.99.99", "clusterIPs": ["10.43.99.99"]}}),
        )
        .await;
    assert_eq!(moved.code, 422);
    assert!(moved.message().contains("may not change once set"), "{}", moved.text);
    harness.ask("DELETE", &format!("{SERVICES}/a"), Value::Null).await.expect(200);
    harness.post(SERVICES, same).await.expect(201);
}

#[tokio::test]
async fn node_ports_are_chosen_kept_and_checked() {
    let harness = Harness::start().await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let created = harness.post(SERVICES, service("a", spec)).await.expect(201);
    let port = created["spec"]["ports"][0]["nodePort"].as_u64().expect("port");
    assert!((30000..=32767).contains(&port));
    let back = harness
        .ask("PATCH", &format!("{SERVICES}/a"), json!({"spec": {"type": "ClusterIP"}}))
        .await
        .expect(200);
    assert!(back["spec"]["ports"][0].get("nodePort").is_none(), "{back}");
    let low = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]});
    let refused = harness.post(SERVICES, service("b", low)).await;
    assert_eq!(
        refused.message(),
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
    );
    for (spec, why) in [
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
    ] {
        let mut spec = spec;
        spec["ports"] = json!([{"port": 80}]);
        let refused = harness.post(SERVICES, service("d", spec)).await.expect(422);
        assert!(refused["message"].as_str().unwrap().ends_with(why), "{refused}");
    }
    let none = harness.post(SERVICES, service("c", json!({}))).await;
    assert_eq!(none.message(), "Service \"c\" is invalid: spec.ports: Required value");
}

#[tokio::test]
async fn headless_and_external_services_need_no_address() {
    let harness = Harness::start().await;
    let headless = json!({"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]});
    let created = harness.post(SERVICES, service("h", headless)).await.expect(201);
    assert_eq!(
        (&created["spec"]["clusterIPs"], &created["spec"]["ipFamilies"]),
        (&json!(["None"]), &json!(["IPv4"]))
    );
    let external = json!({"type": "ExternalName", "externalName": "a.b.svc.cluster.local"});
    let created = harness.post(SERVICES, service("e", external)).await.expect(201);
    assert!(created["spec"].get("clusterIP").is_none(), "{created}");
}

#[tokio::test]
async fn a_pod_gets_its_account_token_tolerations_and_class() {
    let harness = Harness::start().await;
    let mut other = pod("a");
    other["spec"]["serviceAccountName"] = "other".into();
    let refused = harness.post(PODS, other).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "pods \"a\" is forbidden: error looking up service account default/other: serviceaccount \"other\" not found"
    );
    // Its name comes after the mutating plugins.
    let mut nameless = pod("a");
    nameless["metadata"] = json!({"generateName": "a-"});
    let mut stranger = nameless.clone();
    stranger["spec"]["serviceAccountName"] = "other".into();
    assert_eq!(
        harness.post(PODS, stranger).await.message(),
        "pods \"a-\" is forbidden: error looking up service account default/other: serviceaccount \"other\" not found"
    );
    // The pod is first here: it waits for the account that every namespace gets.
    let (created, ()) = tokio::join!(harness.post(PODS, pod("a")), harness.account("default"));
    let created = created.expect(201);
    nameless["spec"]["priorityClassName"] = "nope".into();
    assert_eq!(
        harness.post(PODS, nameless).await.message(),
        "pods \"a-\" is forbidden: no PriorityClass with name nope was found"
    );
    let spec = &created["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["priority"]), (&json!("default"), &json!(0)));
    assert!(spec["volumes"][0]["name"].as_str().expect("volume").starts_with("kube-api-access-"));
    assert_eq!(
        spec["containers"][0]["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(spec["tolerations"].as_array().expect("tolerations").len(), 2);
    assert_eq!(created["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(created["metadata"]["generation"], 1);
}

#[tokio::test]
async fn pods_name_no_secrets_but_those_of_an_account_that_says_so_and_mirror_pods_none() {
    let harness = Harness::start().await;
    let account = json!({
        "metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "own"}], "imagePullSecrets": [{"name": "registry"}]
    });
    harness.post("/api/v1/namespaces/default/serviceaccounts", account).await.expect(201);
    let env = |name: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
    let volume = |name: &str| json!([{"name": "v", "secret": {"secretName": name}}]);
    let container = |field: &str, value: Value| json!([{"name": "c", "image": "i", field: value}]);
    let not_that = "is not allowed because service account strict does not reference that secret";
    let account = ("serviceAccountName", json!("strict"));
    let token = json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]);
    let mirror = |reason: &str| format!("a mirror pod may not {reason}");
    for (fields, is_mirror, why) in [
        (vec![account.clone(), ("volumes", volume("own"))], false, String::new()),
        (vec![account.clone(), ("imagePullSecrets", json!([{"name": "registry"}]))], false, String::new()),
        (vec![account.clone(), ("volumes", volume("no"))], false, format!("volume with secret.secretName=\"no\" {not_that}")),
        (vec![account.clone(), ("containers", container("env", env("no")))], false, format!("container c with envVar E referencing secret.secretName=\"no\" {not_that}")),
        (vec![account.clone(), ("initContainers", json!([{"name": "d", "image": "i", "env": env("no")}]))], false, format!("init container d with envVar E referencing secret.secretName=\"no\" {not_that}")),
        (vec![account.clone(), ("containers", container("envFrom", json!([{"secretRef": {"name": "no"}}])))], false, format!("container c with envFrom referencing secret.secretName=\"no\" {not_that}")),
        (vec![account.clone(), ("imagePullSecrets", json!([{"name": "own"}]))], false, "imagePullSecrets[0].name=\"own\" is not allowed because service account strict does not reference that imagePullSecret".into()),
        (vec![], true, String::new()),
        (vec![account], true, mirror("reference service accounts")),
        (vec![("volumes", volume("own"))], true, mirror("reference secrets")),
        (vec![("imagePullSecrets", json!([{"name": "registry"}]))], true, mirror("reference secrets")),
        (vec![("volumes", token)], true, mirror("use ServiceAccountToken volume projections")),
    ] {
        let mut pod = pod("a");
        if is_mirror {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "m"});
            pod["spec"]["nodeName"] = "n".into();
        }
        for (field, value) in fields {
            pod["spec"][field] = value;
        }
        let answer = harness.post(&format!("{PODS}?dryRun=All"), pod.clone()).await;
        let expected = if why.is_empty() { (201, None) } else { (403, Some(format!("pods \"a\" is forbidden: {why}"))) };
        assert_eq!((answer.code, (answer.code != 201).then(|| answer.message())), expected, "{pod}");
    }
}

#[tokio::test]
async fn a_pod_is_bound_once_and_goes_gracefully() {
    let harness = Harness::start().await;
    harness.account("default").await;
    harness.post(PODS, pod("a")).await.expect(201);
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node-1"}});
    harness.post(&format!("{PODS}/a/binding"), binding.clone()).await.expect(201);
    let bound = harness.get(&format!("{PODS}/a")).await.expect(200);
    assert_eq!(
        (&bound["spec"]["nodeName"], &bound["status"]["conditions"][0]["type"]),
        (&json!("node-1"), &json!("PodScheduled"))
    );
    let again = harness.post(&format!("{PODS}/a/binding"), binding).await;
    assert_eq!(
        again.message(),
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"node-1\""
    );
    let listed = harness.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1").await.expect(200);
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);
    let deleting = harness.ask("DELETE", &format!("{PODS}/a"), Value::Null).await.expect(200);
    assert_eq!(deleting["metadata"]["deletionGracePeriodSeconds"], 30);
    harness.ask("DELETE", &format!("{PODS}/a?gracePeriodSeconds=0"), Value::Null).await.expect(200);
    assert_eq!(harness.get(&format!("{PODS}/a")).await.code, 404);
    harness.post(PODS, pod("b")).await.expect(201);
    harness.ask("DELETE", &format!("{PODS}/b"), Value::Null).await.expect(200);
    assert_eq!(harness.get(&format!("{PODS}/b")).await.code, 404, "an unassigned pod goes at once");
}

#[tokio::test]
async fn a_pod_learns_the_zone_of_its_node() {
    const ZONE: &str = "topology.kubernetes.io/zone";
    let harness = Harness::start().await;
    harness.account("default").await;
    let node = json!({"metadata": {"name": "node-1", "labels": {ZONE: "a", "disk": "ssd"}}});
    harness.post("/api/v1/nodes", node).await.expect(201);
    for (name, of_binding, zone) in [("a", json!({}), "a"), ("b", json!({ZONE: "of-binding"}), "of-binding")]
    {
        let mut unbound = pod(name);
        unbound["metadata"]["labels"] = json!({"app": "x", ZONE: "of-pod"});
        harness.post(PODS, unbound).await.expect(201);
        let binding = json!({"metadata": {"name": name, "labels": of_binding}, "target": {"kind": "Node", "name": "node-1"}});
        harness.post(&format!("{PODS}/{name}/binding"), binding).await.expect(201);
        let bound = harness.get(&format!("{PODS}/{name}")).await.expect(200);
        assert_eq!(bound["metadata"]["labels"], json!({"app": "x", ZONE: zone}), "{name}");
    }
    let mut placed = pod("c");
    placed["spec"]["nodeName"] = "node-1".into();
    let created = harness.post(PODS, placed).await.expect(201);
    assert_eq!(created["metadata"]["labels"][ZONE], "a");
}

#[tokio::test]
async fn a_pod_with_gates_says_that_it_waits_for_them() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let mut gated = pod("gated");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    for (pod, reason) in [(gated, json!("SchedulingGated")), (pod("free"), Value::Null)] {
        let created = harness.post(PODS, pod).await.expect(201);
        assert_eq!(created["status"]["conditions"][0]["reason"], reason);
    }
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let harness = Harness::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let labels = json!({"app": "a"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": labels}, "template": template}, "status": {"replicas": 7}});
    let created = harness.post(path, deployment).await.expect(201);
    assert_eq!((&created["spec"]["replicas"], created["status"].get("replicas")), (&json!(1), None));
    let patch = json!({"metadata": {"labels": {"x": "y"}, "annotations": {"x": "y"}}, "spec": {"replicas": 5},
        "status": {"replicas": 5}});
    let status = harness.ask("PATCH", &format!("{path}/a/status"), patch.clone()).await.expect(200);
    let metadata = &status["metadata"];
    assert_eq!((metadata.get("labels"), &metadata["annotations"]), (None, &json!({"x": "y"})));
    let levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/catch-all/status";
    let level = harness.ask("PATCH", levels, patch.clone()).await.expect(200);
    assert_eq!(level["metadata"]["labels"], Value::Null);
    assert_eq!(
        (&status["spec"]["replicas"], &status["status"]["replicas"], &status["metadata"]["generation"]),
        (&json!(1), &json!(5), &json!(1))
    );
    let spec = harness
        .ask("PATCH", &format!("{path}/a"), json!({"spec": {"replicas": 3}, "status": {"replicas": 9}}))
        .await
        .expect(200);
    assert_eq!(
        (&spec["spec"]["replicas"], &spec["status"]["replicas"], &spec["metadata"]["generation"]),
        (&json!(3), &json!(5), &json!(2))
    );
    let scale = harness.get(&format!("{path}/a/scale")).await.expect(200);
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(3), &json!("app=a")));
    let scaled =
        harness.ask("PATCH", &format!("{path}/a/scale"), json!({"spec": {"replicas": 4}})).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 4);
    let mut whole = harness.get(&format!("{path}/a/scale")).await.expect(200);
    whole["spec"]["replicas"] = (-1).into();
    let negative = harness.ask("PUT", &format!("{path}/a/scale"), whole).await;
    assert_eq!(negative.code, 422, "{}", negative.text);
}

/// A Deployment `a` of 2 replicas; the path of its scale.
async fn scaled(harness: &Harness) -> String {
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": template});
    harness.post(path, json!({"metadata": {"name": "a"}, "spec": spec})).await.expect(201);
    format!("{path}/a/scale")
}

#[tokio::test]
async fn what_a_patch_makes_of_a_scale_is_one() {
    let harness = Harness::start().await;
    let scale = scaled(&harness).await;
    let not_a_number = |of: &str| {
        format!("json: cannot unmarshal {of} into Go struct field ScaleSpec.spec.replicas of type int32")
    };
    let uid = harness.get(&scale).await.expect(200)["metadata"]["uid"].as_str().expect("a uid").to_owned();
    for (media, query, patch, code, why) in [
        ("merge-patch", "", json!({"spec": {"replicas": "3"}}), 422, not_a_number("string")),
        ("merge-patch", "", json!({"spec": {"replicas": true}}), 422, not_a_number("bool")),
        ("merge-patch", "", json!({"spec": {"replicas": 1.5}}), 422, not_a_number("number 1.5")),
        (
            "merge-patch",
            "",
            json!({"spec": {"replicas": 1_u64 << 40}}),
            422,
            not_a_number("number 1099511627776"),
        ),
        ("merge-patch", "", json!({"spec": "x"}), 422, "Scale.spec of type v1.ScaleSpec".to_owned()),
        (
            "strategic-merge-patch",
            "",
            json!({"spec": {"replicas": "3"}}),
            422,
            "map[spec:map[replicas:3]]".to_owned(),
        ),
        (
            "json-patch",
            "",
            json!([{"op": "replace", "path": "/spec/replicas", "value": "3"}]),
            422,
            not_a_number("string"),
        ),
        (
            "merge-patch",
            "?fieldValidation=Strict",
            json!({"spec": {"odd": 1}}),
            422,
            "unknown field \"spec.odd\"".to_owned(),
        ),
        ("merge-patch", "", json!({"kind": "Foo"}), 400, "Foo".to_owned()),
        (
            "merge-patch",
            "",
            json!({"metadata": {"name": "b"}}),
            400,
            "the name of the object (b) does not match the name on the URL (a)".to_owned(),
        ),
        (
            "merge-patch",
            "",
            json!({"metadata": {"uid": "other"}}),
            409,
            format!(
                "Operation cannot be fulfilled on deployments/scale.apps \"a\": Precondition failed: UID in precondition: other, UID in object meta: {uid}"
            ),
        ),
        (
            "merge-patch",
            "",
            json!({"spec": {"replicas": -1}}),
            422,
            "spec.replicas: Invalid value: -1".to_owned(),
        ),
    ] {
        let media = format!("application/{media}+json");
        let refused = harness
            .ask_with("PATCH", &format!("{scale}{query}"), &[("content-type", &media)], patch.to_string())
            .await;
        assert_eq!(refused.code, code, "{patch}: {}", refused.text);
        assert!(refused.message().contains(&why), "{patch}: {} lacks {why}", refused.message());
    }
    assert_eq!(harness.get(&scale).await.expect(200)["spec"]["replicas"], 2);
    // Of what it is, a strategic patch says nothing that counts.
    for (path, media, patch, code) in [
        (&*scale, "strategic", json!({"kind": "Deployment", "spec": {"replicas": 1}}), 200),
        (scale.trim_end_matches("/scale"), "strategic", json!({"kind": "X", "apiVersion": "x/v1"}), 200),
        (scale.trim_end_matches("/scale"), "", json!({"kind": "X"}), 400),
    ] {
        let media = format!(
            "application/{}",
            ["merge-patch+json", "strategic-merge-patch+json"][usize::from(!media.is_empty())]
        );
        let answer = harness.ask_with("PATCH", path, &[("content-type", &media)], patch.to_string()).await;
        assert_eq!(answer.code, code, "{patch}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_applied_to_a_scale_is_one() {
    let harness = Harness::start().await;
    let scale = scaled(&harness).await;
    let named = |name: &str, spec: Value| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}, "spec": spec});
    let mut stale = named("a", json!({"replicas": 3}));
    stale["metadata"]["resourceVersion"] = "1".into();
    for (config, code, why) in [
        (
            json!({"apiVersion": "v1", "kind": "Pod"}),
            400,
            "Specified patch version: v1, expected: autoscaling/v1",
        ),
        (
            json!({"apiVersion": "autoscaling/v1", "kind": "Pod"}),
            400,
            "the kind of the applied object (Pod) is not the expected one (Scale)",
        ),
        (named("b", json!({})), 400, "the name of the object (b) does not match the name on the URL (a)"),
        (
            named("a", json!({"replicas": "3"})),
            500,
            "failed to create typed patch object (default/a; autoscaling/v1, Kind=Scale): .spec.replicas: ",
        ),
        (named("a", json!({"odd": 3})), 500, ".spec.odd: field not declared in schema"),
        (stale, 409, "the object has been modified"),
    ] {
        let media = [("content-type", "application/apply-patch+yaml")];
        let path = format!("{scale}?fieldManager=m&force=true");
        let refused = harness.ask_with("PATCH", &path, &media, config.to_string()).await;
        assert_eq!(refused.code, code, "{config}: {}", refused.text);
        assert!(refused.message().contains(why), "{config}: {} lacks {why}", refused.message());
    }
    assert_eq!(harness.get(&scale).await.expect(200)["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_namespace_stays_until_it_is_finalized() {
    let harness = Harness::start().await;
    harness.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.expect(201);
    let deleting = harness.ask("DELETE", "/api/v1/namespaces/n", Value::Null).await.expect(200);
    assert_eq!(deleting["status"]["phase"], "Terminating");
    let refused = harness.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        (refused.code, &refused.json()["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    assert_eq!(
        (&*refused.message(), &refused.json()["details"]["name"]),
        (
            "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated",
            &json!("a")
        )
    );
    assert_eq!(deleting["metadata"].get("deletionGracePeriodSeconds"), None);
    let mut finalized = deleting;
    finalized["spec"]["finalizers"] = json!([]);
    harness.ask("PUT", "/api/v1/namespaces/n/finalize", finalized).await.expect(200);
    assert_eq!(harness.get("/api/v1/namespaces/n").await.code, 404);
}

#[tokio::test]
async fn evictions_respect_budgets() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let mut object = pod("a");
    object["metadata"]["labels"] = json!({"app": "a"});
    harness.post(PODS, object).await.expect(201);
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    harness.ask("PATCH", &format!("{PODS}/a/status"), ready).await.expect(200);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    harness.post(budgets, budget).await.expect(201);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let refused = harness.post(&format!("{PODS}/a/eviction"), eviction.clone()).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    harness.ask("PATCH", &format!("{budgets}/b/status"), status).await.expect(200);
    harness.post(&format!("{PODS}/a/eviction"), eviction).await.expect(201);
    assert_eq!(harness.get(&format!("{PODS}/a")).await.code, 404);
    let charged = harness.get(&format!("{budgets}/b")).await.expect(200);
    assert_eq!(charged["status"]["disruptionsAllowed"], 0);
}

#[tokio::test]
async fn what_is_posted_and_not_stored_has_the_shape_of_its_kind() {
    let harness = Harness::start().await;
    harness.account("default").await;
    harness.post(PODS, pod("a")).await.expect(201);
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let tokens = "/apis/authentication.k8s.io/v1/tokenreviews";
    let eviction = format!("{PODS}/a/eviction");
    let wrong = |field: &str, of: &str| {
        format!("json: cannot unmarshal number into Go struct field {field} of type {of}")
    };
    for (path, kind, body, why) in [
        (
            token,
            "TokenRequest",
            json!({"spec": {"audiences": [7]}}),
            wrong("TokenRequestSpec.spec.audiences", "string"),
        ),
        (tokens, "TokenReview", json!({"spec": {"token": 7}}), wrong("TokenReviewSpec.spec.token", "string")),
        (
            access,
            "SelfSubjectAccessReview",
            json!({"spec": {"resourceAttributes": {"verb": 7}}}),
            wrong("ResourceAttributes.spec.resourceAttributes.verb", "string"),
        ),
        (
            &eviction,
            "Eviction",
            json!({"deleteOptions": {"dryRun": 7}}),
            wrong("DeleteOptions.deleteOptions.dryRun", "[]string"),
        ),
    ] {
        let refused = harness.post(path, body).await;
        let why = format!("{kind} in version \"v1\" cannot be handled as a {kind}: {why}");
        assert_eq!((refused.code, refused.message()), (400, why));
    }
    let spec =
        json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}, "token": "t"}, "x": 1});
    for (path, strict) in [
        (
            token,
            "unknown field \"spec.resourceAttributes\", unknown field \"spec.token\", unknown field \"x\"",
        ),
        (access, "unknown field \"spec.token\", unknown field \"x\""),
        (tokens, "unknown field \"spec.resourceAttributes\", unknown field \"x\""),
        (&eviction, "unknown field \"spec\", unknown field \"x\""),
    ] {
        let refused = harness.post(&format!("{path}?fieldValidation=Strict"), spec.clone()).await;
        assert!(refused.code == 400 && refused.message().ends_with(strict), "{}", refused.text);
        let answer = harness.post(path, spec.clone()).await;
        let warnings = answer.headers.get_all("warning").iter().count();
        assert_eq!(warnings, strict.matches("unknown field").count(), "{path}");
        let answer = answer.expect(201);
        assert!(answer["x"].is_null(), "{answer}");
    }
}

#[tokio::test]
async fn both_event_groups_show_the_same_events() {
    let harness = Harness::start().await;
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started", "message": "m", "type": "Normal", "source": {"component": "kubelet"}, "count": 1
    });
    harness.post("/api/v1/namespaces/default/events", event).await.expect(201);
    let new = harness.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await.expect(200);
    assert_eq!(
        (&new["apiVersion"], &new["regarding"]["name"], &new["note"]),
        (&json!("events.k8s.io/v1"), &json!("p"), &json!("m"))
    );
    let chosen = harness
        .get("/api/v1/events?fieldSelector=involvedObject.name%3Dp%2Creason%3DStarted")
        .await
        .expect(200);
    assert_eq!(chosen["items"].as_array().expect("items").len(), 1);
}

#[tokio::test]
async fn an_event_has_what_every_event_has_in_both_groups() {
    let harness = Harness::start().await;
    let events = "/api/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}});
    let made = harness.post(events, event).await.expect(201);
    for (field, empty) in
        [("source", json!({})), ("reportingComponent", json!("")), ("reportingInstance", json!(""))]
    {
        assert_eq!(made[field], empty, "{field}");
    }
    let path = "/apis/events.k8s.io/v1/namespaces/default/events/e";
    let new = harness.get(path).await.expect(200);
    for field in ["reportingController", "reportingInstance"] {
        assert!(new.get(field).is_none(), "{new}");
    }
    let revision = new["metadata"]["resourceVersion"].clone();
    let same = harness.ask("PUT", path, new).await.expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], revision);
}

#[tokio::test]
async fn an_autoscaler_that_says_no_target_has_the_default_one_in_both_versions() {
    let harness = Harness::start().await;
    let of =
        |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let scaler = json!({
        "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}},
    });
    let made = harness.post(&of("v1"), scaler).await.expect(201);
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 80);
    let new = harness.get(&format!("{}/a", of("v2"))).await.expect(200);
    assert_eq!(new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
}

#[tokio::test]
async fn an_object_of_another_kind_is_refused_in_the_stock_words() {
    let harness = Harness::start().await;
    let other = |why: &str| format!("cannot be handled as a Deployment: {why}");
    for (kind, version, why) in [
        (
            json!("DaemonSet"),
            json!("apps/v1"),
            other("converting (v1.DaemonSet) to (apps.Deployment): unknown conversion"),
        ),
        (json!("Pod"), json!("v1"), other("converting (v1.Pod) to (apps.Deployment): unknown conversion")),
        (
            json!("Deployment"),
            json!("apps/v7"),
            other(
                "no kind \"Deployment\" is registered for version \"apps/v7\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            ),
        ),
        (
            json!(7),
            json!("apps/v1"),
            "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string"
                .to_owned(),
        ),
    ] {
        let body = json!({"kind": kind, "apiVersion": version, "metadata": {"name": "a"}});
        let refused = harness.post("/apis/apps/v1/namespaces/default/deployments", body).await;
        assert_eq!((refused.code, refused.message().contains(&why)), (400, true), "{}", refused.text);
    }
}

#[tokio::test]
async fn who_may_not_is_told_in_the_stock_words() {
    let harness = Harness::start().await;
    let request = http::Request::builder().uri(PODS).body(http_body_util::Full::default()).expect("request");
    let nobody = Identity { user: "eve".into(), groups: Vec::new() };
    let answer = harness::answer(harness.send(Some(nobody), request).await).await;
    assert_eq!(answer.code, 403);
    assert_eq!(
        answer.message(),
        "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let request =
        http::Request::builder().uri("/foo").body(http_body_util::Full::default()).expect("request");
    let answer = harness::answer(harness.send(None, request).await).await;
    assert_eq!(
        (answer.code, answer.message().as_str()),
        (403, "forbidden: User \"system:anonymous\" cannot get path \"/foo\"")
    );
}

#[tokio::test]
async fn string_data_becomes_data_and_immutable_objects_stay() {
    let harness = Harness::start().await;
    let path = "/api/v1/namespaces/default/secrets";
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}, "immutable": true});
    let created = harness.post(path, secret).await.expect(201);
    assert_eq!(
        (&created["data"], created.get("stringData"), &created["type"]),
        (&json!({"a": "Yg=="}), None, &json!("Opaque"))
    );
    let changed = harness.ask("PATCH", &format!("{path}/s"), json!({"stringData": {"a": "c"}})).await;
    assert_eq!(
        changed.message(),
        "Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
    );
    let tls = json!({"metadata": {"name": "t"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "Yg=="}});
    assert_eq!(
        harness.post(path, tls).await.message(),
        "Secret \"t\" is invalid: data[tls.key]: Required value"
    );
    let keys = json!({"metadata": {"name": "k"}, "data": {"a/b": "x"}});
    assert_eq!(harness.post("/api/v1/namespaces/default/configmaps", keys).await.code, 422);
}
