//! Each verb on a real store, in process.

mod harness;
mod history;
mod protobuf;
mod strangers;

use harness::Harness;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn a_typed_client_creates_reads_changes_and_deletes() {
    let harness = Harness::start().await;
    let api: Api<ConfigMap> = Api::namespaced(harness.client(), "default");
    let object: ConfigMap = serde_json::from_value(map("a", json!({"k": "v"}))).expect("config map");
    let created = api.create(&PostParams::default(), &object).await.expect("creates");
    assert!(created.metadata.uid.is_some() && created.metadata.resource_version.is_some());
    let patch = json!({"data": {"k": "w"}});
    let patched = api.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patches");
    assert_eq!(patched.data.expect("data")["k"], "w");
    assert_eq!(api.list(&ListParams::default()).await.expect("lists").items.len(), 1);
    let stale = api.replace("a", &PostParams::default(), &created).await.expect_err("stale");
    assert!(stale.to_string().contains("the object has been modified"), "{stale}");
    api.delete("a", &DeleteParams::default()).await.expect("deletes");
    assert!(api.get_opt("a").await.expect("asks").is_none());
}

#[tokio::test]
async fn namespaces_are_there_and_carry_their_label_and_finalizer() {
    let harness = Harness::start().await;
    let api: Api<Namespace> = Api::all(harness.client());
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = api.get(name).await.expect(name);
        assert_eq!(namespace.spec.and_then(|spec| spec.finalizers), Some(vec!["kubernetes".to_owned()]));
        assert_eq!(namespace.metadata.labels.expect("labels")["kubernetes.io/metadata.name"], name);
    }
}

#[tokio::test]
async fn errors_have_the_stock_code_reason_and_text() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("taken", json!({}))).await.expect(201);
    let rows: Vec<(&str, String, Value, u16, &str, &str)> = vec![
        ("GET", format!("{MAPS}/x"), Value::Null, 404, "NotFound", "configmaps \"x\" not found"),
        (
            "POST",
            MAPS.into(),
            map("taken", json!({})),
            409,
            "AlreadyExists",
            "configmaps \"taken\" already exists",
        ),
        (
            "POST",
            "/api/v1/namespaces/none/configmaps".into(),
            map("a", json!({})),
            404,
            "NotFound",
            "namespaces \"none\" not found",
        ),
        ("PUT", format!("{MAPS}/x"), map("x", json!({})), 404, "NotFound", "configmaps \"x\" not found"),
        (
            "PUT",
            format!("{MAPS}/taken"),
            map("other", json!({})),
            400,
            "BadRequest",
            "the name of the object (other) does not match the name on the URL (taken)",
        ),
        (
            "POST",
            MAPS.into(),
            json!({"metadata": {}}),
            422,
            "Invalid",
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            "GET",
            "/api/v1/nothings".into(),
            Value::Null,
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            "PUT",
            MAPS.into(),
            map("a", json!({})),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "GET",
            format!("{MAPS}?labelSelector=a%3D%3D%3Db"),
            Value::Null,
            400,
            "BadRequest",
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            "GET",
            format!("{MAPS}?limit=x"),
            Value::Null,
            400,
            "BadRequest",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default".into(),
            Value::Null,
            403,
            "Forbidden",
            "namespaces \"default\" is forbidden: this namespace may not be deleted",
        ),
        (
            "POST",
            format!("{MAPS}?fieldValidation=Strict"),
            json!({"metadata": {"name": "s"}, "foo": 1}),
            400,
            "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\"",
        ),
    ];
    for (method, path, body, code, reason, message) in rows {
        let answer = harness.ask(method, &path, body).await;
        let seen = answer.json();
        assert_eq!(
            (answer.code, seen["reason"].as_str(), seen["message"].as_str()),
            (code, Some(reason), Some(message)),
            "{method} {path}"
        );
        assert_eq!(seen["code"], code);
    }
}

#[tokio::test]
async fn a_revision_on_a_new_object_is_refused_once_the_rest_is_right() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("taken", json!({}))).await.expect(201);
    let set = "resourceVersion should not be set on objects to be created";
    for (name, revision, code, said) in [
        ("new", "5", 500, set),
        ("taken", "5", 500, set),
        ("No", "5", 422, "ConfigMap \"No\" is invalid: metadata.name: Invalid value"),
        ("zero", "0", 201, ""),
        ("none", "x", 201, ""),
    ] {
        let mut object = map(name, json!({}));
        object["metadata"]["resourceVersion"] = revision.into();
        let answer = harness.post(MAPS, object).await;
        assert_eq!(answer.code, code, "{name} {revision}");
        assert!(code == 201 || answer.message().starts_with(said), "{}", answer.message());
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_of_known_types() {
    let harness = Harness::start().await;
    let json = [("content-type", "application/json")];
    let large = harness.ask_with("POST", MAPS, &json, vec![b' '; 3 * 1024 * 1024 + 1]).await;
    assert_eq!((large.code, large.message().as_str()), (413, "Request entity too large: limit is 3145728"));
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    assert_eq!(harness.ask_with("POST", MAPS, &protobuf, "k8s").await.code, 400);
    let cbor = [("content-type", "application/cbor")];
    assert_eq!(harness.ask_with("POST", MAPS, &cbor, "x").await.code, 415);
    let accept = [("accept", "application/cbor")];
    assert_eq!(harness.ask_with("GET", MAPS, &accept, "").await.code, 406);
    let apply = [("content-type", "application/apply-patch+cbor")];
    assert_eq!(harness.ask_with("PATCH", &format!("{MAPS}/a"), &apply, "{}").await.code, 415);
    let yaml = [("content-type", "application/yaml")];
    let created =
        harness.ask_with("POST", MAPS, &yaml, "metadata:\n  name: yaml\ndata:\n  a: b\n").await.expect(201);
    assert_eq!(created["data"]["a"], "b");
    let broken = harness.ask_with("POST", MAPS, &json, "{\"a\":").await;
    assert_eq!(broken.code, 400);
    assert!(
        broken.message().starts_with("the object provided is unrecognized (must be of type ConfigMap)"),
        "{}",
        broken.text
    );
}

#[tokio::test]
async fn unknown_fields_are_warned_about_and_dropped() {
    let harness = Harness::start().await;
    let answer = harness.post(MAPS, json!({"metadata": {"name": "w"}, "foo": 1})).await;
    assert_eq!(answer.headers["warning"], "299 - \"unknown field \\\"foo\\\"\"");
    assert!(answer.json().get("foo").is_none());
}

#[tokio::test]
async fn a_template_is_warned_about_when_it_comes_and_when_it_changes() {
    let harness = Harness::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let ports = json!([{"containerPort": 1}, {"containerPort": 1}]);
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "a", "image": "a", "ports": ports}]}}
    }});
    let warning = "299 - \"spec.template.spec.containers[0].ports[1]: duplicate port definition with spec.template.spec.containers[0].ports[0]\"";
    let answer = harness.post(path, object.clone()).await;
    assert_eq!(answer.headers["warning"], warning);
    let path = format!("{path}/w");
    object["metadata"]["labels"] = json!({"other": "label"});
    assert!(harness.ask("PUT", &path, object.clone()).await.headers.get("warning").is_none());
    object["spec"]["replicas"] = 2.into();
    assert_eq!(harness.ask("PUT", &path, object).await.headers["warning"], warning);
}

#[tokio::test]
async fn doubled_fields_are_refused_or_warned_about_as_their_text_is_read() {
    let harness = Harness::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: d\nfoo: 1\n";
    let json = r#"{"foo": 1, "metadata": {"name": "a", "name": "d"}}"#;
    let patch = r#"{"data": {"a": "b", "a": "c"}}"#;
    let apply = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\n\"name\": \"d\",\n\"name\": \"d\"}}";
    let operations = r#"[{"op": "add", "path": "/odd", "value": {"foo": 1}},
        {"op": "add", "path": "/data", "foo": {"a": 1, "a": 2}, "value": {"a": "b"}, "op": "add"}]"#;
    let odd = ["unknown field \"[1].foo\"", "duplicate field \"[1].op\""];
    let head = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: ";
    let line = "line 5: key \"name\" already set in map";
    let doubled = "duplicate field \"metadata.name\"";
    let one = format!("{MAPS}/d");
    for (method, path, media_type, body, error, warnings) in [
        (
            "POST",
            MAPS,
            "application/yaml",
            yaml,
            format!("{head}yaml: unmarshal errors:\n  {line}, unknown field \"foo\""),
            vec![line, "unknown field \"foo\""],
        ),
        (
            "PUT",
            one.as_str(),
            "application/json",
            json,
            format!("{head}unknown field \"foo\", {doubled}"),
            vec!["unknown field \"foo\"", doubled],
        ),
        (
            "PATCH",
            one.as_str(),
            "application/merge-patch+json",
            patch,
            "strict decoding error: duplicate field \"data.a\"".to_owned(),
            vec!["duplicate field \"data.a\""],
        ),
        (
            "PATCH",
            one.as_str(),
            "application/json-patch+json",
            operations,
            format!("strict decoding error: json patch {}, json patch {}, unknown field \"odd\"", odd[0], odd[1]),
            vec![
                "json patch unknown field \"[1].foo\"",
                "json patch duplicate field \"[1].op\"",
                "unknown field \"odd\"",
            ],
        ),
        (
            "PATCH",
            one.as_str(),
            "application/apply-patch+yaml",
            apply,
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key \"name\" already set in map".to_owned(),
            vec!["line 3: key \"name\" already set in map"],
        ),
    ] {
        let headers = [("content-type", media_type)];
        let strict = format!("{path}?fieldValidation=Strict&fieldManager=m");
        let answer = harness.ask_with(method, &strict, &headers, body).await;
        let message = answer.json()["message"].as_str().expect("message").to_owned();
        assert!(message.ends_with(&error), "{message}");
        let answer = harness.ask_with(method, &format!("{path}?fieldManager=m"), &headers, body).await;
        assert!(answer.code < 300, "{}", answer.text);
        let said: Vec<&str> =
            answer.headers.get_all("warning").iter().map(|text| text.to_str().expect("text")).collect();
        let warnings: Vec<String> =
            warnings.iter().map(|text| format!("299 - \"{}\"", text.replace('"', "\\\""))).collect();
        assert_eq!(said, warnings, "{body}");
    }
}

#[tokio::test]
async fn an_item_without_the_key_of_its_list_is_an_error_without_a_reason() {
    let harness = Harness::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}});
    harness.post(services, service).await.expect(201);
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let patch = json!({"spec": {"ports": [{"name": "x"}]}}).to_string();
    let refused = harness.ask_with("PATCH", &format!("{services}/s"), &headers, patch).await;
    let text = "map: map[name:x] does not contain declared merge key: port";
    assert_eq!((refused.code, refused.message()), (500, text.into()));
    assert_eq!(refused.json()["reason"], Value::Null);
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_behind() {
    let harness = Harness::start().await;
    let dry = format!("{MAPS}?dryRun=All");
    harness.post(&dry, map("d", json!({}))).await.expect(201);
    assert_eq!(harness.get(&format!("{MAPS}/d")).await.code, 404);
    harness.post(MAPS, map("d", json!({"a": "1"}))).await.expect(201);
    harness.ask("PATCH", &format!("{MAPS}/d?dryRun=All"), json!({"data": {"a": "2"}})).await.expect(200);
    harness.ask("DELETE", &format!("{MAPS}/d?dryRun=All"), Value::Null).await.expect(200);
    let kept = harness.get(&format!("{MAPS}/d")).await.expect(200);
    assert_eq!(kept["data"]["a"], "1");
    let put =
        harness.ask("PUT", &format!("{MAPS}/d?dryRun=All"), map("d", json!({"a": "3"}))).await.expect(200);
    assert_eq!(put["metadata"]["resourceVersion"], kept["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn generated_names_get_five_letters_of_the_stock_alphabet() {
    let harness = Harness::start().await;
    let created = harness.post(MAPS, json!({"metadata": {"generateName": "g-"}})).await.expect(201);
    let name = created["metadata"]["name"].as_str().expect("name");
    let random = name.strip_prefix("g-").expect("prefix");
    assert!(random.len() == 5 && random.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{name}");
}

#[tokio::test]
async fn lists_go_in_chunks_of_one_revision() {
    let harness = Harness::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        harness.post(MAPS, map(name, json!({}))).await.expect(201);
    }
    let names = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["metadata"]["name"].as_str().expect("name").into())
            .collect()
    };
    let first = harness.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a".into(), "b".into()], &json!(3))
    );
    harness.ask("DELETE", &format!("{MAPS}/c"), Value::Null).await.expect(200);
    let token = first["metadata"]["continue"].as_str().expect("token");
    let second = harness.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&second), ["c", "d"], "the deleted one is still in this list");
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    assert_eq!(second["items"][0].get("kind"), None, "the list says what its items are");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().expect("token");
    let third = harness.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!((names(&third), third["metadata"].get("continue")), (vec!["e".into()], None));
    assert_eq!(names(&harness.get(MAPS).await.expect(200)), ["a", "b", "d", "e"]);
    assert_eq!(harness.get(&format!("{MAPS}?continue=x")).await.code, 400);
}

#[tokio::test]
async fn list_versions_follow_the_rules() {
    let harness = Harness::start().await;
    let list = harness.get(MAPS).await.expect(200);
    let revision: u64 =
        list["metadata"]["resourceVersion"].as_str().expect("revision").parse().expect("number");
    for (query, code, part) in [
        (
            "resourceVersionMatch=Exact".to_owned(),
            422,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact".into(),
            422,
            "resourceVersionMatch \\\"exact\\\" is forbidden for resourceVersion \\\"0\\\"",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Foo".into(),
            422,
            "Unsupported value: \\\"Foo\\\": supported values: \\\"Exact\\\", \\\"NotOlderThan\\\", \\\"\\\"",
        ),
        (format!("resourceVersion={}", revision + 1000), 504, "Too large resource version"),
        (format!("resourceVersion={revision}&resourceVersionMatch=Exact"), 200, "ConfigMapList"),
        ("resourceVersion=x".into(), 400, "invalid syntax"),
    ] {
        let answer = harness.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(answer.code, code, "{query}: {}", answer.text);
        assert!(answer.text.contains(part), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_was_at_a_past_revision_is_still_told() {
    let harness = Harness::start().await;
    let mut past = Vec::new();
    for name in ["a", "b", "c"] {
        harness.post(MAPS, map(name, json!({}))).await.expect(201);
        past.push(harness.get(&format!("{MAPS}?limit=1")).await.expect(200));
    }
    harness.ask("DELETE", &format!("{MAPS}/a"), Value::Null).await.expect(200);
    for (at, first) in past.iter().enumerate() {
        let revision = first["metadata"]["resourceVersion"].as_str().expect("revision");
        let exact = format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact");
        let exact = harness.get(&exact).await.expect(200);
        assert_eq!(exact["metadata"]["resourceVersion"], revision);
        assert_eq!(exact["items"].as_array().expect("items").len(), at + 1);
    }
}

#[tokio::test]
async fn a_watch_tells_of_every_change_from_where_it_starts() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    let list = harness.get(MAPS).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().expect("revision").to_owned();
    let mut from_now = harness.watch(&format!("{MAPS}?watch=1&resourceVersion={revision}")).await;
    let mut from_state = harness.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(from_state.brief().await, "ADDED a");
    harness.post(MAPS, map("b", json!({}))).await.expect(201);
    harness.ask("PATCH", &format!("{MAPS}/b"), json!({"data": {"x": "y"}})).await.expect(200);
    harness.ask("DELETE", &format!("{MAPS}/b"), Value::Null).await.expect(200);
    for expected in ["ADDED b", "MODIFIED b", "DELETED b"] {
        assert_eq!(from_now.brief().await, expected);
        assert_eq!(from_state.brief().await, expected);
    }
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_objects_come_and_go() {
    let harness = Harness::start().await;
    let mut watch = harness.watch(&format!("{MAPS}?watch=1&labelSelector=app%3Dweb")).await;
    let labelled = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    for value in ["web", "web", "db", "web"] {
        let mut patch = labelled(value);
        patch["data"] = json!({"n": uuid::Uuid::new_v4().to_string()});
        harness.ask("PATCH", &format!("{MAPS}/a"), patch).await.expect(200);
    }
    harness.ask("DELETE", &format!("{MAPS}/a"), Value::Null).await.expect(200);
    for expected in ["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"] {
        assert_eq!(watch.brief().await, expected);
    }
}

#[tokio::test]
async fn initial_events_end_with_an_annotated_bookmark() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = harness.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    let bookmark = watch.next().await.expect("bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let wrong = harness.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(wrong.code, 422, "{}", wrong.text);
}

#[tokio::test]
async fn a_watch_ends_after_its_timeout() {
    let harness = Harness::start().await;
    let mut watch = harness.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_no_write() {
    let harness = Harness::start().await;
    let created = harness.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201);
    let again = harness.ask("PUT", &format!("{MAPS}/a"), created.clone()).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn finalizers_hold_a_deleted_object_until_they_are_gone() {
    let harness = Harness::start().await;
    let mut object = map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    harness.post(MAPS, object).await.expect(201);
    let path = format!("{MAPS}/a");
    let deleting = harness.ask("DELETE", &path, Value::Null).await.expect(200);
    assert!(deleting["metadata"]["deletionTimestamp"].is_string(), "{deleting}");
    let again = harness.post(MAPS, map("a", json!({}))).await;
    assert_eq!(again.code, 409);
    assert_eq!(again.message(), "object is being deleted: configmaps \"a\" already exists");
    let more = harness
        .ask("PATCH", &path, json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}))
        .await;
    assert_eq!(more.code, 422);
    assert!(more.message().contains("no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/more\"}"), "{}", more.text);
    harness.ask("PATCH", &path, json!({"metadata": {"finalizers": null}})).await.expect(200);
    assert_eq!(harness.get(&path).await.code, 404);
}

#[tokio::test]
async fn propagation_policies_become_finalizers_and_preconditions_hold() {
    let harness = Harness::start().await;
    let path = format!("{MAPS}/a");
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let created = harness.post(MAPS, map("a", json!({}))).await.expect(201);
        let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
        let refused = harness.ask("DELETE", &path, wrong).await;
        let uid = created["metadata"]["uid"].as_str().expect("uid");
        assert_eq!(refused.code, 409);
        assert!(refused.message().contains(&format!(
            "the UID in the precondition (other) does not match the UID in record ({uid})"
        )));
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let deleting = harness.ask("DELETE", &path, body).await.expect(200);
        assert_eq!(deleting["metadata"]["finalizers"], json!([finalizer]));
        harness.ask("PATCH", &path, json!({"metadata": {"finalizers": []}})).await.expect(200);
    }
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    let gone = harness.ask("DELETE", &path, Value::Null).await.expect(200);
    assert_eq!(
        (&gone["kind"], &gone["status"], &gone["details"]["kind"]),
        (&json!("Status"), &json!("Success"), &json!("configmaps"))
    );
}

#[tokio::test]
async fn old_kinds_leave_their_dependents_and_events_have_none() {
    let harness = Harness::start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = || json!({"metadata": {"name": "a"}, "spec": {"template": template.clone()}});
    let mut controller = job();
    controller["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    let event = json!({"metadata": {"name": "a"}, "involvedObject": {"namespace": "default"}});
    let lease = json!({"metadata": {"name": "a"}});
    let warning = "299 - \"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning\"";
    for (list, object, query, finalizers, warned) in [
        ("/apis/batch/v1/namespaces/default/jobs", job(), "", json!(["orphan"]), true),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            job(),
            "?propagationPolicy=Orphan",
            json!(["orphan"]),
            false,
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            job(),
            "?propagationPolicy=Background",
            json!(null),
            false,
        ),
        ("/api/v1/namespaces/default/replicationcontrollers", controller, "", json!(["orphan"]), false),
        (
            "/api/v1/namespaces/default/events",
            event.clone(),
            "?propagationPolicy=Foreground",
            json!(null),
            false,
        ),
        ("/api/v1/namespaces/default/events", event, "?propagationPolicy=Orphan", json!(null), false),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            lease,
            "?propagationPolicy=Foreground",
            json!(["foregroundDeletion"]),
            false,
        ),
    ] {
        harness.post(list, object).await.expect(201);
        let path = format!("{list}/a");
        let deleted = harness.ask("DELETE", &format!("{path}{query}"), Value::Null).await;
        assert_eq!(
            deleted.headers.get("warning").is_some_and(|text| text == warning),
            warned,
            "{list}{query}"
        );
        assert_eq!(deleted.expect(200)["metadata"]["finalizers"], finalizers, "{list}{query}");
        harness.ask("PATCH", &path, json!({"metadata": {"finalizers": null}})).await;
        assert_eq!(harness.get(&path).await.code, 404, "{list}{query}");
    }
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    assert_eq!(harness.ask("DELETE", jobs, Value::Null).await.headers["warning"], warning);
}

#[tokio::test]
async fn options_that_are_none_delete_nothing() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    let field = |kind: &str, field: &str, of: &str| {
        format!("json: cannot unmarshal {kind} into Go struct field {field} of type {of}")
    };
    let unknown = |kind: &str, version: &str| {
        format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
        )
    };
    for (body, why) in [
        (json!({"dryRun": "All"}), field("string", "DeleteOptions.dryRun", "[]string")),
        (json!({"dryRun": true}), field("bool", "DeleteOptions.dryRun", "[]string")),
        (
            json!({"preconditions": {"uid": 7}}),
            field("number", "Preconditions.preconditions.uid", "types.UID"),
        ),
        (
            json!({"propagationPolicy": 7}),
            field("number", "DeleteOptions.propagationPolicy", "v1.DeletionPropagation"),
        ),
        (json!({"gracePeriodSeconds": "x"}), field("string", "DeleteOptions.gracePeriodSeconds", "int64")),
        (json!({"kind": "Foo"}), unknown("Foo", "meta.k8s.io/v1")),
        (json!({"kind": "Pod", "apiVersion": "v1"}), unknown("Pod", "v1")),
        (
            json!({"kind": "Status", "apiVersion": "v1"}),
            "converting (v1.Status) to (v1.DeleteOptions): unknown conversion".into(),
        ),
        (
            json!({"kind": 7}),
            format!("couldn't get version/kind; json parse error: {}", field("number", ".kind", "string")),
        ),
        (json!({"apiVersion": "a/b/c"}), "unexpected GroupVersion string: a/b/c".into()),
    ] {
        for path in [&format!("{MAPS}/a"), MAPS] {
            let refused = harness.ask("DELETE", path, body.clone()).await;
            assert_eq!((refused.code, refused.message()), (400, why.clone()), "{body}");
        }
    }
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    let pod = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod".as_slice();
    let refused = harness.ask_with("DELETE", &format!("{MAPS}/a"), &protobuf, pod).await;
    assert_eq!((refused.code, refused.message()), (400, unknown("Pod", "v1")));
    harness.get(&format!("{MAPS}/a")).await.expect(200);
    let other = json!({"kind": "DeleteOptions", "apiVersion": "apps/v9", "other": 7});
    harness.ask("DELETE", &format!("{MAPS}/a"), other).await.expect(200);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let harness = Harness::start().await;
    for (name, app) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut object = map(name, json!({}));
        object["metadata"]["labels"] = json!({"app": app});
        harness.post(MAPS, object).await.expect(201);
    }
    harness.ask("DELETE", &format!("{MAPS}?labelSelector=app%3Dx"), Value::Null).await.expect(200);
    let left = harness.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().expect("items").len(), 1);
}

/// As the oldest clients ask, and with the words for one object where a list is.
#[tokio::test]
async fn metadata_has_two_versions_and_is_of_what_is_there() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({}))).await.expect(201);
    let one = format!("{MAPS}/a");
    let watch = format!("{MAPS}?watch=true&timeoutSeconds=600");
    let ask = async |path: &str, form: &str, version: &str| {
        let accept = format!("application/json;as={form};v={version};g=meta.k8s.io");
        harness.ask_with("GET", path, &[("accept", &accept)], "").await
    };
    for version in ["v1", "v1beta1"] {
        let of = json!(format!("meta.k8s.io/{version}"));
        let table = ask(MAPS, "Table", version).await.expect(200);
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &of));
        assert_eq!(table["rows"][0]["object"]["apiVersion"], of);
        let list = ask(MAPS, "PartialObjectMetadataList", version).await.expect(200);
        assert_eq!((&list["apiVersion"], &list["items"][0]["apiVersion"]), (&of, &of));
        let object = ask(&one, "PartialObjectMetadata", version).await.expect(200);
        assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("PartialObjectMetadata"), &of));
        let refused = ask(MAPS, "PartialObjectMetadata", version).await.expect(406);
        assert_eq!(
            (&refused["reason"], &refused["message"]),
            (
                &json!("NotAcceptable"),
                &json!(
                    "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
                )
            )
        );
        let refused = ask(&one, "PartialObjectMetadataList", version).await.expect(406);
        assert_eq!(
            refused["message"],
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
        );
        let watched = ask(&watch, "PartialObjectMetadataList", version).await;
        assert_eq!((watched.code, watched.text.as_str()), (200, ""), "ends at its first event");
    }
}

#[tokio::test]
async fn tables_and_metadata_only_forms_are_given_on_request() {
    let harness = Harness::start().await;
    harness.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let list = harness.ask_with("GET", MAPS, &table, "").await.expect(200);
    assert_eq!((&list["kind"], &list["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let metadata = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let list = harness.ask_with("GET", MAPS, &metadata, "").await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0].get("data").is_none());
    assert!(list["items"][0]["metadata"]["managedFields"].is_array(), "as on a stock server");
    harness.post(MAPS, map("b", json!({}))).await.expect(201);
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1");
    let watched = harness.ask_with("GET", &path, &table, "").await;
    let events: Vec<Value> =
        watched.text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(events.len(), 2);
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert!(events[1]["object"]["columnDefinitions"].is_null(), "columns are told once");
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
    for (include, kind) in [("None", Value::Null), ("Object", json!("ConfigMap"))] {
        let list =
            harness.ask_with("GET", &format!("{MAPS}?includeObject={include}"), &table, "").await.expect(200);
        assert_eq!(list["rows"][0]["object"]["kind"], kind);
        assert!(list["rows"][0].get("object").is_some(), "{include}");
    }
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    harness.post(sets, json!({"metadata": {"name": "s"}, "spec": spec})).await.expect(201);
    let scale = harness.ask_with("GET", &format!("{sets}/s/scale"), &table, "").await.expect(200);
    let columns: Vec<&Value> = scale["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(scale["rows"][0]["cells"].as_array().expect("cells")[..3], [json!("s"), json!(3), json!(0)]);
    let yaml = harness.ask_with("GET", MAPS, &[("accept", "application/yaml")], "").await;
    assert!(yaml.code == 200 && !yaml.text.contains("kind: ConfigMap\n"), "{}", yaml.text);
}

#[tokio::test]
async fn a_whole_object_says_its_name_and_a_uid_is_never_given_anew() {
    let harness = Harness::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    harness.post(maps, json!({"metadata": {"name": "a"}})).await.expect(201);
    let nameless = harness.ask("PUT", &format!("{maps}/a"), json!({"metadata": {}})).await;
    let why = "the name of the object (a based on URL) was undeterminable: name must be provided";
    assert_eq!((nameless.code, nameless.message().as_str()), (400, why));
    let apply = [("content-type", "application/apply-patch+yaml")];
    let body = "{apiVersion: v1, kind: ConfigMap, metadata: {name: b, uid: x}}";
    let gone = harness.ask_with("PATCH", &format!("{maps}/b?fieldManager=m"), &apply, body).await;
    let why = "Operation cannot be fulfilled on configmaps \"b\": uid mismatch: the provided object specified uid x, and no existing object was found";
    assert_eq!((gone.code, gone.message().as_str()), (409, why));
    let manager =
        harness.post(&format!("{maps}?fieldManager=a%01"), json!({"metadata": {"name": "c"}})).await;
    let why = "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\x01\": invalid character U+0001 (at position 1)";
    assert_eq!((manager.code, manager.message().as_str()), (422, why));
}

#[tokio::test]
async fn people_get_indented_json_and_questions_are_answered_by_kind() {
    let harness = Harness::start().await;
    let all = "/api/v1/namespaces/default/configmaps";
    for path in [all, "/api/v1/namespaces/default", "/apis", "/api/v1/namespaces/nothing", "/version"] {
        let text = harness.ask_with("GET", path, &[("user-agent", "curl/8.5.0")], "").await.text;
        assert!(text.starts_with("{\n  \""), "{path}: {text}");
        assert!(harness.get(path).await.text.starts_with("{\""), "{path}");
    }
    let review =
        harness.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.expect(201);
    assert_eq!([&review["apiVersion"], &review["kind"]], ["authentication.k8s.io/v1", "SelfSubjectReview"]);
    assert!(review["metadata"]["creationTimestamp"].is_string());
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    assert_eq!(harness.ask_with("POST", reviews, &table, "{}").await.code, 406);
    for path in ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"] {
        let accept = [("accept", "application/vnd.kubernetes.protobuf")];
        assert_eq!(harness.ask_with("GET", path, &accept, "").await.code, 200, "{path}");
    }
}
