//! Custom resources as owners, as dependents and as content of namespaces.

mod cluster;
mod policies;

use cluster::Cluster;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, PostParams},
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
