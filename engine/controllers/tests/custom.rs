//! Custom resources as owners, as dependents and as content of namespaces.

mod accounts;
mod cluster;
mod policies;

use cluster::Cluster;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};

fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: api_version.into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

async fn create(cluster: &Cluster, resource: &ApiResource, namespace: &str, object: Value) -> DynamicObject {
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(cluster.client.clone(), resource),
        namespace => Api::namespaced_with(cluster.client.clone(), namespace, resource),
    };
    api.create(&PostParams::default(), &cluster::from(object)).await.expect("created")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_objects_take_their_dependents_along_and_go_with_their_namespace() {
    let cluster = Cluster::start().await;
    let definitions =
        resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    create(&cluster, &definitions, "", definition).await;
    let defined = "customresourcedefinitions.apiextensions.k8s.io";
    let established = |cluster: &Cluster| {
        let all = cluster.typed::<Value>(defined, "");
        all.iter().any(|it| {
            let conditions = it["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True")
        })
    };
    cluster.until("the definition is established", established).await;
    let widgets = resource("example.com/v1", "Widget", "widgets");
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "owner"}});
    let owner = create(&cluster, &widgets, "default", widget).await;
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "owned", "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner.metadata.uid},
        ]},
    });
    create(&cluster, &resource("v1", "ConfigMap", "configmaps"), "default", config_map).await;
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &widgets);
    api.delete("owner", &DeleteParams::background()).await.expect("deleted");
    cluster.until("the dependent goes", |it| !it.exists("configmaps", "default", "owned")).await;

    let namespaces = resource("v1", "Namespace", "namespaces");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    create(&cluster, &namespaces, "", namespace).await;
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "inside"}});
    create(&cluster, &widgets, "team", widget).await;
    let all: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &namespaces);
    all.delete("team", &DeleteParams::default()).await.expect("deleted");
    cluster.until("the namespace goes", |it| !it.exists("namespaces", "", "team")).await;
    assert!(!cluster.exists("widgets.example.com", "team", "inside"));
    cluster.end().await;
}

/// What a server that is away holds in a namespace nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_stays_while_an_aggregated_api_is_down() {
    const SERVICES: &str = "apiservices.apiregistration.k8s.io";
    let cluster = Cluster::start().await;
    let services = resource("apiregistration.k8s.io/v1", "APIService", "apiservices");
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.away.example.com"},
        "spec": {
            "group": "away.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 20,
            "insecureSkipTLSVerify": true, "service": {"name": "away", "namespace": "default"},
        },
    });
    create(&cluster, &services, "", service).await;
    let namespaces = resource("v1", "Namespace", "namespaces");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}});
    create(&cluster, &namespaces, "", namespace).await;
    let namespaces: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &namespaces);
    namespaces.delete("going", &DeleteParams::default()).await.expect("deleted");
    let told = |cluster: &Cluster| {
        let all = cluster.typed::<Value>("namespaces", "");
        let conditions =
            all.iter().find(|it| it["metadata"]["name"] == "going").map(|it| &it["status"]["conditions"]);
        conditions.and_then(Value::as_array).into_iter().flatten().any(|it| {
            it["type"] == "NamespaceDeletionDiscoveryFailure" && it["status"] == "True" && it["message"]
                == "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: away.example.com/v1: stale GroupVersion discovery: away.example.com/v1"
        })
    };
    cluster.until("the namespace says why it stays", told).await;
    cluster
        .until("its content goes all the same", |it| it.objects("serviceaccounts", Some("going")).is_empty())
        .await;
    assert!(cluster.exists("namespaces", "", "going"));
    assert!(cluster.exists(SERVICES, "", "v1.away.example.com"));
    let services: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &services);
    services.delete("v1.away.example.com", &DeleteParams::default()).await.expect("deleted");
    cluster.until("the namespace goes", |it| !it.exists("namespaces", "", "going")).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_rewrites_every_object_in_the_new_storage_version() {
    let cluster = Cluster::start().await;
    let definitions =
        resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [version("v1", true), version("v2", false)],
        },
    });
    create(&cluster, &definitions, "", definition).await;
    let defined = "customresourcedefinitions.apiextensions.k8s.io";
    let status_has = |cluster: &Cluster, resource: &str, kind: &str| {
        cluster.typed::<Value>(resource, "").iter().any(|it| {
            let conditions = it["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|it| it["type"] == kind && it["status"] == "True")
        })
    };
    cluster.until("the definition is established", |it| status_has(it, defined, "Established")).await;
    for name in ["a", "b"] {
        let gadget = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": name}});
        create(&cluster, &resource("example.com/v1", "Gadget", "gadgets"), "default", gadget).await;
    }
    let stored = |cluster: &Cluster| -> Vec<String> {
        let all = cluster.typed::<Value>("gadgets.example.com", "default");
        all.iter().map(|it| it["apiVersion"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(stored(&cluster), ["example.com/v1", "example.com/v1"]);

    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &definitions);
    let versions = json!({"spec": {"versions": [version("v1", false), version("v2", true)]}});
    let params = PatchParams::default();
    api.patch("gadgets.example.com", &params, &Patch::Merge(versions)).await.expect("patched");
    let migrations =
        resource("storagemigration.k8s.io/v1beta1", "StorageVersionMigration", "storageversionmigrations");
    let migration = json!({
        "apiVersion": "storagemigration.k8s.io/v1beta1", "kind": "StorageVersionMigration", "metadata": {"name": "m"},
        "spec": {"resource": {"group": "example.com", "resource": "gadgets"}},
    });
    create(&cluster, &migrations, "", migration).await;
    let migrated = "storageversionmigrations.storagemigration.k8s.io";
    cluster.until("the migration succeeds", |it| status_has(it, migrated, "Succeeded")).await;
    assert_eq!(stored(&cluster), ["example.com/v2", "example.com/v2"]);
    let seen = &cluster.typed::<Value>(migrated, "")[0]["status"]["resourceVersion"];
    assert!(seen.as_str().is_some_and(|revision| revision.parse::<u64>().is_ok()), "{seen}");
    // Nothing is stored in the old version any more: it may go.
    let old = json!({"status": {"storedVersions": ["v2"]}});
    api.patch_status("gadgets.example.com", &params, &Patch::Merge(old)).await.expect("recorded");
    let only = json!({"spec": {"versions": [version("v2", true)]}});
    api.patch("gadgets.example.com", &params, &Patch::Merge(only)).await.expect("v1 removed");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_open_for_pods_until_it_is_cordoned_or_lost() {
    let cluster = Cluster::start().await;
    let nodes: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource("v1", "Node", "nodes"));
    let taints = |cluster: &Cluster| -> Vec<String> {
        let all = cluster.typed::<Value>("nodes", "");
        let taints = all[0]["spec"]["taints"].as_array();
        let text = |taint: &Value, field: &str| taint[field].as_str().unwrap_or_default().to_owned();
        taints.into_iter().flatten().map(|it| format!("{}:{}", text(it, "key"), text(it, "effect"))).collect()
    };
    cluster.until("the taint of a new node goes", |it| taints(it).is_empty()).await;
    let params = PatchParams::default();
    let cordon = |on: bool| Patch::Merge(json!({"spec": {"unschedulable": on}}));
    nodes.patch("n1", &params, &cordon(true)).await.expect("cordoned");
    let cordoned = |it: &Cluster| taints(it) == ["node.kubernetes.io/unschedulable:NoSchedule"];
    cluster.until("the node shows that it is cordoned", cordoned).await;
    nodes.patch("n1", &params, &cordon(false)).await.expect("uncordoned");
    cluster.until("the taint goes", |it| taints(it).is_empty()).await;

    let pod = |name: &str, tolerations: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "i"}], "tolerations": tolerations, "terminationGracePeriodSeconds": 0},
        })
    };
    let pods = resource("v1", "Pod", "pods");
    let lasting = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]);
    let brief = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]);
    create(&cluster, &pods, "default", pod("lasting", lasting)).await;
    create(&cluster, &pods, "default", pod("brief", brief)).await;
    let running = |it: &Cluster| {
        let all = it.typed::<Value>("pods", "default");
        all.len() == 2 && all.iter().all(|pod| pod["status"]["phase"] == "Running")
    };
    cluster.until("both pods run", running).await;
    let condition = json!({"type": "Ready", "status": "False", "reason": "R", "message": "m"});
    let status = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    nodes.patch_status("n1", &params, &status).await.expect("not ready");
    let not_ready = |it: &Cluster| {
        taints(it) == ["node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"]
    };
    cluster.until("the node shows that it is not ready", not_ready).await;
    cluster
        .until("the pod that tolerates it briefly goes", |it| !it.exists("pods", "default", "brief"))
        .await;
    assert!(cluster.exists("pods", "default", "lasting"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_signing_signs_where_the_cluster_is() {
    let cluster = Cluster::start().await;
    let secrets = resource("v1", "Secret", "secrets");
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"},
    });
    create(&cluster, &secrets, "kube-system", token).await;
    let signature = |cluster: &Cluster| -> Option<String> {
        let all = cluster.typed::<Value>("configmaps", "kube-public");
        let info = all.iter().find(|it| it["metadata"]["name"] == "cluster-info")?;
        assert!(
            info["data"]["kubeconfig"].as_str().is_some_and(|it| it.contains("server: https://192.0.2.10:"))
        );
        info["data"]["jws-kubeconfig-abcdef"].as_str().map(String::from)
    };
    cluster.until("the signature", |it| signature(it).is_some_and(|it| it.contains(".."))).await;
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "kube-system", &secrets);
    api.delete("bootstrap-token-abcdef", &DeleteParams::default()).await.expect("deleted");
    cluster.until("the signature goes with its token", |it| signature(it).is_none()).await;
    cluster.end().await;
}
