//! Deployments from manifest to ready pods, Services to endpoints, and how everything goes again: through the real API,
//! store and scheduler in this process.

mod cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cluster::{Cluster, from, scope};
use coracle_store::{EventKind, Object, Snapshot, Watch};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        certificates::v1::{
            CertificateSigningRequest, CertificateSigningRequestSpec, CertificateSigningRequestStatus,
        },
        coordination::v1::Lease,
        core::v1::{ConfigMap, Endpoints, Event, Namespace, Pod, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{IPAddress, ServiceCIDR},
        scheduling::v1::PriorityClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

fn deployment(name: &str, replicas: i32) -> Deployment {
    from(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "c", "image": "app:1", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
            },
        },
    }))
}

fn is_complete(cluster: &Cluster, name: &str, image: &str) -> bool {
    let deployments = cluster.typed::<Deployment>("deployments.apps", "default");
    deployments.iter().any(|deployment| {
        let (spec, status) =
            (deployment.spec.clone().unwrap(), deployment.status.clone().unwrap_or_default());
        let done = status
            .conditions
            .iter()
            .flatten()
            .any(|it| it.reason.as_deref() == Some("NewReplicaSetAvailable"));
        deployment.metadata.name.as_deref() == Some(name)
            && spec.template.spec.unwrap().containers[0].image.as_deref() == Some(image)
            && status.observed_generation == deployment.metadata.generation
            && [status.updated_replicas, status.replicas, status.available_replicas] == [spec.replicas; 3]
            && done
    })
}

fn revision(cluster: &Cluster, name: &str) -> String {
    let deployments = cluster.typed::<Deployment>("deployments.apps", "default");
    let deployment = deployments.iter().find(|it| it.metadata.name.as_deref() == Some(name)).unwrap();
    deployment.metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"].clone()
}

/// So long without an event means that all events were seen.
const QUIET: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct PodState {
    active: bool,
    ready: bool,
}

fn pod_state(object: &Object) -> PodState {
    let pod = object.decode::<Pod>().unwrap();
    let active = pod.metadata.deletion_timestamp.is_none();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    PodState { active, ready: active && ready }
}

/// Goes through every revision since `before`: never fewer than `least` pods are ready, never more than `most` are there.
async fn assert_limits(before: Snapshot, pods: &mut Watch, least: usize, most: usize) {
    let mut states: BTreeMap<Arc<str>, PodState> =
        before.list(&scope("pods", None)).map(|pod| (pod.key.name.clone(), pod_state(pod))).collect();
    while let Ok(Ok(event)) = tokio::time::timeout(QUIET, pods.next()).await {
        let gone = event.kind == EventKind::Deleted;
        let state = if gone { PodState::default() } else { pod_state(&event.object) };
        states.insert(event.object.key.name.clone(), state);
        let ready = states.values().filter(|it| it.ready).count();
        let active = states.values().filter(|it| it.active).count();
        assert!(ready >= least && active <= most, "{ready} ready and {active} active pods: {states:?}");
    }
}

async fn set_image(deployments: &Api<Deployment>, name: &str, image: &str) {
    let patch =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } });
    deployments.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_and_back_without_ever_missing_a_pod() {
    let cluster = Cluster::start().await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment("web", 3)).await.unwrap();
    cluster.until("the first rollout", |it| is_complete(it, "web", "app:1")).await;
    assert_eq!(revision(&cluster, "web"), "1");

    let (before, mut pods) = cluster.reader.list_watch(scope("pods", None));
    set_image(&deployments, "web", "app:2").await;
    cluster.until("the second rollout", |it| is_complete(it, "web", "app:2")).await;
    assert_eq!(revision(&cluster, "web"), "2");

    // The default limits for 3 replicas: one more, none less.
    assert_limits(before, &mut pods, 3, 4).await;

    set_image(&deployments, "web", "app:1").await;
    cluster.until("the way back", |it| is_complete(it, "web", "app:1")).await;
    assert_eq!(revision(&cluster, "web"), "3");
    assert_eq!(cluster.typed::<ReplicaSet>("replicasets.apps", "default").len(), 2);
    // Events come on a way of their own.
    let said = |it: &Cluster, text: &str| {
        let events = it.typed::<Event>("events", "default");
        events.iter().any(|event| event.message.as_deref().is_some_and(|message| message.contains(text)))
    };
    for text in ["Scaled up replica set web-", "Created pod: web-", "to n1"] {
        cluster.until(text, |it| said(it, text)).await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_that_follow_each_other_fast_never_cost_availability() {
    let cluster = Cluster::start().await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment("busy", 8)).await.unwrap();
    cluster.until("the first rollout", |it| is_complete(it, "busy", "app:1")).await;
    let (before, mut pods) = cluster.reader.list_watch(scope("pods", None));
    for image in ["app:2", "app:3", "app:4", "app:5"] {
        set_image(&deployments, "busy", image).await;
        let pods = cluster.objects("pods", None).len();
        let moved = |it: &Cluster| it.objects("pods", None).len() != pods || is_complete(it, "busy", image);
        cluster.until("the next step", moved).await;
    }
    cluster.until("the last rollout", |it| is_complete(it, "busy", "app:5")).await;
    // A quarter of 8 less, a quarter more.
    assert_limits(before, &mut pods, 6, 10).await;
    // A set that never had a pod may be scaled down after the rollout was complete.
    let sizes = |it: &Cluster| -> Vec<i32> {
        let sets = it.typed::<ReplicaSet>("replicasets.apps", "default");
        sets.iter().filter_map(|set| set.spec.as_ref()?.replicas).filter(|size| *size > 0).collect()
    };
    cluster.until("one set alone", |it| sizes(it) == [8]).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_replica_set_creates_each_pod_once_and_removes_what_is_too_much() {
    let cluster = Cluster::start().await;
    let (_, mut pods) = cluster.reader.list_watch(scope("pods", None));
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment("big", 60)).await.unwrap();
    cluster.until("60 pods", |it| is_complete(it, "big", "app:1")).await;
    let scale = json!({ "spec": { "replicas": 5 } });
    deployments.patch("big", &PatchParams::default(), &Patch::Merge(scale)).await.unwrap();
    cluster
        .until("5 pods", |it| is_complete(it, "big", "app:1") && it.objects("pods", None).len() == 5)
        .await;
    let mut created = 0;
    while let Ok(Ok(event)) = tokio::time::timeout(QUIET, pods.next()).await {
        created += usize::from(event.kind == EventKind::Added);
    }
    assert_eq!(created, 60);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_deployment_takes_its_pods_along_or_leaves_them_as_asked() {
    let cluster = Cluster::start().await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    for (name, params) in [("back", DeleteParams::background()), ("front", DeleteParams::foreground())] {
        deployments.create(&PostParams::default(), &deployment(name, 2)).await.unwrap();
        cluster.until("the rollout", |it| is_complete(it, name, "app:1")).await;
        deployments.delete(name, &params).await.unwrap();
        cluster
            .until("nothing left", |it| {
                ["pods", "replicasets.apps", "deployments.apps"]
                    .iter()
                    .all(|each| it.objects(each, Some("default")).is_empty())
            })
            .await;
    }
    deployments.create(&PostParams::default(), &deployment("orphans", 2)).await.unwrap();
    cluster.until("the rollout", |it| is_complete(it, "orphans", "app:1")).await;
    deployments.delete("orphans", &DeleteParams::orphan()).await.unwrap();
    cluster.until("no deployment", |it| it.objects("deployments.apps", None).is_empty()).await;
    let sets = cluster.typed::<ReplicaSet>("replicasets.apps", "default");
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0].metadata.owner_references, None);
    assert_eq!(cluster.objects("pods", Some("default")).len(), 2);
    // A new Deployment takes them up again.
    deployments.create(&PostParams::default(), &deployment("orphans", 2)).await.unwrap();
    cluster.until("the adoption", |it| is_complete(it, "orphans", "app:1")).await;
    assert_eq!(cluster.objects("replicasets.apps", Some("default")).len(), 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_owners_does_not_hold_itself() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    let mut uids = BTreeMap::new();
    for name in ["one", "two", "three"] {
        let map = maps
            .create(&PostParams::default(), &from(json!({ "metadata": { "name": name } })))
            .await
            .unwrap();
        uids.insert(name, map.metadata.uid.unwrap());
    }
    for (name, owner) in [("one", "three"), ("two", "one"), ("three", "two")] {
        let reference = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uids[owner], "blockOwnerDeletion": true,
        });
        let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": [reference] } }));
        maps.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }
    maps.delete("one", &DeleteParams::foreground()).await.unwrap();
    cluster
        .until("nothing left", |it| {
            let left = it.objects("configmaps", Some("default"));
            left.iter().all(|object| !uids.contains_key(&*object.key.name))
        })
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_goes_with_its_owner_and_holds_what_it_owns() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "default");
    let owned = |name: &str, kind: &str, version: &str, uid: Option<String>| {
        let owner = json!({ "apiVersion": version, "kind": kind, "name": "owner", "uid": uid });
        json!({ "metadata": { "name": name, "ownerReferences": [owner] } })
    };
    let named = json!({ "metadata": { "name": "owner" } });
    let owner = maps.create(&PostParams::default(), &from(named.clone())).await.unwrap();
    let lease = owned("owned", "ConfigMap", "v1", owner.metadata.uid);
    leases.create(&PostParams::default(), &from(lease)).await.unwrap();
    let owner = leases.create(&PostParams::default(), &from(named)).await.unwrap();
    let map = owned("owned", "Lease", "coordination.k8s.io/v1", owner.metadata.uid);
    maps.create(&PostParams::default(), &from(map)).await.unwrap();
    maps.delete("owner", &DeleteParams::background()).await.unwrap();
    leases.delete("owner", &DeleteParams::foreground()).await.unwrap();
    for resource in ["configmaps", "leases.coordination.k8s.io"] {
        cluster
            .until(resource, |it| {
                let left = it.objects(resource, Some("default"));
                left.iter().all(|object| !["owner", "owned"].contains(&&*object.key.name))
            })
            .await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_knows_the_pods_it_selects_and_a_load_balancer_its_address() {
    let cluster = Cluster::start().await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    let service = from(json!({
        "metadata": { "name": "web" },
        "spec": { "type": "LoadBalancer", "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": "http" }] },
    }));
    services.create(&PostParams::default(), &service).await.unwrap();
    deployments.create(&PostParams::default(), &deployment("web", 3)).await.unwrap();
    let addresses = |it: &Cluster| {
        let endpoints = it.typed::<Endpoints>("endpoints", "default");
        let web = endpoints.iter().find(|it| it.metadata.name.as_deref() == Some("web")).cloned();
        let subsets = web.and_then(|it| it.subsets.clone()).unwrap_or_default();
        subsets.iter().flat_map(|subset| subset.addresses.iter().flatten()).count()
    };
    let ready = |it: &Cluster| {
        let slices = it.typed::<EndpointSlice>("endpointslices.discovery.k8s.io", "default");
        let web = slices.iter().filter(|it| {
            it.metadata
                .labels
                .as_ref()
                .is_some_and(|all| all.get("kubernetes.io/service-name").is_some_and(|name| name == "web"))
        });
        let endpoints = web.flat_map(|slice| slice.endpoints.clone().unwrap_or_default());
        endpoints.filter(|it| it.conditions.as_ref().is_some_and(|it| it.ready == Some(true))).count()
    };
    cluster.until("three endpoints", |it| addresses(it) == 3 && ready(it) == 3).await;
    let address = |it: &Cluster| {
        let services = it.typed::<Service>("services", "default");
        let web = services.iter().find(|it| it.metadata.name.as_deref() == Some("web")).cloned()?;
        web.status.clone()?.load_balancer?.ingress?.first()?.ip.clone()
    };
    cluster.until("an address", |it| address(it).as_deref() == Some("192.0.2.10")).await;
    for (name, port, why) in [
        ("late", 80, "port 80/TCP of the node belongs to Service default/web"),
        ("edge", 443, "port 443/TCP of the node is the ingress's"),
    ] {
        let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": port }] });
        let service = from(json!({ "metadata": { "name": name }, "spec": spec }));
        services.create(&PostParams::default(), &service).await.unwrap();
        let said = |it: &Cluster| {
            let events = it.typed::<Event>("events", "default");
            events.iter().any(|it| it.message.as_deref().is_some_and(|text| text.ends_with(why)))
        };
        cluster.until(why, said).await;
        services.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let held = |it: &Cluster| {
        let all = it.objects("ipaddresses.networking.k8s.io", None);
        let all = all.iter().map(|object| object.decode::<IPAddress>().unwrap());
        all.filter(|it| it.spec.parent_ref.name == "web").count()
    };
    cluster.until("an object for the Service's address", |it| held(it) == 1).await;
    services.delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until("no object for the address", |it| held(it) == 0).await;
    cluster.until("no endpoints", |it| addresses(it) == 0 && ready(it) == 0).await;

    // Endpoints written by hand, for a Service without selector, are mirrored.
    let service = from(json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 5432 }] } }));
    services.create(&PostParams::default(), &service).await.unwrap();
    let endpoints: Api<Endpoints> = Api::namespaced(cluster.client.clone(), "default");
    let subset = json!({ "addresses": [{ "ip": "192.0.2.7" }], "ports": [{ "port": 5432 }] });
    let by_hand = from(json!({ "metadata": { "name": "web" }, "subsets": [subset] }));
    endpoints.create(&PostParams::default(), &by_hand).await.unwrap();
    cluster.until("the mirror", |it| ready(it) == 1).await;
    endpoints.delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until("no mirror", |it| ready(it) == 0).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_get_addresses_of_another_range_which_stays_while_one_has_them() {
    let cluster = Cluster::start().await;
    let ranges: Api<ServiceCIDR> = Api::all(cluster.client.clone());
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    let ready = |it: &Cluster, reason: &'static str| {
        let found = it.objects("servicecidrs.networking.k8s.io", None);
        let more = found.iter().find(|object| &*object.key.name == "more");
        let more = more.map(|object| object.decode::<ServiceCIDR>().unwrap());
        let conditions = more.and_then(|range| range.status.clone()?.conditions).unwrap_or_default();
        conditions.iter().any(|it| (it.type_.as_str(), it.reason.as_str()) == ("Ready", reason))
    };
    let at = |name: &str, address: &str| -> Service {
        let spec = json!({ "clusterIP": address, "ports": [{ "port": 80 }] });
        from(json!({ "metadata": { "name": name }, "spec": spec }))
    };
    let created = async |service: &Service| services.create(&PostParams::default(), service).await;
    let refusal = created(&at("a", "10.50.0.7")).await.unwrap_err().to_string();
    assert!(refusal.contains("the provided network does not match the current range"), "{refusal}");

    let range = from(json!({ "metadata": { "name": "more" }, "spec": { "cidrs": ["10.50.0.0/24"] } }));
    ranges.create(&PostParams::default(), &range).await.unwrap();
    cluster.until("the range is ready", |it| ready(it, "")).await;
    created(&at("a", "10.50.0.7")).await.unwrap();
    cluster.until("the address", |it| it.exists("ipaddresses.networking.k8s.io", "", "10.50.0.7")).await;
    ranges.delete("more", &DeleteParams::default()).await.unwrap();
    cluster.until("the range says that it is in use", |it| ready(it, "Terminating")).await;
    assert!(created(&at("b", "10.50.0.8")).await.is_err(), "no new address");
    services.delete("a", &DeleteParams::default()).await.unwrap();
    cluster.until("no range", |it| !it.exists("servicecidrs.networking.k8s.io", "", "more")).await;
    assert!(cluster.exists("servicecidrs.networking.k8s.io", "", "kubernetes"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_comes_with_its_account_and_certificate_and_goes_with_everything() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces
        .create(&PostParams::default(), &from(json!({ "metadata": { "name": "shop" } })))
        .await
        .unwrap();
    cluster
        .until("account and certificate", |it| {
            it.exists("serviceaccounts", "shop", "default")
                && it.exists("configmaps", "shop", "kube-root-ca.crt")
        })
        .await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    maps.delete("kube-root-ca.crt", &DeleteParams::default()).await.unwrap();
    cluster.until("the certificate again", |it| it.exists("configmaps", "shop", "kube-root-ca.crt")).await;

    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "shop");
    deployments.create(&PostParams::default(), &deployment("web", 3)).await.unwrap();
    cluster.until("three pods", |it| it.objects("pods", Some("shop")).len() == 3).await;
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    cluster.until("no namespace", |it| !it.exists("namespaces", "", "shop")).await;
    for (resource, _) in cluster.reader.snapshot().resources() {
        assert_eq!(cluster.objects(&resource.0, Some("shop")).len(), 0, "{resource:?}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_fit_says_so_and_is_placed_when_there_is_room() {
    let cluster = Cluster::start().await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let pod = |name: &str, cpu: &str| {
        from::<Pod>(json!({
            "metadata": { "name": name },
            "spec": { "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": cpu } } }] },
        }))
    };
    pods.create(&PostParams::default(), &pod("first", "3")).await.unwrap();
    let node = |it: &Cluster, name: &str| {
        let pods = it.typed::<Pod>("pods", "default");
        pods.iter()
            .find(|it| it.metadata.name.as_deref() == Some(name))
            .and_then(|it| it.spec.clone()?.node_name)
    };
    cluster.until("the first pod's node", |it| node(it, "first").is_some()).await;
    pods.create(&PostParams::default(), &pod("second", "2")).await.unwrap();
    let expected = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let told = |it: &Cluster| {
        let events = it.typed::<Event>("events", "default");
        let event = events.iter().any(|it| {
            it.reason.as_deref() == Some("FailedScheduling") && it.message.as_deref() == Some(expected)
        });
        let pods = it.typed::<Pod>("pods", "default");
        let second = pods.iter().find(|it| it.metadata.name.as_deref() == Some("second")).cloned();
        let conditions = second.and_then(|it| it.status.clone()?.conditions).unwrap_or_default();
        let condition = conditions
            .iter()
            .any(|it| it.type_ == "PodScheduled" && it.reason.as_deref() == Some("Unschedulable"));
        event && condition
    };
    cluster.until("the reason", told).await;
    pods.delete("first", &DeleteParams::default()).await.unwrap();
    cluster.until("the second pod's node", |it| node(it, "second").as_deref() == Some("n1")).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_never_runs_two_templates_at_once_and_a_paused_rollout_waits() {
    let cluster = Cluster::start().await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    let mut recreate = deployment("one", 2);
    recreate.spec.get_or_insert_default().strategy = Some(from(json!({ "type": "Recreate" })));
    deployments.create(&PostParams::default(), &recreate).await.unwrap();
    cluster.until("the first rollout", |it| is_complete(it, "one", "app:1")).await;

    let pause = |paused: bool| Patch::Merge(json!({ "spec": { "paused": paused } }));
    deployments.patch("one", &PatchParams::default(), &pause(true)).await.unwrap();
    set_image(&deployments, "one", "app:2").await;
    let paused = |it: &Cluster| {
        let deployments = it.typed::<Deployment>("deployments.apps", "default");
        deployments.iter().any(|it| {
            let conditions =
                it.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
            conditions.into_iter().any(|it| it.reason.as_deref() == Some("DeploymentPaused"))
                && it.status.as_ref().and_then(|status| status.observed_generation) == it.metadata.generation
        })
    };
    cluster.until("the pause", paused).await;
    assert_eq!(cluster.objects("replicasets.apps", None).len(), 1);

    let (before, mut pods) = cluster.reader.list_watch(scope("pods", None));
    deployments.patch("one", &PatchParams::default(), &pause(false)).await.unwrap();
    cluster.until("the second rollout", |it| is_complete(it, "one", "app:2")).await;
    let image = |object: &Object| {
        let pod = object.decode::<Pod>().unwrap();
        pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()
    };
    let mut images: BTreeMap<Arc<str>, String> =
        before.list(&scope("pods", None)).map(|pod| (pod.key.name.clone(), image(pod))).collect();
    while let Ok(Ok(event)) = tokio::time::timeout(QUIET, pods.next()).await {
        if event.kind == EventKind::Deleted {
            images.remove(&event.object.key.name);
        } else {
            images.insert(event.object.key.name.clone(), image(&event.object));
        }
        let different: BTreeSet<&String> = images.values().collect();
        assert!(different.len() <= 1, "{images:?}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_higher_priority_gets_the_place_of_another_and_at_rest_nothing_is_written() {
    let cluster = Cluster::start().await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let classes: Api<PriorityClass> = Api::all(cluster.client.clone());
    let class = from(json!({ "metadata": { "name": "high" }, "value": 1000 }));
    classes.create(&PostParams::default(), &class).await.unwrap();
    let pod = |name: &str, class: Option<&str>| {
        let requests = json!({ "requests": { "cpu": "3" } });
        let spec = json!({ "priorityClassName": class, "containers": [{ "name": "c", "image": "i", "resources": requests }] });
        from::<Pod>(json!({ "metadata": { "name": name }, "spec": spec }))
    };
    let placed = |it: &Cluster, name: &str| {
        let pods = it.typed::<Pod>("pods", "default");
        pods.iter().any(|it| {
            it.metadata.name.as_deref() == Some(name)
                && it.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
        })
    };
    pods.create(&PostParams::default(), &pod("low", None)).await.unwrap();
    cluster.until("the first pod's node", |it| placed(it, "low")).await;
    pods.create(&PostParams::default(), &pod("high", Some("high"))).await.unwrap();
    cluster
        .until("the second pod's node", |it| placed(it, "high") && !it.exists("pods", "default", "low"))
        .await;

    let quiet = |cluster: &Cluster| cluster.reader.revision();
    let mut before = quiet(&cluster);
    for _ in 0..400 {
        tokio::time::sleep(2 * QUIET).await;
        if quiet(&cluster) == before {
            return cluster.end().await;
        }
        before = quiet(&cluster);
    }
    panic!("the cluster does not come to rest");
}

/// `openssl req -new -subj "/O=system:nodes/CN=system:node:n1"` of a P-256 key.
const OF_NODE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHqMIGSAgEAMDAxFTATBgNVBAoMDHN5c3RlbTpub2RlczEXMBUGA1UEAwwOc3lz
dGVtOm5vZGU6bjEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASIGYaRKmElLMjk
PIMe0jV2wM9PMtQUdVK3fRCNSR1S9PcSWeNTdNwULmvf6GdqoY3wnCZovRpidH+e
8WZmOeTmoAAwCgYIKoZIzj0EAwIDRwAwRAIgQOwKPAME3S4IAUiLFbj+zNTdJRGk
SwrjjDosA0+ZbaACIBF/VbplKydzcV4HevLz5h7NEgomuqm+3VLYb4tPBhOQ
-----END CERTIFICATE REQUEST-----
";
/// The same for `/O=devs/CN=jane`.
const OF_JANE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHZMIGAAgEAMB4xDTALBgNVBAoMBGRldnMxDTALBgNVBAMMBGphbmUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAASIGYaRKmElLMjkPIMe0jV2wM9PMtQUdVK3fRCN
SR1S9PcSWeNTdNwULmvf6GdqoY3wnCZovRpidH+e8WZmOeTmoAAwCgYIKoZIzj0E
AwIDSAAwRQIhAOAfVXsuV+B+ybnLVWj9ihoOX3ZvB3ypNA1sAxfBKQJpAiB1FPGC
4VNnXwsHsTxY+X0gl+B/j60fsC4c719C+Uw5hA==
-----END CERTIFICATE REQUEST-----
";

#[tokio::test]
async fn a_nodes_certificate_comes_by_itself_and_a_persons_when_it_is_approved() {
    let cluster = Cluster::start().await;
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.client.clone());
    let request = |name: &str, pem: &str, signer: &str| -> CertificateSigningRequest {
        let spec = CertificateSigningRequestSpec {
            request: ByteString(pem.as_bytes().to_vec()),
            signer_name: format!("kubernetes.io/{signer}"),
            usages: Some(vec!["digital signature".into(), "client auth".into()]),
            expiration_seconds: Some(3600),
            ..Default::default()
        };
        let metadata = ObjectMeta { name: Some(name.into()), ..Default::default() };
        CertificateSigningRequest { metadata, spec, status: None }
    };
    for (name, pem, signer) in [
        ("node", OF_NODE, "kube-apiserver-client-kubelet"),
        ("jane", OF_JANE, "kube-apiserver-client"),
        ("wrong", OF_JANE, "kube-apiserver-client-kubelet"),
    ] {
        requests.create(&PostParams::default(), &request(name, pem, signer)).await.unwrap();
    }
    let of = |cluster: &Cluster, name: &str| {
        let all =
            cluster.typed::<CertificateSigningRequest>("certificatesigningrequests.certificates.k8s.io", "");
        let found = all.into_iter().find(|it| it.metadata.name.as_deref() == Some(name));
        found.and_then(|it| it.status.clone()).unwrap_or_default()
    };
    let issued = |status: &CertificateSigningRequestStatus| {
        status.certificate.as_ref().is_some_and(|pem| pem.0.starts_with(b"-----BEGIN CERTIFICATE-----"))
    };
    cluster.until("the node's certificate", |it| issued(&of(it, "node"))).await;
    let reason = of(&cluster, "node").conditions.unwrap()[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("AutoApproved"));
    assert!(!issued(&of(&cluster, "jane")));
    let approve = async |name: &str| {
        let approved = json!([{"type": "Approved", "status": "True", "reason": "Test"}]);
        let patch = Patch::Merge(json!({"status": {"conditions": approved}}));
        requests.patch_approval(name, &PatchParams::default(), &patch).await.unwrap();
    };
    approve("jane").await;
    approve("wrong").await;
    cluster.until("jane's certificate", |it| issued(&of(it, "jane"))).await;
    cluster.until("the refusal", |it| of(it, "wrong").conditions.is_some_and(|all| all.len() == 2)).await;
    let refused = of(&cluster, "wrong").conditions.unwrap();
    assert_eq!(
        (refused[1].type_.as_str(), refused[1].message.as_deref()),
        ("Failed", Some("subject organization is not system:nodes"))
    );
    cluster.end().await;
}
