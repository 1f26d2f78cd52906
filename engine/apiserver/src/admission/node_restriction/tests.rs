use serde_json::json;

use super::*;

#[test]
fn a_node_touches_only_labels_that_steer_no_work() {
    let old =
        json!({"kubernetes.io/hostname": "a", "team": "x", "node-restriction.kubernetes.io/fips": "true"});
    for (change, expected) in [
        (json!({"team": "y", "example.com/zone": "1"}), ""),
        (
            json!({"kubernetes.io/arch": "amd64", "kubelet.kubernetes.io/x": "", "a.node.kubernetes.io/x": ""}),
            "",
        ),
        (json!({"node-restriction.kubernetes.io/fips": null}), "node-restriction.kubernetes.io/fips"),
        (json!({"a.node-restriction.kubernetes.io/x": "1"}), "a.node-restriction.kubernetes.io/x"),
        (
            json!({"node-role.kubernetes.io/control-plane": "", "k8s.io/x": "", "notk8s.io/x": ""}),
            "k8s.io/x, node-role.kubernetes.io/control-plane",
        ),
    ] {
        let mut new = old.clone();
        coracle_schema::json_merge_patch(&mut new, &change);
        assert_eq!(forbidden_labels(&new, &old), expected, "{change}");
    }
}

#[test]
fn a_node_makes_only_mirror_pods_of_its_own() {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true});
    let good = json!({
        "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "env": [{"name": "secret", "value": "configMap"}]}]},
    });
    assert_eq!(mirror_pod::problem(&good, "n", Some("u")), None);
    let source =
        |source: Value| json!({"spec": {"volumes": [{"name": "v", "projected": {"sources": [source]}}]}});
    for (change, expected) in [
        (
            json!({"metadata": {"annotations": null}}),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n\" can only create mirror pods",
        ),
        (
            json!({"spec": {"nodeName": "m"}}),
            "node \"n\" can only create pods with spec.nodeName set to itself",
        ),
        (
            json!({"metadata": {"ownerReferences": null}}),
            "node \"n\" can only create pods with an owner reference set to itself",
        ),
        (
            json!({"spec": {"serviceAccountName": "admin"}}),
            "node \"n\" can not create pods that reference a service account",
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]}}),
            "node \"n\" can not create pods that reference secrets",
        ),
        (
            source(json!({"configMap": {"name": "c"}})),
            "node \"n\" can not create pods that reference configmaps",
        ),
        (
            source(json!({"clusterTrustBundle": {"path": "p"}})),
            "node \"n\" can not create pods that reference clustertrustbundles",
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}),
            "node \"n\" can not create pods that reference persistentvolumeclaims",
        ),
    ] {
        let mut pod = good.clone();
        coracle_schema::json_merge_patch(&mut pod, &change);
        assert_eq!(mirror_pod::problem(&pod, "n", Some("u")).as_deref(), Some(expected), "{change}");
    }
    let other = mirror_pod::problem(&good, "n", Some("w"));
    assert_eq!(other.as_deref(), Some("node n UID mismatch: expected u got w"));
}
