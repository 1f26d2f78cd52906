//! The engine against data: reference objects where they are present, and small cases.

use coracle_schema::{DecodeError, FieldIssue, GroupVersionKind, Registry, Schema, parse_json, parse_yaml};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn schema(group: &str, version: &str, kind: &str) -> Schema {
    let gvk = GroupVersionKind::new(group, version, kind);
    Registry::builtin().schema(&gvk).unwrap_or_else(|| panic!("no schema for {gvk:?}"))
}

/// Reference data that is not part of the tree.
fn reference(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let paths = [beside, "/work/shared".into()].map(|shared| shared.join("kubernetes-1.36").join(folder));
    let found = paths.into_iter().find(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: the reference data is not beside the repository");
    }
    found
}

#[test]
fn objects_with_every_field_set_come_through_unchanged() {
    let Some(folder) = reference("roundtrip") else { return };
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let (original, issues) = parse_json(&std::fs::read(&path).unwrap()).unwrap();
        assert!(issues.is_clean(), "{name}");
        let parts: Vec<&str> = name.rsplitn(3, '.').collect();
        let group = if parts[2] == "core" { "" } else { parts[2] };
        let mut pruned = original.clone();
        match schema(group, parts[1], parts[0]).prune(&mut pruned) {
            Ok(issues) if issues.is_empty() => {}
            other => failures.push(format!("{name}: {other:?}")),
        }
        // As text: the order of fields is part of what is kept.
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        if text(&pruned) != text(&original) {
            let (pruned, original) = (text(&pruned), text(&original));
            let different = pruned.lines().zip(original.lines()).find(|(a, b)| a != b);
            failures.push(format!("{name}: {different:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn of_several_yaml_documents_the_first_counts() {
    let read = |text: &str| parse_yaml(text.as_bytes()).unwrap().0;
    for (text, expected) in [
        ("a: 1\n---\nb: 2\n", json!({"a": 1})),
        ("# c\n---\na: 1\n--- \nb: 2", json!({"a": 1})),
        ("--- {a: 1}\n---\n", json!({"a": 1})),
        ("a: |\n  x\n  ---\n  y\n", json!({"a": "x\n---\ny\n"})),
        ("---a: 1\n", json!({"---a": 1})),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn yaml_gives_what_json_gives() {
    let Some(folder) = reference("roundtrip") else { return };
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let (yaml, _) = parse_yaml(&std::fs::read(&path).unwrap()).unwrap();
            let (json, _) = parse_json(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
            assert_eq!(yaml, json, "{}", path.display());
        }
    }
}

#[test]
fn unknown_fields_are_removed_and_named() {
    let mut deployment = json!({"spec": {"replica": 1, "template": {"spec": {"containers": [
        {"name": "a", "imagee": "x"}, {"name": "b", "env": [{"name": "n", "valu": 1}]}]}}}, "extra": {}});
    let issues = schema("apps", "v1", "Deployment").prune(&mut deployment).unwrap();
    let issues: Vec<String> = issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        issues,
        [
            "unknown field \"spec.replica\"",
            "unknown field \"spec.template.spec.containers[0].imagee\"",
            "unknown field \"spec.template.spec.containers[1].env[0].valu\"",
            "unknown field \"extra\"",
        ]
    );
    assert_eq!(
        deployment,
        json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a"}, {"name": "b", "env": [{"name": "n"}]}]}}}})
    );
}

#[test]
fn type_errors_read_as_those_of_a_stock_server() {
    for (kind, object, message) in [
        (
            "apps/v1/Deployment",
            json!({"spec": {"replicas": "three"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apps/v1/Deployment",
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "/v1/ConfigMap",
            json!({"data": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "/v1/Pod",
            json!({"metadata": {"labels": {"a": true}}}),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        // Types with names of their own, embedded structs, types with decoders of their own.
        (
            "/v1/Pod",
            json!({"spec": {"containers": [{"securityContext": {"capabilities": {"drop": [1]}}}]}}),
            "json: cannot unmarshal number into Go struct field Capabilities.spec.containers.securityContext.capabilities.drop of type v1.Capability",
        ),
        (
            "/v1/Pod",
            json!({"spec": {"volumes": [{"secret": {"defaultMode": "0644"}}]}}),
            "json: cannot unmarshal string into Go struct field SecretVolumeSource.spec.volumes.VolumeSource.secret.defaultMode of type int32",
        ),
        (
            "/v1/Pod",
            json!({"spec": {"containers": [{"resources": {"limits": 1}}]}}),
            "json: cannot unmarshal number into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList",
        ),
        (
            "/v1/Pod",
            json!({"metadata": {"creationTimestamp": 1}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
        (
            "/v1/Pod",
            json!({"spec": {"containers": {}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "/v1/Pod",
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            "/v1/Pod",
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1 core"}}}]}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("/v1/Secret", json!({"data": {"a": "b!!!"}}), "illegal base64 data at input byte 1"),
        ("/v1/Pod", json!([]), "json: cannot unmarshal array into Go value of type v1.Pod"),
    ] {
        let parts: Vec<&str> = kind.split('/').collect();
        let mut object = object;
        match schema(parts[0], parts[1], parts[2]).prune(&mut object) {
            Err(DecodeError::Syntax(text)) => panic!("{kind}: {text}"),
            other => assert_eq!(other.map_err(|error| error.to_string()), Err(message.to_owned())),
        }
    }
}

#[test]
fn values_are_brought_into_canonical_form() {
    let mut pod = json!({
        "spec": {"containers": [{
            "image": "x", "name": "a",
            "resources": {"limits": {"memory": "1024Mi", "cpu": 0.5}},
            "ports": [], "command": null,
        }], "nodeSelector": {}, "volumes": [{"name": "v", "emptyDir": {}}]},
        "metadata": {"creationTimestamp": null, "name": "p", "labels": {"b": "1", "a": null}},
        "apiVersion": "v1", "kind": "Pod",
    });
    assert_eq!(schema("", "v1", "Pod").prune(&mut pod).unwrap(), []);
    assert_eq!(
        pod.to_string(),
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "p", "labels": {"a": "", "b": "1"}},
            "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{
                "name": "a", "image": "x", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
            }]},
        })
        .to_string()
    );
}

#[test]
fn zeros_are_left_out_where_go_leaves_them_out() {
    let mut deployment = json!({"metadata": {"name": "x"}, "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false,
        "selector": {}, "template": {"spec": {"hostNetwork": false, "hostUsers": false, "nodeName": "",
            "terminationGracePeriodSeconds": 0, "containers": [{"name": "", "image": "", "stdin": false}]}}}});
    assert_eq!(schema("apps", "v1", "Deployment").prune(&mut deployment).unwrap(), []);
    assert_eq!(
        deployment["spec"],
        json!({"replicas": 0, "selector": {}, "template": {"spec": {"containers": [{"name": ""}],
            "terminationGracePeriodSeconds": 0, "hostUsers": false}}})
    );
    let mut claim = json!({"spec": {"storageClassName": "", "volumeName": ""}});
    schema("", "v1", "PersistentVolumeClaim").prune(&mut claim).unwrap();
    assert_eq!(claim, json!({"spec": {"storageClassName": ""}}));
    let mut budget = json!({"status": {"disruptionsAllowed": 0, "observedGeneration": 0}});
    schema("policy", "v1", "PodDisruptionBudget").prune(&mut budget).unwrap();
    assert_eq!(budget, json!({"status": {"disruptionsAllowed": 0}}));
}

/// What strict decoding says of a Deployment's text: lines, then fields.
fn strict(text: &str, yaml: bool) -> Vec<String> {
    let parse = if yaml { parse_yaml } else { parse_json };
    let (mut value, syntax) = parse(text.as_bytes()).unwrap();
    let unknown = schema("apps", "v1", "Deployment").prune(&mut value).unwrap();
    let issues = syntax.issues(unknown, false);
    syntax.lines().iter().cloned().chain(issues.iter().map(ToString::to_string)).collect()
}

#[test]
fn the_last_of_doubled_keys_wins() {
    for parse in [parse_json, parse_yaml] {
        let (value, syntax) = parse(br#"{"a": [{"b": 1, "b": 2}], "a": [{"c": 1, "c": 3}]}"#).unwrap();
        assert_eq!(value, json!({"a": [{"c": 3}]}));
        assert!(!syntax.is_clean());
    }
}

#[test]
fn strict_json_reports_fields_in_the_order_of_the_text() {
    let text = r#"{"metadata": {"name": "a", "name": "b", "unknownMeta": 1},
        "spec": {"unknown1": {"x": 1, "x": 2}, "unknownDupe": 1, "unknownDupe": 2, "paused": true, "paused": false,
            "paused": true, "template": {"spec": {"containers": [
                {"name": "n", "unknownNested": 1, "imagePullPolicy": "a", "imagePullPolicy": "b"}]}}}}"#;
    let expected = [
        "duplicate field \"metadata.name\"",
        "unknown field \"metadata.unknownMeta\"",
        "unknown field \"spec.unknown1\"",
        "unknown field \"spec.unknownDupe\"",
        "duplicate field \"spec.paused\"",
        "unknown field \"spec.template.spec.containers[0].unknownNested\"",
        "duplicate field \"spec.template.spec.containers[0].imagePullPolicy\"",
    ];
    assert_eq!(strict(text, false), expected);
    // A custom resource's: what is doubled, then what is unknown.
    let (_, syntax) = parse_json(text.as_bytes()).unwrap();
    let unknown = FieldIssue::Unknown { path: "spec.unknownDupe".into() };
    let of_custom: Vec<String> = syntax.issues(vec![unknown], true).iter().map(ToString::to_string).collect();
    assert_eq!(
        of_custom[..3],
        [
            "duplicate field \"metadata.name\"",
            "duplicate field \"spec.unknown1.x\"",
            "duplicate field \"spec.unknownDupe\"",
        ]
    );
    assert_eq!(of_custom.last().unwrap(), "unknown field \"spec.unknownDupe\"");
}

#[test]
fn strict_yaml_reports_lines_and_then_fields_by_name() {
    let text = "metadata:\n  name: a\n  name: b\nspec:\n  unknownDupe: 1\n  unknownDupe: 2\n  unknown1: 1\n  template:\n    spec:\n      containers:\n      - name: c\n        zzz: 1\n        image: a\n        image: b\n  selector:\n    matchLabels: {a: b}\n  selector:\n    matchLabels: {a: b}\n";
    let expected = [
        "line 3: key \"name\" already set in map",
        "line 6: key \"unknownDupe\" already set in map",
        "line 14: key \"image\" already set in map",
        "line 18: key \"selector\" already set in map",
        "unknown field \"spec.template.spec.containers[0].zzz\"",
        "unknown field \"spec.unknown1\"",
        "unknown field \"spec.unknownDupe\"",
    ];
    assert_eq!(strict(text, true), expected);
}

#[test]
fn syntax_errors_read_as_those_of_go() {
    for (text, message) in [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("{]", "invalid character ']' looking for beginning of object key string"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\": 1 \"b\": 2}", "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("\u{e9}", "invalid character '\u{c3}' looking for beginning of value"),
        ("'", "invalid character '\\'' looking for beginning of value"),
        ("\u{1}", "invalid character '\\x01' looking for beginning of value"),
        ("foo", "invalid character 'o' in literal false (expecting 'a')"),
        ("hello", "invalid character 'h' looking for beginning of value"),
    ] {
        assert_eq!(parse_json(text.as_bytes()).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn every_served_kind_has_a_schema() {
    let registry = Registry::builtin();
    for resource in registry.resources() {
        let subresources = resource.subresources.iter().map(|subresource| &subresource.gvk);
        for gvk in std::iter::once(&resource.gvk).chain(subresources) {
            assert!(registry.schema(gvk).is_some(), "{gvk:?}");
        }
    }
    for (group, kind) in [
        ("", "Status"),
        ("apps", "DeleteOptions"),
        ("", "WatchEvent"),
        ("autoscaling", "Scale"),
        ("policy", "Eviction"),
        ("authentication.k8s.io", "TokenRequest"),
        ("", "PodList"),
        ("apps", "DeploymentList"),
    ] {
        assert!(registry.schema(&GroupVersionKind::new(group, "v1", kind)).is_some(), "{group} {kind}");
    }
}

#[test]
fn yaml_scalars_stand_for_what_kubectl_makes_of_them() {
    for (text, expected) in [
        ("a: {80: x, true: z}", json!({"a": {"80": "x", "true": "z"}})),
        ("a: \"yes\"", json!({"a": "yes"})),
        ("a: 0x10\nb: 1.5\nc: ~\nd: 2024-01-01", json!({"a": 16, "b": 1.5, "c": null, "d": "2024-01-01"})),
        ("a: |\n  x\n  y\n", json!({"a": "x\ny\n"})),
        ("---\na: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}})),
        ("a: 1Gi\nb: 100m\nc: 1e3", json!({"a": "1Gi", "b": "100m", "c": 1000})),
        ("", json!(null)),
    ] {
        match parse_yaml(text.as_bytes()) {
            Ok((value, _)) => assert_eq!(value, expected, "{text}"),
            Err(error) => panic!("{text}: {error}"),
        }
    }
    let error = parse_yaml(b"a: b: c\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "error converting YAML to JSON: yaml: line 1: mapping values are not allowed in this context"
    );
}
