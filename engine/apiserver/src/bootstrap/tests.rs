use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn config(node_ip: &str) -> Config {
    Config {
        data_dir: "/nonexistent".into(),
        bind: "0.0.0.0:6443".parse().unwrap(),
        node_ip: node_ip.parse().unwrap(),
        node_name: "one".into(),
        extra_sans: Vec::new(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
        node_port_range: 30000..=32767,
        protection: crate::Protection::default(),
    }
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
}

#[test]
fn every_object_is_named_once_and_every_binding_refers_to_a_role_that_exists() {
    let objects = objects(&config("192.0.2.1"));
    let mut seen = BTreeSet::new();
    for object in &objects {
        let meta = &object["metadata"];
        assert!(
            seen.insert(format!("{} {} {}", object["kind"], meta["namespace"], meta["name"])),
            "{object}"
        );
    }
    for object in objects.iter().filter(|object| object.get("roleRef").is_some()) {
        find(
            &objects,
            object["roleRef"]["kind"].as_str().unwrap(),
            object["roleRef"]["name"].as_str().unwrap(),
        );
    }
}

#[test]
fn rules_are_whole() {
    for role in objects(&config("192.0.2.1")).iter().filter(|object| object.get("rules").is_some()) {
        let rules = role["rules"].as_array().unwrap();
        assert!(!rules.is_empty(), "{role}");
        for rule in rules {
            let filled = |field: &str| rule[field].as_array().is_some_and(|list| !list.is_empty());
            assert!(
                filled("verbs") && (filled("nonResourceURLs") || filled("apiGroups") && filled("resources")),
                "{rule}"
            );
        }
    }
}

#[test]
fn aggregated_roles_hold_the_rules_of_the_roles_below_them() {
    let objects = objects(&config("192.0.2.1"));
    let rules = |name| find(&objects, "ClusterRole", name)["rules"].as_array().unwrap().clone();
    let (view, edit, admin) = (rules("view"), rules("edit"), rules("admin"));
    assert!(view.iter().all(|rule| edit.contains(rule)) && edit.iter().all(|rule| admin.contains(rule)));
    assert!(view.len() < edit.len() && edit.len() < admin.len());
    assert_eq!(
        find(&objects, "ClusterRole", "edit")["aggregationRule"],
        json!({"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}]})
    );
}

#[test]
fn roles_get_their_rules_back_and_keep_what_was_added() {
    let objects = objects(&config("192.0.2.1"));
    let wanted = find(&objects, "ClusterRole", "system:auth-delegator");
    assert_eq!(reconcile(wanted, wanted), None);

    let mut changed = wanted.clone();
    let own = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    changed["rules"] = json!([wanted["rules"][1], own]);
    let restored = reconcile(&changed, wanted).unwrap();
    assert_eq!(restored["rules"], json!([wanted["rules"][1], own, wanted["rules"][0]]));

    let wanted_edit = find(&objects, "ClusterRole", "edit");
    let mut edit = wanted_edit.clone();
    edit.as_object_mut().unwrap().shift_remove("aggregationRule");
    let restored = reconcile(&edit, wanted_edit).unwrap();
    assert_eq!(restored["aggregationRule"], wanted_edit["aggregationRule"]);
    assert_eq!(reconcile(&restored, wanted_edit), None);

    changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    assert_eq!(reconcile(&changed, wanted), None);
}

#[test]
fn the_endpoints_of_the_kubernetes_service_follow_the_node_address() {
    let (before, after) = (objects(&config("192.0.2.1")), objects(&config("192.0.2.2")));
    let wanted = find(&after, "Endpoints", "kubernetes");
    let next = reconcile(find(&before, "Endpoints", "kubernetes"), wanted).unwrap();
    assert_eq!(next["subsets"][0]["addresses"][0]["ip"], "192.0.2.2");
    assert_eq!(reconcile(&next, wanted), None);
    let slice =
        reconcile(find(&before, "EndpointSlice", "kubernetes"), find(&after, "EndpointSlice", "kubernetes"));
    assert_eq!(slice.unwrap()["endpoints"][0]["addresses"][0], "192.0.2.2");
}
