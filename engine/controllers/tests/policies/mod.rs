//! Quotas, budgets and guards of volumes: what their controllers write down, and what the API makes of it.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, EvictParams, ObjectMeta, PostParams},
};
use serde_json::{Value, json};

use super::{
    cluster::{self, Cluster, from},
    create, resource,
};

const BUDGETS: &str = "poddisruptionbudgets.policy";

/// `cluster` shows this under `status` of the first object of `resource` in `default`.
fn shows(cluster: &Cluster, resource: &str, expected: &Value) -> bool {
    let objects = cluster.objects(resource, Some("default"));
    let first = objects.first().and_then(|object| serde_json::from_slice::<Value>(&object.json).ok());
    let status = first.map(|mut object| object["status"].take()).unwrap_or_default();
    expected.as_object().unwrap().iter().all(|(field, value)| status[field] == *value)
}

fn widgets() -> Value {
    let number = json!({"type": "integer"});
    let properties = json!({
        "spec": {"type": "object", "properties": {"size": number}},
        "status": {"type": "object", "properties": {"size": number}},
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
                "subresources": {"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
            }],
        },
    })
}

async fn define_widgets(cluster: &Cluster) -> kube::core::ApiResource {
    let definitions =
        resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    create(cluster, &definitions, "", widgets()).await;
    let established = |cluster: &Cluster| {
        let all = cluster.typed::<Value>("customresourcedefinitions.apiextensions.k8s.io", "");
        all.iter().any(|it| {
            let conditions = it["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True")
        })
    };
    cluster.until("the definition is established", established).await;
    resource("example.com/v1", "Widget", "widgets")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_shows_what_its_namespace_uses() {
    let cluster = Cluster::start().await;
    let kind = define_widgets(&cluster).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(cluster.client.clone(), "default");
    let hard = json!({
        "pods": "5", "requests.cpu": "1", "count/widgets.example.com": "1", "count/deployments.apps": "0", "secrets": "9",
    });
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    quotas.create(&PostParams::default(), &from(quota)).await.unwrap();
    let used = |pods: &str, cpu: &str, widgets: &str| {
        json!({"hard": hard, "used": {
            "pods": pods, "requests.cpu": cpu, "count/widgets.example.com": widgets, "count/deployments.apps": "0", "secrets": "0",
        }})
    };
    cluster.until("an empty namespace", |it| shows(it, "resourcequotas", &used("0", "0", "0"))).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let requests = json!({"requests": {"cpu": "250m"}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "resources": requests}]}});
    pods.create(&PostParams::default(), &from(pod)).await.unwrap();
    let widget =
        |name: &str| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}});
    create(&cluster, &kind, "default", widget("w")).await;
    cluster.until("a pod and a widget", |it| shows(it, "resourcequotas", &used("1", "250m", "1"))).await;
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &kind);
    let refused = api.create(&PostParams::default(), &from(widget("more"))).await.unwrap_err();
    assert!(
        refused.to_string().contains("exceeded quota: q, requested: count/widgets.example.com=1"),
        "{refused}"
    );
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    api.delete("w", &DeleteParams::default()).await.unwrap();
    cluster.until("an empty namespace again", |it| shows(it, "resourcequotas", &used("0", "0", "0"))).await;
    cluster.end().await;
}

fn budget(spec: Value) -> PodDisruptionBudget {
    from(json!({"metadata": {"name": "b"}, "spec": spec}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eviction_spends_from_the_budget_and_waits_for_the_next_pod() {
    let cluster = Cluster::start().await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client.clone(), "default");
    let selector = json!({"matchLabels": {"app": "web"}});
    let deployment: Deployment = from(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": selector, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    }));
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    // Nobody may go: two healthy ones are wanted beside every one that is away.
    let strict = budget(json!({"maxUnavailable": 0, "selector": selector}));
    budgets.create(&PostParams::default(), &strict).await.unwrap();
    let full = json!({"expectedPods": 3, "currentHealthy": 3, "desiredHealthy": 3, "disruptionsAllowed": 0});
    cluster.until("three healthy pods", |it| shows(it, BUDGETS, &full)).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let name = |cluster: &Cluster| cluster.objects("pods", Some("default"))[0].key.name.to_string();
    let refused = pods.evict(&name(&cluster), &EvictParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = &refused else { panic!("{refused}") };
    assert_eq!(status.code, 429);
    assert_eq!(status.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let causes = status.details.as_ref().map(|details| details.causes.clone()).unwrap_or_default();
    assert_eq!(causes[0].message, "The disruption budget b needs 3 healthy pods and has 3 currently");

    budgets.delete("b", &DeleteParams::default()).await.unwrap();
    let lax = budget(json!({"minAvailable": "50%", "selector": selector}));
    budgets.create(&PostParams::default(), &lax).await.unwrap();
    let one = json!({"expectedPods": 3, "currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1});
    cluster.until("room for one", |it| shows(it, BUDGETS, &one)).await;
    let victim = name(&cluster);
    pods.evict(&victim, &EvictParams::default()).await.unwrap();
    cluster.until("the evicted pod goes", |it| !it.exists("pods", "default", &victim)).await;
    cluster.until("room for one again", |it| shows(it, BUDGETS, &one)).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_asks_the_scale_of_a_custom_controller() {
    let cluster = Cluster::start().await;
    let kind = define_widgets(&cluster).await;
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 4}});
    let owner = create(&cluster, &kind, "default", widget).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let owners = json!([{
        "apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": owner.metadata.uid, "controller": true,
    }]);
    for name in ["a", "b"] {
        let metadata = json!({"name": name, "labels": {"app": "w"}, "ownerReferences": owners});
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        pods.create(&PostParams::default(), &from(pod)).await.unwrap();
    }
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client.clone(), "default");
    let spec = json!({"maxUnavailable": "75%", "selector": {"matchLabels": {"app": "w"}}});
    budgets.create(&PostParams::default(), &budget(spec)).await.unwrap();
    let status =
        json!({"expectedPods": 4, "currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1});
    cluster.until("the widget's size", |it| shows(it, BUDGETS, &status)).await;
    // A controller that nobody knows: nothing may go.
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "m", "uid": config_map(&cluster).await, "controller": true}]);
    let metadata = json!({"name": "c", "labels": {"app": "w"}, "ownerReferences": owners});
    let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pods.create(&PostParams::default(), &from(pod)).await.unwrap();
    cluster.until("a refusal", |it| shows(it, BUDGETS, &json!({"disruptionsAllowed": 0}))).await;
    cluster.end().await;
}

async fn config_map(cluster: &Cluster) -> String {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("m".to_owned()), ..Default::default() },
        ..Default::default()
    };
    maps.create(&PostParams::default(), &map).await.unwrap().metadata.uid.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_stays_while_a_pod_uses_it() {
    let cluster = Cluster::start().await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), "default");
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    claims
        .create(&PostParams::default(), &cluster::from(json!({"metadata": {"name": "c"}, "spec": spec})))
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": volumes,
    }});
    pods.create(&PostParams::default(), &from(pod)).await.unwrap();
    claims.delete("c", &DeleteParams::default()).await.unwrap();
    assert!(cluster.exists("persistentvolumeclaims", "default", "c"));
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    cluster.until("the claim goes", |it| !it.exists("persistentvolumeclaims", "default", "c")).await;
    assert!(!cluster.exists("pods", "default", "p"));
    cluster.end().await;
}
