use serde_json::{Value, json};

use super::*;

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

fn shown(resource: &str, object: &Value) -> String {
    Charge::of(resource, object).growth_since(&Charge::default()).to_string()
}

#[test]
fn objects_are_charged_as_stock_charges_them() {
    let asks = json!({"requests": {"cpu": "500m", "a.b/gpu": "2", "hugepages-2Mi": "4Mi"}, "limits": {"memory": "1Gi"}});
    let init = json!([{"name": "i", "resources": {"requests": {"cpu": "2"}}}, {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}]);
    let claim = |extra: Value| {
        let mut claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1.5Gi"}}}});
        coracle_schema::json_merge_patch(&mut claim, &extra);
        claim
    };
    let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 80}, {"port": 81}]}});
    for (resource, object, expected) in [
        ("configmaps", json!({}), "configmaps=1,count/configmaps=1"),
        ("deployments.apps", json!({}), "count/deployments.apps=1"),
        ("services", service("ClusterIP"), "count/services=1,services=1"),
        ("services", service("NodePort"), "count/services=1,services=1,services.nodeports=2"),
        (
            "services",
            service("LoadBalancer"),
            "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
        ),
        (
            "pods",
            pod(
                json!([{"name": "c", "resources": asks}, {"name": "d", "resources": {"requests": {"cpu": "1"}}}]),
            ),
            "count/pods=1,cpu=1500m,hugepages-2Mi=4Mi,limits.memory=1Gi,pods=1,requests.a.b/gpu=2,requests.cpu=1500m,requests.hugepages-2Mi=4Mi",
        ),
        (
            "pods",
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}], "initContainers": init, "overhead": {"cpu": "1"}}}),
            "count/pods=1,cpu=3,pods=1,requests.cpu=3",
        ),
        (
            "pods",
            json!({"spec": {"resources": {"requests": {"cpu": "3"}}, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}),
            "count/pods=1,cpu=3,pods=1,requests.cpu=3",
        ),
        ("pods", json!({"spec": {}, "status": {"phase": "Succeeded"}}), "count/pods=1"),
        (
            "persistentvolumeclaims",
            claim(json!({})),
            "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/requests.storage=1536Mi,persistentvolumeclaims=1,requests.storage=1536Mi",
        ),
        (
            "persistentvolumeclaims",
            claim(
                json!({"spec": {"storageClassName": null}, "status": {"allocatedResources": {"storage": "2Gi"}}}),
            ),
            "count/persistentvolumeclaims=1,persistentvolumeclaims=1,requests.storage=2Gi",
        ),
    ] {
        assert_eq!(shown(resource, &object), expected, "{object}");
    }
}

#[test]
fn scopes_pick_pods_and_claims() {
    let plain = pod(json!([{"name": "c"}]));
    let asking = pod(json!([{"name": "c", "resources": {"requests": {"cpu": "1"}}}]));
    let with = |patch: Value| {
        let mut pod = plain.clone();
        coracle_schema::json_merge_patch(&mut pod, &patch);
        pod
    };
    let deadline = with(json!({"spec": {"activeDeadlineSeconds": 5}}));
    let high = with(json!({"spec": {"priorityClassName": "high"}}));
    let term = json!([{"topologyKey": "k", "namespaceSelector": {}}]);
    let crossing = with(
        json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}}),
    );
    let selecting = |scope: &str, operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}});
    let claim = json!({"spec": {"volumeAttributesClassName": "gold"}});
    for (resource, object, spec, covered) in [
        ("pods", &plain, json!({}), true),
        ("pods", &plain, json!({"scopes": ["BestEffort"]}), true),
        ("pods", &asking, json!({"scopes": ["BestEffort"]}), false),
        ("pods", &asking, json!({"scopes": ["NotBestEffort", "NotTerminating"]}), true),
        ("pods", &deadline, json!({"scopes": ["Terminating"]}), true),
        ("pods", &deadline, json!({"scopes": ["NotTerminating"]}), false),
        ("pods", &high, json!({"scopes": ["PriorityClass"]}), true),
        ("pods", &plain, json!({"scopes": ["PriorityClass"]}), false),
        ("pods", &high, selecting("PriorityClass", "In", json!(["high", "low"])), true),
        ("pods", &high, selecting("PriorityClass", "NotIn", json!(["high"])), false),
        ("pods", &plain, selecting("PriorityClass", "NotIn", json!(["high"])), true),
        ("pods", &plain, selecting("PriorityClass", "DoesNotExist", json!([])), true),
        ("pods", &crossing, json!({"scopes": ["CrossNamespacePodAffinity"]}), true),
        ("pods", &plain, json!({"scopes": ["CrossNamespacePodAffinity"]}), false),
        ("persistentvolumeclaims", &claim, selecting("VolumeAttributesClass", "In", json!(["gold"])), true),
        ("persistentvolumeclaims", &claim, json!({"scopes": ["BestEffort"]}), false),
        ("pods", &plain, selecting("VolumeAttributesClass", "Exists", json!([])), false),
        ("configmaps", &plain, json!({"scopes": ["NotBestEffort"]}), false),
    ] {
        let quota = Quota::of(&json!({"spec": spec}));
        assert_eq!(quota.covers(&Charge::of(resource, object).facts), covered, "{resource} {object} {spec}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_stock_text() {
    let quota = Quota::of(&json!({
        "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"}},
    }));
    let full = json!({"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}});
    let good = pod(json!([{"name": "c", "resources": full}]));
    let bare = pod(json!([{"name": "c"}, {"name": "b", "resources": full}]));
    let used = |cpu: &str| Amounts::of(&json!({"pods": "1", "requests.cpu": cpu, "limits.memory": "0"}));
    for (object, used, expected) in [
        (&good, used("400m"), None),
        (
            &good,
            used("500m"),
            Some(
                "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1",
            ),
        ),
        (&bare, used("0"), Some("failed quota: q: must specify limits.memory for: c; requests.cpu for: c")),
    ] {
        let charge = Charge::of("pods", object);
        let growth = charge.growth_since(&Charge::default());
        assert_eq!(quota.refusal("pods", object, &charge, &growth, &used).as_deref(), expected);
    }
}

#[test]
fn a_pod_that_its_node_does_not_take_away_counts_as_an_object_only() {
    let object = json!({
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30},
        "spec": {"containers": []},
    });
    let charge = Charge::of("pods", &object);
    let names = |now: &str| -> Vec<String> {
        charge.amounts(now.parse().expect(now)).map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names("2026-01-01T00:01:00Z"), ["count/pods", "pods"]);
    assert_eq!(names("2026-01-01T00:01:01Z"), ["count/pods"]);
}

#[test]
fn every_limited_name_leads_to_the_resource_that_is_charged() {
    for (name, resource) in [
        ("count/widgets.example.com", Some("widgets.example.com")),
        ("limits.cpu", Some("pods")),
        ("requests.nvidia.com/gpu", Some("pods")),
        ("requests.hugepages-2Mi", Some("pods")),
        ("gold.storageclass.storage.k8s.io/requests.storage", Some("persistentvolumeclaims")),
        ("services.nodeports", Some("services")),
        ("secrets", Some("secrets")),
        ("nvidia.com/gpu", None),
        ("storage", None),
    ] {
        assert_eq!(resource_of(name), resource, "{name}");
    }
}
