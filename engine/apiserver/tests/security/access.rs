//! Who may do what: anonymous requests, reviews, impersonation, escalation.

use serde_json::{Value, json};

use crate::{PODS, ask, bearer, bind, harness::Harness, token};

#[tokio::test]
async fn anonymous_requests_reach_health_and_version_alone() {
    let harness = Harness::start().await;
    for (path, code) in [("/livez", 200), ("/version", 200), ("/api", 403), ("/metrics", 403), (PODS, 403)] {
        assert_eq!(ask(&harness, "GET", path, &[], Value::Null).await.code, code, "{path}");
    }
    let refused = bearer(&harness, "/version", "no-token").await;
    assert_eq!((refused.code, refused.message().as_str()), (401, "Unauthorized"));
}

#[tokio::test]
async fn access_reviews_answer_for_oneself_and_for_others() {
    let harness = Harness::start().await;
    bind(&harness, "edit", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let attributes =
        |verb: &str, resource: &str| json!({"namespace": "default", "verb": verb, "resource": resource});
    let group = "/apis/authorization.k8s.io/v1";
    let as_jane = [("impersonate-user", "jane")];
    for (verb, resource, allowed) in
        [("delete", "pods", true), ("create", "nodes", false), ("get", "secrets", true)]
    {
        let spec = json!({"spec": {"resourceAttributes": attributes(verb, resource)}});
        let own = harness
            .ask_with("POST", &format!("{group}/selfsubjectaccessreviews"), &as_jane, spec.to_string())
            .await
            .expect(201);
        assert_eq!(own["status"]["allowed"], allowed, "{verb} {resource}");
        let mut spec = spec;
        spec["spec"]["user"] = "jane".into();
        let other = harness.post(&format!("{group}/subjectaccessreviews"), spec).await.expect(201);
        assert_eq!(other["status"]["allowed"], allowed, "{verb} {resource}");
    }
    let rules = harness
        .ask_with(
            "POST",
            &format!("{group}/selfsubjectrulesreviews"),
            &as_jane,
            r#"{"spec":{"namespace":"default"}}"#,
        )
        .await
        .expect(201);
    assert_eq!(rules["status"]["incomplete"], false);
    assert!(rules["status"]["resourceRules"].as_array().is_some_and(|rules| rules.len() > 5));
    let who = harness
        .ask_with("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &as_jane, "{}")
        .await
        .expect(201);
    assert_eq!(who["status"]["userInfo"], json!({"username": "jane", "groups": ["system:authenticated"]}));
    let neither =
        harness.post(&format!("{group}/subjectaccessreviews"), json!({"spec": {"user": "jane"}})).await;
    assert_eq!(neither.code, 422, "{}", neither.text);
    let selector = json!({"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]});
    let attributes =
        json!({"verb": "list", "resource": "pods", "fieldSelector": selector, "labelSelector": {}});
    let review = json!({"spec": {"resourceAttributes": attributes}});
    let refused = harness.post(&format!("{group}/selfsubjectaccessreviews"), review).await;
    assert_eq!(
        refused.message(),
        "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements, spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required]"
    );
}

#[tokio::test]
async fn nobody_becomes_or_grants_more_than_allowed() {
    let harness = Harness::start().await;
    bind(&harness, "admin", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let token = token(&harness, json!({})).await;
    let headers = [("authorization", format!("Bearer {token}")), ("impersonate-user", "jane".into())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let refused = ask(&harness, "GET", PODS, &headers, Value::Null).await;
    assert_eq!(
        refused.message(),
        "pods is forbidden: User \"system:serviceaccount:default:app\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    for (resource, code) in [("configmaps", 201), ("nodes", 403)] {
        let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
        let role = json!({"metadata": {"name": resource}, "rules": rules});
        let headers = [("impersonate-user", "jane"), ("content-type", "application/json")];
        let made = harness.ask_with("POST", roles, &headers, role.to_string()).await;
        assert_eq!(made.code, code, "{}", made.text);
        if code == 403 {
            assert!(made.message().contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"), "{}", made.text);
        }
    }
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A ClusterRole of these rules (group, resource, verb), for the User or `NAMESPACE/NAME` of a service account; in the
/// whole cluster when no namespace is given.
async fn grant(harness: &Harness, name: &str, namespace: &str, subject: Value, rules: &[[&str; 3]]) {
    let rule = |[group, resource, verb]: &[&str; 3]| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    harness
        .post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": name}, "rules": rules}))
        .await
        .expect(201);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]});
    let path = match namespace {
        "" => format!("{RBAC}/clusterrolebindings"),
        namespace => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
    };
    harness.post(&path, binding).await.expect(201);
}

#[tokio::test]
async fn impersonation_may_be_limited_to_what_is_done_meanwhile() {
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let harness = Harness::start().await;
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    bind(&harness, "admin", user("jane")).await;
    let token = token(&harness, json!({})).await;
    let app = json!({"kind": "ServiceAccount", "name": "app", "namespace": "default"});
    let identity = [[AUTHENTICATION, "users", "impersonate:user-info"]];
    grant(&harness, "identity", "", app.clone(), &identity).await;
    grant(&harness, "action", "default", app, &[["", "pods", "impersonate-on:user-info:list"]]).await;
    let bearer = format!("Bearer {token}");
    let as_jane = async |method: &str, path: &str, group: Option<&str>| {
        let mut headers = vec![("authorization", bearer.as_str()), ("impersonate-user", "jane")];
        headers.extend(group.map(|group| ("impersonate-group", group)));
        let answer = ask(&harness, method, path, &headers, json!({})).await;
        (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(as_jane("GET", PODS, None).await, (200, String::new()));
    let maps = "/api/v1/namespaces/default/configmaps";
    let (code, text) = as_jane("GET", maps, None).await;
    assert_eq!(code, 403);
    assert!(text.contains("cannot impersonate-on:user-info:list resource \"configmaps\""), "{text}");
    let (code, text) = as_jane("GET", PODS, Some("devs")).await;
    assert_eq!(code, 403);
    assert!(
        text.contains(
            "cannot impersonate:user-info resource \"groups\" in API group \"authentication.k8s.io\""
        ),
        "{text}"
    );
    let (_, text) = as_jane("GET", PODS, Some("system:masters")).await;
    assert!(text.ends_with("impersonating the system:masters group is not allowed"), "{text}");
}

#[tokio::test]
async fn the_status_of_a_claim_is_written_by_those_whom_its_parts_belong_to() {
    const GROUP: &str = "resource.k8s.io";
    let harness = Harness::start().await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let requests = json!([{"name": "r", "exactly": {"deviceClassName": "c"}}]);
    let claim = json!({"metadata": {"name": "claim"}, "spec": {"devices": {"requests": requests}}});
    harness.post(claims, claim).await.expect(201);
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    for (name, right) in [
        ("nobody", [GROUP, "resourceclaims/status", "patch"]),
        ("scheduler", [GROUP, "resourceclaims/binding", "patch"]),
        ("driver", [GROUP, "resourceclaims/driver", "arbitrary-node:patch"]),
    ] {
        grant(&harness, name, "", user(name), &[[GROUP, "resourceclaims/status", "patch"], right]).await;
    }
    let device = json!({"driver": "d.example.com", "pool": "p", "device": "x"});
    let mut result = device.clone();
    result["request"] = "r".into();
    let allocation = json!({"status": {"allocation": {"devices": {"results": [result]}}}});
    let said = json!({"status": {"devices": [device]}});
    let binding = "status: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: resourceclaims.resource.k8s.io is forbidden: User \"NAME\" cannot patch resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope";
    let driver = "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" permission: resourceclaims.resource.k8s.io \"d.example.com\" is forbidden: User \"NAME\" cannot arbitrary-node:patch resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"default\"";
    for (name, patch, why) in [
        ("nobody", &allocation, binding),
        ("driver", &allocation, binding),
        ("scheduler", &allocation, ""),
        ("nobody", &said, driver),
        ("scheduler", &said, driver),
        ("driver", &said, ""),
    ] {
        let headers = [("impersonate-user", name), ("content-type", "application/merge-patch+json")];
        let answer =
            harness.ask_with("PATCH", &format!("{claims}/claim/status"), &headers, patch.to_string()).await;
        let (code, expected) = match why {
            "" => (200, String::new()),
            why => (
                422,
                format!("ResourceClaim.resource.k8s.io \"claim\" is invalid: {}", why.replace("NAME", name)),
            ),
        };
        assert_eq!((answer.code, answer.message()), (code, expected), "{name}");
    }
}
