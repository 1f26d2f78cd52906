//! How nodes join, and what they may.

use serde_json::{Value, json};

use crate::{ACCOUNTS, PODS, ask, harness::Harness};

#[tokio::test]
async fn a_bootstrap_token_introduces_a_new_node_until_it_is_deleted() {
    let harness = Harness::start().await;
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let data = json!({
        "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers",
    });
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": data});
    harness.post(secrets, secret).await.expect(201);
    let headers = [("authorization", "Bearer abcdef.0123456789abcdef")];
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = ask(&harness, "POST", review, &headers, json!({})).await.expect(201);
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "system:bootstrap:abcdef", "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"]})
    );
    let spec = json!({"spec": {"token": "abcdef.0123456789abcdef"}});
    let reviewed = harness.post("/apis/authentication.k8s.io/v1/tokenreviews", spec).await.expect(201);
    assert_eq!(reviewed["status"]["user"]["username"], "system:bootstrap:abcdef");
    harness.ask("DELETE", &format!("{secrets}/bootstrap-token-abcdef"), Value::Null).await.expect(200);
    assert_eq!(ask(&harness, "POST", review, &headers, json!({})).await.code, 401);
}

#[tokio::test]
async fn who_may_not_approve_does_not_and_nobody_asks_for_the_masters() {
    let harness = Harness::start().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let signing = |name: &str, group: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        let key = rcgen::KeyPair::generate().expect("key");
        let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("request");
        let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
        let spec = json!({"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let refused = harness.post(requests, signing("m", "system:masters")).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "certificatesigningrequests.certificates.k8s.io \"m\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        )
    );
    let made = harness.post(requests, signing("j", "devs")).await.expect(201);
    assert_eq!((&made["spec"]["username"], &made["status"]), (&json!("admin"), &json!({})));
    // May update the approval, but approve nothing.
    let api = "/apis/rbac.authorization.k8s.io/v1";
    let rule = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["patch"]});
    harness
        .post(&format!("{api}/clusterroles"), json!({"metadata": {"name": "a"}, "rules": [rule]}))
        .await
        .expect(201);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a"});
    let jane = json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "a"}, "roleRef": role, "subjects": [jane]});
    harness.post(&format!("{api}/clusterrolebindings"), binding).await.expect(201);
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "R"}]}})
        .to_string();
    let headers = [("impersonate-user", "jane"), ("content-type", "application/merge-patch+json")];
    let path = format!("{requests}/j/approval");
    let refused = harness.ask_with("PATCH", &path, &headers, approval.clone()).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "certificatesigningrequests.certificates.k8s.io \"j\" is forbidden: user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\""
        )
    );
    let approved = harness.ask_with("PATCH", &path, &headers[1..], approval).await.expect(200);
    assert!(approved["status"]["conditions"][0]["lastTransitionTime"].is_string());
    let denied = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
    let both = harness.ask("PATCH", &path, denied).await;
    assert_eq!(both.code, 422, "{}", both.text);
}

#[tokio::test]
async fn a_node_changes_itself_and_gets_tokens_for_its_own_pods_alone() {
    let harness = Harness::start().await;
    harness.post(ACCOUNTS, json!({"metadata": {"name": "app"}})).await.expect(201);
    let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    harness.post("/api/v1/nodes", node("n2", json!({}))).await.expect(201);
    let pod = |name: &str, node: &str| {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]);
        let containers = json!([{"name": "c", "image": "i"}]);
        let spec = json!({"nodeName": node, "serviceAccountName": "app", "containers": containers, "volumes": volumes});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let driver =
        json!({"metadata": {"name": "d.example.com"}, "spec": {"tokenRequests": [{"audience": "driver"}]}});
    harness.post("/apis/storage.k8s.io/v1/csidrivers", driver).await.expect(201);
    let size = json!({"storage": "1Gi"});
    let volume = json!({"metadata": {"name": "volume"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": size, "csi": {"driver": "d.example.com", "volumeHandle": "h"}}});
    harness.post("/api/v1/persistentvolumes", volume).await.expect(201);
    let claim = json!({"metadata": {"name": "claim"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": size}, "volumeName": "volume"}});
    harness.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await.expect(201);
    let mut uids = Vec::new();
    for (name, node) in [("own", "n1"), ("other", "n2")] {
        let made = harness.post(PODS, pod(name, node)).await.expect(201);
        uids.push(made["metadata"]["uid"].as_str().expect("uid").to_owned());
    }
    let as_node = async |method: &str, path: &str, body: Value| {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [
            ("impersonate-user", "system:node:n1"),
            ("impersonate-group", "system:nodes"),
            ("content-type", media),
        ];
        let answer = harness.ask_with(method, path, &headers, body.to_string()).await;
        (answer.code, answer.message())
    };
    let bound = |name: &str, uid: &str| {
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": reference}})
    };
    let token = format!("{ACCOUNTS}/app/token");
    let role = json!({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}});
    let taints = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "u"});
    let owned = json!({"metadata": {"ownerReferences": [owner]}});
    let plain = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let mut odd = bound("own", &uids[0]);
    odd["spec"]["audiences"] = json!(["vault"]);
    let mut of_driver = bound("own", &uids[0]);
    of_driver["spec"]["audiences"] = json!(["driver"]);
    for (method, path, body, code, message) in [
        (
            "POST",
            "/api/v1/nodes",
            node("n1", json!({"node-restriction.kubernetes.io/x": "1"})),
            403,
            "node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/x",
        ),
        ("POST", "/api/v1/nodes", node("n1", json!({"kubernetes.io/os": "linux", "team": "a"})), 201, ""),
        ("PATCH", "/api/v1/nodes/n1", json!({"metadata": {"labels": {"team": "b"}}}), 200, ""),
        (
            "PATCH",
            "/api/v1/nodes/n1",
            role,
            403,
            "is not allowed to modify labels: node-role.kubernetes.io/x",
        ),
        ("PATCH", "/api/v1/nodes/n1", taints, 403, "node \"n1\" is not allowed to modify taints"),
        ("PATCH", "/api/v1/nodes/n1", owned, 403, "node \"n1\" is not allowed to modify ownerReferences"),
        (
            "PATCH",
            "/api/v1/nodes/n2",
            json!({"metadata": {"labels": {"team": "b"}}}),
            403,
            "node \"n1\" is not allowed to modify node \"n2\"",
        ),
        ("DELETE", "/api/v1/nodes/n1", json!({}), 403, "cannot delete resource \"nodes\""),
        (
            "DELETE",
            "/api/v1/namespaces/default/pods/other",
            json!({}),
            403,
            "node \"n1\" can only delete pods with spec.nodeName set to itself",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/pods/own/status",
            json!({"metadata": {"labels": {"a": "b"}}}),
            403,
            "node \"n1\" cannot update labels through pod status",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/pods/own/status",
            json!({"status": {"phase": "Running"}}),
            200,
            "",
        ),
        ("POST", PODS, pod("new", "n1"), 403, "node \"n1\" can only create mirror pods"),
        ("POST", &token, plain, 403, "node requested token not bound to a pod"),
        ("POST", &token, bound("own", &uids[1]), 403, "does not match the UID in record"),
        (
            "POST",
            &token,
            bound("other", &uids[1]),
            403,
            "node requested token bound to a pod scheduled on a different node",
        ),
        (
            "POST",
            &token,
            odd,
            403,
            "serviceaccounts \"app\" is forbidden: audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience",
        ),
        ("POST", &token, of_driver, 201, ""),
        ("POST", &token, bound("own", &uids[0]), 201, ""),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
            json!({"metadata": {"name": "n2"}}),
            403,
            "leases.coordination.k8s.io \"n2\" is forbidden: can only access node lease with the same name as the requesting node",
        ),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            json!({"metadata": {"name": "n1"}}),
            403,
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (
            "POST",
            "/apis/storage.k8s.io/v1/csinodes",
            json!({"metadata": {"name": "n2"}, "spec": {"drivers": []}}),
            403,
            "can only access CSINode with the same name as the requesting node",
        ),
    ] {
        let (seen, text) = as_node(method, path, body.clone()).await;
        assert!(
            seen == code && (code < 400 || text.contains(message)),
            "{method} {path} {body}: {seen} {text}"
        );
    }
}

#[tokio::test]
async fn anybody_learns_where_the_cluster_is() {
    let harness = Harness::start().await;
    let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    let info = ask(&harness, "GET", path, &[], Value::Null).await.expect(200);
    let kubeconfig = info["data"]["kubeconfig"].as_str().expect("kubeconfig");
    assert!(
        kubeconfig.contains("certificate-authority-data: ") && kubeconfig.contains("users: null"),
        "{kubeconfig}"
    );
}
