//! What the admission plugins that watch over a namespace do, over the API: quotas, limits, pod security, classes.

use futures::future::join_all;
use serde_json::{Value, json};

use super::harness::Harness;

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

async fn quota(harness: &Harness, spec: Value) {
    harness.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": spec})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_the_same_time_never_exceed_a_quota_together() {
    let harness = Harness::start().await;
    quota(&harness, json!({"hard": {"count/configmaps": "5", "secrets": "0"}})).await;
    let names: Vec<String> = (0..40).map(|number| format!("m{number}")).collect();
    let answers = join_all(names.iter().map(|name| harness.post(MAPS, map(name)))).await;
    let codes = |code: u16| answers.iter().filter(|answer| answer.code == code).count();
    assert_eq!((codes(201), codes(403)), (5, 35));
    let listed = harness.get(MAPS).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(5));
    let refused = harness.post(MAPS, map("more")).await;
    assert_eq!(
        refused.message(),
        "configmaps \"more\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=5, limited: count/configmaps=5"
    );
    // What goes makes room at once; what fails, or was only tried, holds nothing.
    let gone = listed["items"][0]["metadata"]["name"].as_str().expect("name");
    let taken = listed["items"][1]["metadata"]["name"].as_str().expect("name");
    harness.ask("DELETE", &format!("{MAPS}/{gone}"), Value::Null).await.expect(200);
    harness.post(&format!("{MAPS}?dryRun=All"), map("tried")).await.expect(201);
    harness.post(MAPS, map(taken)).await.expect(409);
    harness.post(MAPS, map("last")).await.expect(201);
    harness.post(MAPS, map("beyond")).await.expect(403);
    harness.post("/api/v1/namespaces/default/secrets", map("s")).await.expect(403);
    harness.post("/api/v1/namespaces/kube-public/configmaps", map("elsewhere")).await.expect(201);
}

#[tokio::test]
async fn a_quota_of_compute_counts_what_pods_ask_for() {
    let harness = Harness::start().await;
    harness.account("default").await;
    quota(&harness, json!({"hard": {"requests.cpu": "1", "pods": "2", "requests.example.com/gpu": "1"}}))
        .await;
    let memory = json!({"metadata": {"name": "memory"}, "spec": {"hard": {"limits.memory": "1Gi"}}});
    let other = "/api/v1/namespaces/kube-public";
    harness.account("kube-public").await;
    harness.post(&format!("{other}/resourcequotas"), memory).await.expect(201);
    let bare = json!({"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let refused = harness.post(&format!("{other}/pods"), bare).await;
    let why = "pods \"bare\" is forbidden: failed quota: memory: must specify limits.memory for: c";
    assert_eq!((refused.code, refused.message().as_str()), (403, why));
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    for (name, resources, expected) in [
        ("bare", json!({}), "pods \"bare\" is forbidden: failed quota: q: must specify requests.cpu for: c"),
        ("a", asks("600m"), ""),
        (
            "b",
            asks("500m"),
            "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1",
        ),
        (
            "gpu",
            json!({"requests": {"cpu": "1m", "example.com/gpu": "2"}, "limits": {"example.com/gpu": "2"}}),
            "pods \"gpu\" is forbidden: exceeded quota: q, requested: requests.example.com/gpu=2, used: requests.example.com/gpu=0, limited: requests.example.com/gpu=1",
        ),
        ("c", asks("400m"), ""),
    ] {
        let answer = harness.post(PODS, pod(name, resources)).await;
        let expected = (if expected.is_empty() { 201 } else { 403 }, expected.to_owned());
        assert_eq!((answer.code, answer.message()), expected);
    }
    // A pod that has ended counts no more.
    let ended = json!({"status": {"phase": "Succeeded"}});
    harness.ask("PATCH", &format!("{PODS}/a/status"), ended).await.expect(200);
    harness.post(PODS, pod("b", asks("500m"))).await.expect(201);
}

#[tokio::test]
async fn a_service_that_becomes_a_load_balancer_is_charged_for_it() {
    let harness = Harness::start().await;
    quota(&harness, json!({"hard": {"services.loadbalancers": "0", "services.nodeports": "1"}})).await;
    let services = "/api/v1/namespaces/default/services";
    let spec = json!({"ports": [{"port": 80}], "selector": {"a": "b"}});
    harness.post(services, json!({"metadata": {"name": "s"}, "spec": spec})).await.expect(201);
    let turned = |kind: &str| json!({"spec": {"type": kind}});
    let path = format!("{services}/s");
    let refused = harness.ask("PATCH", &path, turned("LoadBalancer")).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "services \"s\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0"
        )
    );
    harness.ask("PATCH", &path, turned("NodePort")).await.expect(200);
}

#[tokio::test]
async fn limit_ranges_fill_in_and_bound() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let limits = json!([
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]);
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": limits}});
    harness.post("/api/v1/namespaces/default/limitranges", range).await.expect(201);
    let made = harness.post(PODS, pod("a", json!({}))).await.expect(201);
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let refused = harness.post(PODS, pod("b", json!({"limits": {"cpu": "2"}}))).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (403, "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2")
    );
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
    let refused = harness.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await;
    assert_eq!(
        refused.message(),
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"
    );
}

fn warnings(answer: &super::harness::Answer) -> Vec<String> {
    let all = answer.headers.get_all("warning").into_iter();
    all.map(|value| value.to_str().expect("text").trim_start_matches("299 - ").replace("\\\"", "\""))
        .collect()
}

#[tokio::test]
async fn pod_security_refuses_warns_and_checks_labels() {
    let harness = Harness::start().await;
    harness.account("default").await;
    harness.post(PODS, pod("old", json!({}))).await.expect(201);
    let namespace = "/api/v1/namespaces/default";
    let label = |name: &str, value: &str| {
        let mut labels = json!({"metadata": {"labels": {}}});
        labels["metadata"]["labels"][format!("pod-security.kubernetes.io/{name}")] = value.into();
        labels
    };
    let wrong = harness.ask("PATCH", namespace, label("enforce", "strict")).await;
    assert_eq!(
        (wrong.code, wrong.message().as_str()),
        (
            422,
            "namespaces \"default\" is forbidden: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted"
        )
    );
    let stricter = harness.ask("PATCH", namespace, label("enforce", "restricted")).await;
    assert_eq!(stricter.code, 200);
    assert_eq!(
        warnings(&stricter),
        [
            "\"existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\"\"",
            "\"old: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\"",
        ]
    );
    let refused = harness.post(PODS, pod("new", json!({}))).await;
    assert_eq!(refused.code, 403);
    assert!(
        refused.message().starts_with("pods \"new\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities ("),
        "{}",
        refused.message()
    );
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("", json!({}))["spec"]});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let made = harness.post("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert_eq!(made.code, 201);
    let warned = warnings(&made);
    assert!(
        warned.len() == 1
            && warned[0].starts_with("\"would violate PodSecurity \"restricted:latest\": allow"),
        "{warned:?}"
    );
    // What a pod is may still be told, and an old one may be labelled.
    harness
        .ask("PATCH", &format!("{PODS}/old"), json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect(200);
    let good = json!({"metadata": {"name": "good"}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "image": "i", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    }});
    let made = harness.post(PODS, good).await;
    assert_eq!((made.code, warnings(&made)), (201, vec![]));
}

#[tokio::test]
async fn classes_are_looked_up_and_bring_what_they_promise() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let of_class = |name: &str, class: &str| {
        let mut pod = pod(name, json!({}));
        pod["spec"]["runtimeClassName"] = class.into();
        pod
    };
    let unknown = harness.post(PODS, of_class("a", "none")).await;
    assert_eq!(
        (unknown.code, unknown.message().as_str()),
        (403, "pods \"a\" is forbidden: pod rejected: RuntimeClass \"none\" not found")
    );
    let class = json!({
        "metadata": {"name": "heavy"}, "handler": "h", "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"k": "v"}, "tolerations": [{"key": "t", "operator": "Exists"}]},
    });
    harness.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.expect(201);
    let made = harness.post(PODS, of_class("b", "heavy")).await.expect(201);
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"k": "v"}));
    assert!(
        made["spec"]["tolerations"].as_array().is_some_and(|all| all.iter().any(|one| one["key"] == "t"))
    );
    let mut own = pod("c", json!({}));
    own["spec"]["overhead"] = json!({"cpu": "1"});
    let refused = harness.post(PODS, own).await;
    assert!(refused.message().contains("without corresponding RuntimeClass"), "{}", refused.message());
}

#[tokio::test]
async fn claims_get_the_default_class_and_a_guard_and_grow_only_when_bound() {
    let harness = Harness::start().await;
    let class = json!({"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"});
    harness.post("/apis/storage.k8s.io/v1/storageclasses", class).await.expect(201);
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = harness.post(claims, claim).await.expect(201);
    assert_eq!(made["spec"]["storageClassName"], "fast");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let path = format!("{claims}/c");
    let bound = json!({"status": {"phase": "Bound"}});
    harness.ask("PATCH", &format!("{path}/status"), bound).await.expect(200);
    let grow = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let refused = harness.ask("PATCH", &path, grow.clone()).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
        )
    );
    let allow = json!({"allowVolumeExpansion": true});
    harness.ask("PATCH", "/apis/storage.k8s.io/v1/storageclasses/fast", allow).await.expect(200);
    harness.ask("PATCH", &path, grow).await.expect(200);
}

#[tokio::test]
async fn one_priority_class_is_the_default() {
    let harness = Harness::start().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class =
        |name: &str, default: bool| json!({"metadata": {"name": name}, "value": 1, "globalDefault": default});
    harness.post(classes, class("first", true)).await.expect(201);
    harness.post(classes, class("second", false)).await.expect(201);
    let mark = json!({"globalDefault": true, "description": "d"});
    harness.ask("PATCH", &format!("{classes}/first"), mark.clone()).await.expect(200);
    let why = "PriorityClass first is already marked as default. Only one default can exist";
    for (name, refused) in [
        ("third", harness.post(classes, class("third", true)).await),
        ("second", harness.ask("PATCH", &format!("{classes}/second"), mark).await),
    ] {
        let expected = format!("priorityclasses.scheduling.k8s.io \"{name}\" is forbidden: {why}");
        assert_eq!((refused.code, refused.message()), (403, expected));
    }
}
