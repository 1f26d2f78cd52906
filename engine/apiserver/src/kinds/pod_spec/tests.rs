use serde_json::json;

use super::{super::checks::assert_cases, *};

fn with(extra: Value) -> Value {
    let mut container = json!({"name": "a", "image": "i"});
    coracle_schema::json_merge_patch(&mut container, &extra);
    json!({"containers": [container]})
}

#[test]
fn a_pod_spec_gets_the_stock_causes() {
    let base = json!({
        "containers": [{"name": "a", "image": "i"}],
        "volumes": [{"name": "v", "emptyDir": {}}]
    });
    let cases: &[(Value, &[&str])] = &[
        (json!({"containers": []}), &["spec.containers: Required value"]),
        (with(json!({"name": null})), &["spec.containers[0].name: Required value"]),
        (with(json!({"image": ""})), &["spec.containers[0].image: Required value"]),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "j"}]}),
            &["spec.containers[1].name: Duplicate value: \"a\""],
        ),
        (
            with(json!({"ports": [{"containerPort": 70000}]})),
            &[
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            with(json!({"ports": [{"name": "x"}]})),
            &["spec.containers[0].ports[0].containerPort: Required value"],
        ),
        (
            with(json!({"ports": [{"containerPort": 1, "protocol": "tcp"}]})),
            &[
                "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        ),
        (
            with(json!({"ports": [{"name": "p", "containerPort": 1}, {"name": "p", "containerPort": 2}]})),
            &["spec.containers[0].ports[1].name: Duplicate value: \"p\""],
        ),
        (
            with(json!({"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "32Mi"}}})),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"64Mi\": must be less than or equal to memory limit of 32Mi",
            ],
        ),
        (
            with(json!({"resources": {"limits": {"cpu": "-1"}}})),
            &[
                "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ],
        ),
        (
            with(
                json!({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}, {"name": "Y", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo['a']"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo\": error converting fieldPath: field label not supported: spec.foo",
                "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo['a']\": error converting fieldPath: field label does not support subscript: spec.foo['a']",
            ],
        ),
        (
            json!({"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "status.phase"}}, {"path": "b", "fieldRef": {"fieldPath": "metadata.labels['-']"}}, {"path": "c", "fieldRef": {"fieldPath": "metadata.annotations['A']"}}]}}]}),
            &[
                "spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
                "spec.volumes[0].downwardAPI.items[1].fieldRef: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            with(json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]})),
            &["spec.containers[0].volumeMounts[0].name: Not found: \"x\""],
        ),
        (
            with(
                json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]}),
            ),
            &["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique"],
        ),
        (with(json!({"env": [{"value": "x"}]})), &["spec.containers[0].env[0].name: Required value"]),
        (
            with(
                json!({"env": [{"name": "X", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            with(json!({"livenessProbe": {}})),
            &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            with(
                json!({"livenessProbe": {"successThreshold": 2, "httpGet": {"path": "/", "port": 80}, "exec": {"command": ["x"]}}}),
            ),
            &[
                "spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            with(json!({"imagePullPolicy": "Maybe"})),
            &[
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (
            json!({"volumes": [{"name": "w"}]}),
            &["spec.volumes[0]: Required value: must specify a volume type"],
        ),
        (
            json!({"volumes": [{"name": "w", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            json!({"volumes": [{"name": "w", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]}),
            &["spec.volumes[1].name: Duplicate value: \"w\""],
        ),
        (
            json!({"restartPolicy": "Sometimes"}),
            &[
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        (
            json!({"dnsPolicy": "None"}),
            &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            json!({"tolerations": [{"operator": "Equal"}]}),
            &[
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ],
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}),
            &[
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
            ],
        ),
        (
            json!({"activeDeadlineSeconds": 0}),
            &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            json!({"initContainers": [{"name": "b", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}}]}),
            &[
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
    ];
    assert_cases(base, |spec| validate(spec, "spec"), cases);
}

#[test]
fn only_some_fields_of_a_pod_change() {
    let old = json!({
        "containers": [{"name": "a", "image": "i"}],
        "activeDeadlineSeconds": 10,
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "nodeName": "n"
    });
    let check = |new: &Value| validate_update(new, &old);
    let cases: &[(Value, &[&str])] = &[
        (with(json!({"image": "other"})), &[]),
        (json!({"activeDeadlineSeconds": 5}), &[]),
        (
            json!({"tolerations": [{"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}]}),
            &[],
        ),
        (
            json!({"activeDeadlineSeconds": 20}),
            &["spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value"],
        ),
        (
            json!({"tolerations": []}),
            &[
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ],
        ),
        (
            json!({"containers": []}),
            &["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
    ];
    assert_cases(old.clone(), check, cases);
    let mut moved = old.clone();
    moved["nodeName"] = "m".into();
    let text = validate_update(&moved, &old)[0].to_string();
    assert!(text.starts_with(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    ));
    assert!(text.ends_with("changed: spec.nodeName"), "{text}");
}
