use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    escalation::check,
    source::{Binding, Rules, Source},
    *,
};
use crate::selector::fields::equalities;

/// Roles and bindings from JSON.
struct Listed(Vec<Value>);

impl Source for Listed {
    fn bindings<'a>(&'a self, namespace: Option<&str>) -> Box<dyn Iterator<Item = Binding> + 'a> {
        let namespace = namespace.map(str::to_owned);
        Box::new(self.0.iter().filter_map(move |object| {
            let value = object.clone();
            match (object["kind"].as_str(), &namespace) {
                (Some("ClusterRoleBinding"), None) => {
                    Some(Binding::Cluster(Arc::new(serde_json::from_value(value).unwrap())))
                }
                (Some("RoleBinding"), Some(namespace))
                    if object["metadata"]["namespace"] == namespace.as_str() =>
                {
                    Some(Binding::Namespaced(Arc::new(serde_json::from_value(value).unwrap())))
                }
                _ => None,
            }
        }))
    }

    fn pods<'a>(&'a self, namespace: &str) -> Box<dyn Iterator<Item = Value> + 'a> {
        let namespace = namespace.to_owned();
        let own =
            move |object: &&Value| object["kind"] == "Pod" && object["metadata"]["namespace"] == *namespace;
        Box::new(self.0.iter().filter(own).cloned())
    }

    fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let is = |object: &&Value| {
            let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
            resource.split('.').next() == Some(&format!("{kind}s"))
                && object["metadata"]["namespace"].as_str().unwrap_or_default() == namespace
                && object["metadata"]["name"] == name
        };
        self.0.iter().find(is).cloned()
    }

    fn role(&self, namespace: Option<&str>, name: &str) -> Option<Rules> {
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let found = self.0.iter().find(|object| {
            object["kind"] == kind
                && object["metadata"]["name"] == name
                && object["metadata"]["namespace"].as_str() == namespace
        })?;
        let value = found.clone();
        Some(match namespace {
            Some(_) => Rules::Namespaced(Arc::new(serde_json::from_value(value).unwrap())),
            None => Rules::Cluster(Arc::new(serde_json::from_value(value).unwrap())),
        })
    }
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
    UserInfo { name: name.into(), groups, ..UserInfo::default() }
}

/// `verb group resource[/subresource] [namespace [name [fieldSelector]]]`, `-` for empty.
fn asks(text: &str) -> Attributes {
    let words: Vec<&str> = text.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
    if words[1].starts_with('/') {
        return Attributes { verb: word(0), path: Some(word(1)), ..Attributes::default() };
    }
    let (resource, subresource) = words[2].split_once('/').unwrap_or((words[2], ""));
    Attributes {
        verb: word(0),
        group: word(1),
        version: "v1".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: word(3),
        name: word(4),
        selected: equalities(&word(5)),
        ..Attributes::default()
    }
}

fn with_roles(more: Value) -> Listed {
    let mut objects = crate::bootstrap::role_objects();
    objects.extend(more.as_array().unwrap().clone());
    Listed(objects)
}

fn role(namespace: &str, name: &str, rule: Value) -> Value {
    json!({"kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": [rule]})
}

fn bind(namespace: &str, name: &str, kind: &str, role: &str, subject: Value) -> Value {
    let api_group = "rbac.authorization.k8s.io";
    json!({
        "kind": if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" },
        "metadata": if namespace.is_empty() { json!({"name": name}) } else { json!({"name": name, "namespace": namespace}) },
        "roleRef": {"apiGroup": api_group, "kind": kind, "name": role}, "subjects": [subject],
    })
}

#[test]
fn default_roles_allow_what_a_stock_cluster_allows() {
    let source = with_roles(json!([bind(
        "dev",
        "jane",
        "ClusterRole",
        "edit",
        json!({"kind": "User", "name": "jane"})
    )]));
    let anonymous = UserInfo::anonymous();
    let controller =
        user("system:serviceaccount:kube-system:deployment-controller", &["system:serviceaccounts"]);
    let node = user("system:node:one", &["system:nodes"]);
    let jane = user("jane", &[]);
    for (who, what, allowed) in [
        (&anonymous, "get /healthz", true),
        (&anonymous, "get /version", true),
        (&anonymous, "get /api", false),
        (&anonymous, "get /metrics", false),
        (&anonymous, "list - pods default", false),
        (&jane, "get /apis/apps/v1", true),
        (&jane, "post /apis/apps/v1", false),
        (&jane, "list - pods dev", true),
        (&jane, "get - pods/log dev x", true),
        (&jane, "create - pods/exec dev x", true),
        (&jane, "update apps deployments/scale dev x", true),
        (&jane, "update apps deployments/status dev x", false),
        (&jane, "create rbac.authorization.k8s.io roles dev", false),
        (&jane, "list - pods prod", false),
        (&jane, "list - pods", false),
        (&jane, "create authorization.k8s.io selfsubjectaccessreviews", true),
        (&controller, "create apps replicasets dev", true),
        (&controller, "list batch jobs", true),
        (&controller, "create batch jobs dev", false),
        (&node, "patch - pods/status dev x", true),
        (&node, "update coordination.k8s.io leases kube-node-lease one", true),
        (&node, "create apps deployments dev", false),
        (&user("system:kube-scheduler", &[]), "create - pods/binding dev x", true),
        (&user("root", &["system:masters"]), "delete - nodes - one", true),
    ] {
        assert_eq!(decide(&source, who, &asks(what)).allowed, allowed, "{} {what}", who.name);
    }
}

#[test]
fn resource_names_wildcards_and_subresources_are_matched_as_rules_say() {
    for (rule, what, allowed) in [
        (json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}), "get - pods/log n x", false),
        (json!({"apiGroups": [""], "resources": ["pods/*"], "verbs": ["get"]}), "get - pods/log n x", false),
        (json!({"apiGroups": [""], "resources": ["*/log"], "verbs": ["get"]}), "get - pods/log n x", true),
        (
            json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}),
            "get apps deployments/scale n x",
            true,
        ),
        (
            json!({"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]}),
            "get apps deployments n x",
            false,
        ),
        (json!({"apiGroups": ["apps"], "resources": ["pods"], "verbs": ["*"]}), "get - pods n x", false),
        (
            json!({"apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"], "verbs": ["*"]}),
            "get - pods n x",
            true,
        ),
        (
            json!({"apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"], "verbs": ["*"]}),
            "list - pods n",
            false,
        ),
        (json!({"nonResourceURLs": ["/logs/*"], "verbs": ["get"]}), "get /logs/a", true),
        (json!({"nonResourceURLs": ["/logs"], "verbs": ["get"]}), "get /logs/a", false),
    ] {
        let parsed: PolicyRule = serde_json::from_value(rule.clone()).unwrap();
        assert_eq!(rules::allows(&parsed, &asks(what)), allowed, "{rule} {what}");
    }
}

#[test]
fn denials_read_like_the_stock_servers() {
    let source =
        with_roles(json!([bind("dev", "b", "Role", "gone", json!({"kind": "User", "name": "bob"}))]));
    for (who, what, text) in [
        (
            "jane",
            "list - pods default",
            r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#,
        ),
        (
            "jane",
            "get apps deployments dev web",
            r#"deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "dev""#,
        ),
        (
            "jane",
            "list - nodes",
            r#"nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope"#,
        ),
        (
            "jane",
            "create - pods/exec dev x",
            r#"pods "x" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace "dev""#,
        ),
        ("jane", "get /metrics", r#"forbidden: User "jane" cannot get path "/metrics""#),
        (
            "bob",
            "list - pods dev",
            r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "dev": RBAC: role.rbac.authorization.k8s.io "gone" not found"#,
        ),
    ] {
        let (who, what) = (user(who, &[]), asks(what));
        let decision = decide(&source, &who, &what);
        assert_eq!(denied(&who, &what, &decision).message, text);
    }
}

#[test]
fn an_allowed_request_names_the_binding() {
    let source = with_roles(json!([
        role("dev", "reader", json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})),
        bind(
            "dev",
            "readers",
            "Role",
            "reader",
            json!({"kind": "ServiceAccount", "name": "app", "namespace": "prod"})
        ),
    ]));
    let decision = decide(&source, &user("system:serviceaccount:prod:app", &[]), &asks("get - pods dev x"));
    assert_eq!(
        decision.reason,
        r#"RBAC: allowed by RoleBinding "readers/dev" of Role "reader" to ServiceAccount "app/prod""#
    );
}

#[test]
fn nobody_grants_more_than_they_have() {
    let source = with_roles(json!([bind(
        "dev",
        "a",
        "ClusterRole",
        "admin",
        json!({"kind": "User", "name": "jane"})
    )]));
    let jane = user("jane", &["devs"]);
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]});
    let nodes = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]});
    let good = role("dev", "r", pods);
    let bad = role("dev", "r", nodes);
    assert_eq!(check(&source, &jane, "roles", &good, None), Ok(()));
    assert_eq!(check(&source, &jane, "roles", &bad, Some(&bad)), Ok(()));
    assert_eq!(check(&source, &user("root", &["system:masters"]), "roles", &bad, None), Ok(()));
    assert_eq!(
        check(&source, &jane, "roles", &bad, None).unwrap_err().message,
        "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"jane\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}"
    );
    let subject = json!({"kind": "User", "name": "bob"});
    let view = bind("dev", "b", "ClusterRole", "view", subject.clone());
    let all = bind("dev", "b", "ClusterRole", "cluster-admin", subject.clone());
    let gone = bind("dev", "b", "ClusterRole", "gone", subject);
    assert_eq!(check(&source, &jane, "rolebindings", &view, None), Ok(()));
    assert_eq!(check(&source, &jane, "rolebindings", &all, None).unwrap_err().code, 403);
    assert_eq!(check(&source, &jane, "rolebindings", &gone, None).unwrap_err().code, 404);
}

#[test]
fn a_node_reads_what_its_pods_name_one_at_a_time() {
    let rules = json!([{"apiGroups": [""], "resources": ["secrets", "configmaps", "persistentvolumeclaims", "services", "pods", "nodes", "nodes/status", "resourceslices"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["persistentvolumes", "persistentvolumeclaims/status", "serviceaccounts", "serviceaccounts/token"], "verbs": ["*"]},
        {"apiGroups": ["resource.k8s.io", "storage.k8s.io", "coordination.k8s.io"], "resources": ["*"], "verbs": ["*"]}]);
    let volumes = json!([
        {"name": "a", "secret": {"secretName": "files"}},
        {"name": "b", "projected": {"sources": [{"configMap": {"name": "settings"}}]}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
    ]);
    let env = json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "password", "key": "k"}}}]);
    let of =
        |kind: &str, name: &str, spec: Value| json!({"kind": kind, "metadata": {"name": name}, "spec": spec});
    let claim = |namespace: &str| json!({"claimRef": {"namespace": namespace, "name": "data"}});
    let status = json!({"resourceClaimStatuses": [{"name": "g", "resourceClaimName": "p-gpu"}]});
    let spec = json!({"nodeName": "n", "serviceAccountName": "app", "resourceClaims": [{"name": "s", "resourceClaimName": "shared"}], "imagePullSecrets": [{"name": "registry"}], "volumes": volumes, "containers": [{"name": "c", "env": env}]});
    let source = Listed(vec![
        json!({"kind": "ClusterRole", "metadata": {"name": "system:node"}, "rules": rules}),
        json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "dev"}, "spec": spec, "status": status}),
        of("PersistentVolume", "v", claim("dev")),
        of("PersistentVolume", "w", claim("prod")),
        of("VolumeAttachment", "a", json!({"nodeName": "n"})),
        of("ResourceSlice", "s", json!({"nodeName": "n"})),
    ]);
    let leases = "can only access leases in the \"kube-node-lease\" system namespace";
    let own_lease = "can only access node lease with the same name as the requesting node";
    let own_node = "can only access CSINode with the same name as the requesting node";
    let pods = "can only list/watch pods with spec.nodeName field selector";
    let none = |node: &str| format!("no relationship found between node '{node}' and this object");
    for (node, asked, refusal) in [
        ("n", "get - secrets dev files", String::new()),
        ("n", "get - secrets dev registry", String::new()),
        ("n", "watch - secrets dev password", String::new()),
        ("n", "list - configmaps dev settings", String::new()),
        ("n", "get - persistentvolumeclaims dev data", String::new()),
        ("n", "get - persistentvolumeclaims dev p-scratch", String::new()),
        ("n", "list - services", String::new()),
        ("n", "get - secrets dev settings", none("n")),
        ("n", "get - secrets prod files", none("n")),
        ("m", "get - secrets dev files", none("m")),
        ("n", "list - secrets dev", "No Object name found".into()),
        ("n", "list - secrets", "can only read namespaced object of this type".into()),
        ("n", "get - nodes - n", String::new()),
        ("n", "watch - nodes - n metadata.name=n", String::new()),
        ("n", "patch - nodes - m", String::new()),
        ("n", "list - nodes", "node 'n' cannot read all nodes, only its own Node object".into()),
        ("n", "get - nodes - m", "node 'n' cannot read 'm', only its own Node object".into()),
        ("n", "list - pods - - spec.nodeName=n", String::new()),
        ("n", "watch - pods dev - status.phase!=Failed,spec.nodeName==n", String::new()),
        ("n", "get - pods dev p", String::new()),
        ("n", "watch - pods dev p metadata.name=p", String::new()),
        ("n", "get - pods prod p", none("n")),
        ("m", "get - pods dev p", none("m")),
        ("n", "list - pods - - spec.nodeName=m", pods.into()),
        ("n", "list - pods - - spec.nodeName!=n", pods.into()),
        ("n", "list - pods - - metadata.namespace!=x\\,spec.nodeName=n", pods.into()),
        ("n", "list - pods dev", pods.into()),
        ("n", "get - persistentvolumes - v", String::new()),
        ("n", "get - persistentvolumes - w", none("n")),
        ("m", "get - persistentvolumes - v", none("m")),
        ("n", "update - persistentvolumeclaims/status dev data", String::new()),
        ("n", "update - persistentvolumeclaims/status dev other", none("n")),
        ("n", "get - persistentvolumeclaims/status dev data", "can only get/update/patch this type".into()),
        ("n", "get - serviceaccounts dev app", String::new()),
        ("n", "get - serviceaccounts dev other", none("n")),
        ("n", "create - serviceaccounts/token dev app", String::new()),
        ("n", "create - serviceaccounts/token dev other", none("n")),
        (
            "n",
            "create - serviceaccounts/token dev",
            "can only create tokens for individual service accounts".into(),
        ),
        ("n", "update coordination.k8s.io leases kube-node-lease n", String::new()),
        ("n", "create coordination.k8s.io leases kube-node-lease", String::new()),
        ("n", "update coordination.k8s.io leases kube-node-lease m", own_lease.into()),
        ("n", "get coordination.k8s.io leases kube-system n", leases.into()),
        ("n", "create storage.k8s.io csinodes", String::new()),
        ("n", "get storage.k8s.io csinodes - n", String::new()),
        ("n", "delete storage.k8s.io csinodes - m", own_node.into()),
        ("n", "get storage.k8s.io volumeattachments - a", String::new()),
        ("m", "get storage.k8s.io volumeattachments - a", none("m")),
        ("n", "get resource.k8s.io resourceclaims dev shared", String::new()),
        ("n", "get resource.k8s.io resourceclaims dev p-gpu", String::new()),
        ("n", "get resource.k8s.io resourceclaims dev other", none("n")),
        ("n", "create resource.k8s.io resourceslices", String::new()),
        ("n", "patch resource.k8s.io resourceslices - s", String::new()),
        ("m", "delete resource.k8s.io resourceslices - s", none("m")),
        ("n", "list resource.k8s.io resourceslices - - spec.nodeName=n", String::new()),
        (
            "n",
            "list resource.k8s.io resourceslices",
            "can only list/watch/deletecollection resourceslices with nodeName field selector".into(),
        ),
    ] {
        let decision =
            decide(&source, &user(&format!("system:node:{node}"), &["system:nodes"]), &asks(asked));
        let expected = if refusal.is_empty() {
            (true, "RBAC: allowed by ClusterRole \"system:node\" of every node".to_owned())
        } else {
            (false, refusal)
        };
        assert_eq!((decision.allowed, decision.reason), expected, "{node} {asked}");
    }
}
