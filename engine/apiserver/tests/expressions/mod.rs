//! ValidatingAdmissionPolicies and MutatingAdmissionPolicies, from their own checks to what they do to requests.

use serde_json::{Value, json};

use crate::harness::Harness;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn rules(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{
        "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": [resource],
    }]})
}

async fn validating(harness: &Harness, name: &str, spec: Value, binding: Value) {
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    harness.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await.expect(201);
    bind(harness, "validatingadmissionpolicybindings", name, binding).await;
}

async fn bind(harness: &Harness, plural: &str, name: &str, mut spec: Value) {
    spec["policyName"] = name.into();
    let binding = json!({"metadata": {"name": format!("{name}-binding")}, "spec": spec});
    harness.post(&format!("{GROUP}/{plural}"), binding).await.expect(201);
}

fn deny() -> Value {
    json!({"validationActions": ["Deny"]})
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

fn deployment(replicas: u32) -> Value {
    json!({"metadata": {"name": "d"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }})
}

#[tokio::test]
async fn a_bound_policy_denies_with_the_stock_message() {
    let harness = Harness::start().await;
    let spec = json!({
        "matchConstraints": rules("apps", "deployments"),
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"}, {"name": "odd", "expression": "variables.replicas % 2 == 1"}],
        "validations": [
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.odd", "messageExpression": "'odd wanted, not %d'.format([variables.replicas])", "reason": "Forbidden"},
        ],
        "matchConditions": [{"name": "no-deletes", "expression": "request.operation != 'DELETE'"}],
    });
    // Without a binding it does nothing.
    let policy = json!({"metadata": {"name": "replicas"}, "spec": spec});
    let made = harness.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await.expect(201);
    assert_eq!(
        (&made["spec"]["failurePolicy"], &made["metadata"]["generation"]),
        (&json!("Fail"), &json!(1))
    );
    harness.post(&format!("{DEPLOYMENTS}?dryRun=All"), deployment(1)).await.expect(201);
    bind(&harness, "validatingadmissionpolicybindings", "replicas", deny()).await;
    let refused = harness.post(DEPLOYMENTS, deployment(1)).await.expect(422);
    let text = "ValidatingAdmissionPolicy 'replicas' with binding 'replicas-binding' denied request: failed expression: variables.replicas > 1";
    assert_eq!(refused["message"], format!("deployments.apps \"d\" is forbidden: {text}"));
    assert_eq!(
        (&refused["reason"], &refused["details"]["causes"][0]["message"]),
        (&json!("Invalid"), &json!(text))
    );
    let refused = harness.post(DEPLOYMENTS, deployment(2)).await.expect(403);
    assert!(
        refused["message"].as_str().is_some_and(|text| text.ends_with("denied request: odd wanted, not 2")),
        "{refused}"
    );
    harness.post(DEPLOYMENTS, deployment(3)).await.expect(201);
    let one = format!("{DEPLOYMENTS}/d");
    harness.ask("PATCH", &one, json!({"spec": {"replicas": 1}})).await.expect(422);
    // The other subresource is not named by the rule.
    harness.ask("PATCH", &format!("{one}/scale"), json!({"spec": {"replicas": 1}})).await.expect(200);
    harness.ask("DELETE", &one, Value::Null).await.expect(200);
}

#[tokio::test]
async fn warnings_selectors_failures_and_who_asks() {
    let harness = Harness::start().await;
    let warn = json!({"validationActions": ["Warn", "Audit"]});
    let spec = json!({
        "matchConstraints": rules("", "configmaps"),
        "validations": [{"expression": "has(object.data.k)", "message": "k is wanted"}],
        "auditAnnotations": [{"key": "seen", "valueExpression": "'map ' + object.metadata.name"}],
        "matchConditions": [{"name": "alive", "expression": "object != null"}],
    });
    validating(&harness, "warns", spec, warn).await;
    let answer = harness.post(MAPS, map("a", json!({"x": "y"}))).await;
    let warning = answer.headers.get("warning").and_then(|text| text.to_str().ok()).unwrap_or_default();
    assert_eq!(
        warning,
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns-binding': k is wanted\""
    );
    answer.expect(201);
    // Errors of expressions deny, unless failures are to be ignored.
    for (name, policy, code) in [("ignores", "Ignore", 201), ("fails", "Fail", 422)] {
        let mut constraints = rules("", "configmaps");
        constraints["objectSelector"] = json!({"matchLabels": {"policy": name}});
        let spec = json!({
            "failurePolicy": policy, "matchConstraints": constraints,
            "validations": [{"expression": "object.data.missing == 'x'"}],
        });
        validating(&harness, name, spec, deny()).await;
        let mut object = map(name, json!({"k": "v"}));
        object["metadata"]["labels"] = json!({"policy": name});
        let answer = harness.post(MAPS, object).await;
        if code == 422 {
            assert!(answer.message().ends_with("denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing"), "{}", answer.text);
        }
        answer.expect(code);
    }
    let mut constraints = rules("", "configmaps");
    constraints["namespaceSelector"] = json!({"matchLabels": {"guarded": "yes"}});
    let spec = json!({"matchConstraints": constraints, "validations": [{
        "expression": "request.userInfo.username == 'nobody' || namespaceObject.metadata.labels.guarded != 'yes' || !authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()",
        "message": "admins may not",
    }]});
    validating(&harness, "guarded", spec, deny()).await;
    harness
        .post("/api/v1/namespaces", json!({"metadata": {"name": "g", "labels": {"guarded": "yes"}}}))
        .await
        .expect(201);
    let refused =
        harness.post("/api/v1/namespaces/g/configmaps", map("a", json!({"k": "v"}))).await.expect(422);
    assert!(refused["message"].as_str().is_some_and(|text| text.ends_with("admins may not")), "{refused}");
    harness.post(MAPS, map("free", json!({"k": "v"}))).await.expect(201);
}

#[tokio::test]
async fn params_come_from_the_namespace_and_may_be_missing() {
    let harness = Harness::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": rules("apps", "deployments"),
        "validations": [{"expression": "object.spec.replicas <= int(params.data.max)", "message": "too many"}],
    });
    let reference = json!({"name": "limits", "parameterNotFoundAction": "Deny"});
    let binding = json!({"validationActions": ["Deny"], "paramRef": reference});
    validating(&harness, "limited", spec, binding).await;
    let refused = harness.post(DEPLOYMENTS, deployment(1)).await.expect(422);
    assert!(
        refused["message"].as_str().is_some_and(|text| text.ends_with(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        )),
        "{refused}"
    );
    harness.post(MAPS, map("limits", json!({"max": "2"}))).await.expect(201);
    harness.post(DEPLOYMENTS, deployment(3)).await.expect(422);
    harness.post(DEPLOYMENTS, deployment(2)).await.expect(201);
}

#[tokio::test]
async fn policies_that_make_no_sense_are_refused() {
    let harness = Harness::start().await;
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    let good =
        || json!({"matchConstraints": rules("", "configmaps"), "validations": [{"expression": "true"}]});
    for (field, value, part) in [
        (
            "validations",
            json!([{"expression": "object.x ="}]),
            "spec.validations[0].expression: Invalid value: \"object.x =\": compilation failed: ERROR: <input>:1:10: ",
        ),
        (
            "validations",
            json!([{"expression": "params.x == 1"}]),
            "undeclared reference to 'params' (in container '')",
        ),
        ("validations", json!([{"expression": "'a'"}]), "must evaluate to bool"),
        (
            "validations",
            json!([{"expression": "true", "messageExpression": "1"}]),
            "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string",
        ),
        ("validations", json!([{"expression": "variables.none"}]), "undefined field 'none'"),
        ("validations", json!([{"expression": "request.nope == ''"}]), "undefined field 'nope'"),
        ("validations", json!([]), "validations or auditAnnotations must contain at least one item"),
        ("variables", json!([{"name": "a-b", "expression": "1"}]), "must be a valid CEL identifier"),
        ("failurePolicy", json!("Maybe"), "spec.failurePolicy: Unsupported value: \"Maybe\""),
        (
            "matchConditions",
            json!([{"name": "x", "expression": "object.a +"}]),
            "spec.matchConditions[0].expression",
        ),
    ] {
        let mut spec = good();
        spec[field] = value;
        let answer = harness.post(&policies, json!({"metadata": {"name": "p"}, "spec": spec})).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.message().contains(part), "{part}: {}", answer.text);
    }
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}});
    let answer = harness.post(&format!("{GROUP}/validatingadmissionpolicybindings"), binding).await;
    assert!(answer.message().contains("must not contain both Deny and Warn"), "{}", answer.text);
}

async fn mutating(harness: &Harness, name: &str, mut constraints: Value, mutations: Value) {
    // What goes cannot be changed.
    constraints["resourceRules"][0]["operations"] = json!(["CREATE", "UPDATE"]);
    let policy = json!({"metadata": {"name": name}, "spec": {
        "matchConstraints": constraints, "reinvocationPolicy": "IfNeeded", "mutations": mutations,
    }});
    harness.post(&format!("{GROUP}/mutatingadmissionpolicies"), policy).await.expect(201);
    bind(harness, "mutatingadmissionpolicybindings", name, json!({})).await;
}

#[tokio::test]
async fn mutations_apply_configurations_and_patches_in_order() {
    let harness = Harness::start().await;
    let apply = r#"Object{
        metadata: Object.metadata{annotations: {"mutated-by": "policy"}},
        spec: Object.spec{replicas: object.spec.replicas + 1, template: Object.spec.template{spec: Object.spec.template.spec{
            containers: [Object.spec.template.spec.containers{name: "side", image: "s"}]
        }}}
    }"#;
    let patch = r#"[
        JSONPatch{op: "test", path: "/spec/replicas", value: object.spec.replicas},
        JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("example.com/count"), value: string(object.spec.replicas)}
    ]"#;
    let mutations = json!([
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    ]);
    let mut constraints = rules("apps", "deployments");
    constraints["resourceRules"][0]["operations"] = json!(["CREATE"]);
    mutating(&harness, "changes", constraints, mutations).await;
    let made = harness.post(DEPLOYMENTS, deployment(1)).await.expect(201);
    assert_eq!(made["metadata"]["annotations"], json!({"mutated-by": "policy", "example.com/count": "3"}));
    // A policy that wants to run again does, also when nobody else changed the object.
    assert_eq!(made["spec"]["replicas"], 3);
    let containers = made["spec"]["template"]["spec"]["containers"].as_array().expect("containers");
    let names: Vec<&str> = containers.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["c", "side"]);
    assert_eq!(containers[1]["imagePullPolicy"], "Always", "what a mutation brings has its defaults");
    let broken = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{data: Object.data{k: object.data.missing}}"}}]);
    mutating(&harness, "broken", rules("", "configmaps"), broken).await;
    let refused = harness.post(MAPS, map("a", json!({"x": "y"}))).await;
    assert_eq!(
        refused.message(),
        "policy 'broken' with binding 'broken-binding' denied request: expression 'Object{data: Object.data{k: object.data.missing}}' resulted in error: no such key: missing"
    );
    for (name, operation, why) in [
        (
            "kind",
            "op: 'replace', path: '/kind', value: 'Secret'",
            "failed to convert object: converting (v1, Kind=Secret) to (v1, Kind=ConfigMap): unknown conversion",
        ),
        ("field", "op: 'add', path: '/odd', value: 1", "strict decoding error: unknown field \"odd\""),
        (
            "type",
            "op: 'add', path: '/data/x', value: 1",
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
    ] {
        let patch = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": format!("[JSONPatch{{{operation}}}]")}}]);
        mutating(&harness, name, rules("", "configmaps"), patch).await;
        let map = map("a", json!({"missing": "y"}));
        let refused = harness.post(MAPS, map).await;
        assert_eq!((refused.code, refused.message()), (500, format!("Internal error occurred: {why}")));
        harness
            .ask("DELETE", &format!("{GROUP}/mutatingadmissionpolicies/{name}"), Value::Null)
            .await
            .expect(200);
    }
    let wrong =
        json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', nope: 1}]"}}]);
    let policy = json!({"metadata": {"name": "wrong"}, "spec": {
        "matchConstraints": rules("", "secrets"), "reinvocationPolicy": "Never", "mutations": wrong,
    }});
    let refused = harness.post(&format!("{GROUP}/mutatingadmissionpolicies"), policy).await;
    assert!(refused.message().contains("spec.mutations[0].jsonPatch.expression"), "{}", refused.text);
    assert!(refused.message().contains("undefined field 'nope'"), "{}", refused.text);
}

#[tokio::test]
async fn what_a_policy_gets_wrong_about_its_kinds_stands_in_its_status() {
    let harness = Harness::start().await;
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    let policy = |name: &str, resources: Value, expression: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": resources}]},
            "variables": [{"name": "pods", "expression": "object.spec.template.spec"}],
            "validations": [{"expression": expression}],
        }})
    };
    let both = json!(["replicasets", "deployments"]);
    for (name, resources, expression, warning) in [
        ("good", &both, "object.spec.replicas > 1 && variables.pods.containers.all(c, c.image != '')", Value::Null),
        ("any", &json!(["*"]), "object.replicas > 1", Value::Null),
        (
            "bad",
            &both,
            "object.replicas > 1",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\napps/v1, Kind=ReplicaSet: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^".into(),
        ),
        (
            "deep",
            &json!(["deployments"]),
            "variables.pods.nope == 1",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:15: undefined field 'nope'\n | variables.pods.nope == 1\n | ..............^".into(),
        ),
    ] {
        let made = harness.post(&policies, policy(name, resources.clone(), expression)).await.expect(201);
        let status = &made["status"];
        assert_eq!(status["observedGeneration"], 1, "{name}");
        assert!(status["typeChecking"].is_object(), "{name}: {status}");
        assert_eq!(status["typeChecking"]["expressionWarnings"][0]["warning"], warning, "{name}");
    }
    let better = json!({"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}});
    let made = harness.ask("PATCH", &format!("{policies}/bad"), better).await.expect(200);
    assert_eq!(made["status"], json!({"observedGeneration": 2, "typeChecking": {}}));
}
