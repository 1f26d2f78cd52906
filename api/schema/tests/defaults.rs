//! What a stock server fills in.

use coracle_schema::{GroupVersionKind, Registry};
use serde_json::{Value, json};

fn defaulted(group: &str, version: &str, kind: &str, mut object: Value) -> Value {
    let schema = Registry::builtin().schema(&GroupVersionKind::new(group, version, kind)).unwrap();
    schema.prune(&mut object).unwrap();
    schema.default(&mut object);
    let once = object.to_string();
    schema.default(&mut object);
    assert_eq!(object.to_string(), once, "defaulting twice is defaulting once");
    schema.prune(&mut object).unwrap();
    assert_eq!(object.to_string(), once, "defaults are in order and canonical");
    object
}

#[test]
fn pod() {
    let pod = defaulted(
        "",
        "v1",
        "Pod",
        json!({"spec": {
            "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0}},
                {"name": "b", "image": "localhost:5000/x:1.0"}],
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "s"}}],
        }}),
    );
    assert_eq!(
        pod,
        json!({"spec": {
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s", "defaultMode": 420}}],
            "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always"},
                {"name": "b", "image": "localhost:5000/x:1.0", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
        }, "status": {}})
    );
}

#[test]
fn service() {
    let service =
        defaulted("", "v1", "Service", json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}));
    assert_eq!(
        service,
        json!({"spec": {
        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}], "sessionAffinity": "None", "type": "NodePort",
        "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster",
    }, "status": {"loadBalancer": {}}})
    );
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "a:1", "resources": {"limits": {"cpu": "1"}}}]}});
    let deployment = defaulted("apps", "v1", "Deployment", json!({"spec": {"template": template}}));
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!((&spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]), (&json!(10), &json!(600)));
    assert_eq!(spec["template"]["spec"]["containers"][0]["resources"], json!({"limits": {"cpu": "1"}}));
    assert_eq!(spec["template"]["spec"].get("enableServiceLinks"), None);

    let claims =
        json!([{"metadata": {"name": "a"}}, {"apiVersion": "v9", "kind": "Odd", "metadata": {"name": "b"}}]);
    let set = json!({"spec": {"template": template, "volumeClaimTemplates": claims}});
    let set = defaulted("apps", "v1", "StatefulSet", set);
    for claim in set["spec"]["volumeClaimTemplates"].as_array().unwrap() {
        assert_eq!((&claim["apiVersion"], &claim["kind"]), (&json!("v1"), &json!("PersistentVolumeClaim")));
    }
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    );
    assert_eq!(
        set["spec"]["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );

    let daemons = defaulted("apps", "v1", "DaemonSet", json!({"spec": {"template": template}}));
    assert_eq!(
        daemons["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    );

    let job = defaulted("batch", "v1", "Job", json!({"spec": {"template": template}}));
    let expected = json!({"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
        "podReplacementPolicy": "TerminatingOrFailed"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&job["spec"][key], value, "{key}");
    }
}

#[test]
fn others() {
    for (group, version, kind, object, expected) in [
        (
            "",
            "v1",
            "Secret",
            json!({"data": {"a": "YQ=="}}),
            json!({"data": {"a": "YQ=="}, "type": "Opaque"}),
        ),
        (
            "",
            "v1",
            "Namespace",
            json!({"metadata": {"name": "a"}}),
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}}, "spec": {}, "status": {"phase": "Active"}}),
        ),
        (
            "",
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {}}),
            json!({"spec": {"resources": {}, "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
        ),
        (
            "rbac.authorization.k8s.io",
            "v1",
            "RoleBinding",
            json!({"subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}], "roleRef": {"kind": "Role", "name": "r"}}),
            json!({"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}}),
        ),
        (
            "networking.k8s.io",
            "v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "egress": [{}]}}),
            json!({"spec": {"podSelector": {}, "egress": [{}], "policyTypes": ["Ingress", "Egress"]}}),
        ),
        (
            "storage.k8s.io",
            "v1",
            "StorageClass",
            json!({"provisioner": "p"}),
            json!({"provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
        ),
        (
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            json!({"spec": {"group": "g", "names": {"plural": "foos", "kind": "Foo"}}}),
            json!({"spec": {"group": "g", "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}, "conversion": {"strategy": "None"}}, "status": {"acceptedNames": {}}}),
        ),
        (
            "scheduling.k8s.io",
            "v1",
            "PriorityClass",
            json!({"value": 1}),
            json!({"value": 1, "preemptionPolicy": "PreemptLowerPriority"}),
        ),
    ] {
        assert_eq!(defaulted(group, version, kind, object), expected, "{kind}");
    }
}

#[test]
fn structs_that_go_holds_by_value_are_never_left_out() {
    let ports = json!({"kubeletEndpoint": {"Port": 0}});
    for (group, version, kind, object, expected) in [
        ("coordination.k8s.io", "v1", "Lease", json!({}), json!({"spec": {}})),
        (
            "networking.k8s.io",
            "v1",
            "Ingress",
            json!({}),
            json!({"spec": {}, "status": {"loadBalancer": {}}}),
        ),
        (
            "discovery.k8s.io",
            "v1",
            "EndpointSlice",
            json!({"endpoints": [{"addresses": ["10.0.0.1"]}], "addressType": "IPv4"}),
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}]}),
        ),
    ] {
        assert_eq!(defaulted(group, version, kind, object), expected, "{kind}");
    }
    let node = defaulted("", "v1", "Node", json!({}));
    assert_eq!(
        (&node["status"]["daemonEndpoints"], &node["status"]["nodeInfo"]["bootID"]),
        (&ports, &json!(""))
    );
    let cron = defaulted(
        "batch",
        "v1",
        "CronJob",
        json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {}}}}}),
    );
    let job = &cron["spec"]["jobTemplate"];
    assert_eq!((&job["metadata"], &job["spec"]["template"]["metadata"]), (&json!({}), &json!({})));
}
