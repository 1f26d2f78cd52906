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
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "k", "operator": "In", "values": ["a b"]}]},
                {"matchFields": [{"key": "metadata.uid", "operator": "In", "values": []}]},
            ]}}}}),
            &[
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values[0]: Invalid value: \"a b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key",
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
#[rustfmt::skip]
fn what_stock_refuses_in_a_pod_spec_is_refused() {
    let base = json!({
        "containers": [{"name": "a", "image": "i"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]
    });
    let spread = |when: &str, more: Value| {
        let mut one = json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": when, "labelSelector": {}});
        coracle_schema::json_merge_patch(&mut one, &more);
        one
    };
    let bytes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let memory = format!("spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.memory\": only divisor's values {bytes} are supported with the memory resource");
    let memory = [memory.as_str()];
    let reference = |resource: &str, divisor: &str| with(json!({"env": [{"name": "e", "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}]}));
    let cases: &[(Value, &[&str])] = &[
        (json!({"securityContext": {"sysctls": [{"name": "A B", "value": "1"}]}}), &["spec.securityContext.sysctls[0].name: Invalid value: \"A B\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"]),
        (json!({"securityContext": {"sysctls": [{"name": "net/ipv4/a_b", "value": "1"}]}}), &[]),
        (json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net/ipv4/a_b", "value": "1"}]}}), &["spec.securityContext.sysctls[0].name: Invalid value: \"net/ipv4/a_b\": may not be specified when 'hostNetwork' is true"]),
        (json!({"securityContext": {"fsGroupChangePolicy": "Foo"}}), &["spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Foo\": supported values: \"Always\", \"OnRootMismatch\""]),
        (json!({"securityContext": {"supplementalGroupsPolicy": "X"}}), &["spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"X\": supported values: \"Merge\", \"Strict\""]),
        (json!({"securityContext": {"seLinuxChangePolicy": "X"}}), &["spec.securityContext.seLinuxChangePolicy: Unsupported value: \"X\": supported values: \"Recursive\""]),
        (json!({"securityContext": {"appArmorProfile": {}}}), &["spec.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is set"]),
        (json!({"dnsConfig": {"searches": ["a b", ".", "_a.b_c.", "ok"]}}), &["spec.dnsConfig.searches[0]: Invalid value: \"a b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"]),
        (json!({"dnsConfig": {"options": [{"value": "1"}]}}), &["spec.dnsConfig.options[0]: Required value: must not be empty"]),
        (json!({"os": {"name": "foo"}}), &["spec.os: Unsupported value: \"foo\": supported values: \"linux\", \"windows\""]),
        (json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}), &["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]),
        (json!({"os": {"name": "windows"}, "hostNetwork": true, "hostPID": true, "hostUsers": true, "securityContext": {"fsGroup": 1}}), &["spec.hostUsers: Forbidden: cannot be set for a windows pod", "spec.hostPID: Forbidden: cannot be set for a windows pod", "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod"]),
        (json!({"os": {"name": "windows"}, "containers": [{"name": "a", "image": "i", "securityContext": {"privileged": false}}]}), &["spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod"]),
        (json!({"hostUsers": false, "hostNetwork": true}), &["spec.hostNetwork: Forbidden: when `hostUsers` is false"]),
        (json!({"topologySpreadConstraints": [spread("ScheduleAnyway", json!({"minDomains": 2}))]}), &["spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"]),
        (json!({"topologySpreadConstraints": [spread("ScheduleAnyway", json!({})), spread("DoNotSchedule", json!({})), spread("ScheduleAnyway", json!({}))]}), &["spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, ScheduleAnyway}\""]),
        (json!({"topologySpreadConstraints": [spread("DoNotSchedule", json!({"nodeTaintsPolicy": "X", "matchLabelKeys": ["a"], "labelSelector": {"matchLabels": {"a": "b"}}}))]}), &["spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: \"X\": supported values: \"Honor\", \"Ignore\"", "spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector"]),
        (json!({"resourceClaims": [{"name": "a"}]}), &["spec.resourceClaims[0]: Invalid value: {\"Name\":\"a\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"]),
        (json!({"resourceClaims": [{"name": "a", "resourceClaimName": "b"}, {"name": "a", "resourceClaimName": "b"}]}), &["spec.resourceClaims[1].name: Duplicate value: \"a\""]),
        (with(json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "X"}]})), &["spec.containers[0].resizePolicy: Unsupported value: \"X\": supported values: \"NotRequired\", \"RestartContainer\""]),
        (with(json!({"volumeDevices": [{"name": "u", "devicePath": "/d"}]})), &["spec.containers[0].volumeDevices[0].name: Not found: \"u\""]),
        (with(json!({"volumeDevices": [{"name": "v", "devicePath": "/d"}]})), &["spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"]),
        (with(json!({"volumeDevices": [{"name": "c", "devicePath": "/d"}]})), &[]),
        (with(json!({"securityContext": {"procMount": "X"}})), &["spec.containers[0].securityContext.procMount: Unsupported value: \"X\": supported values: \"Default\", \"Unmasked\""]),
        (with(json!({"securityContext": {"procMount": "Unmasked"}})), &["spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"]),
        (with(json!({"securityContext": {"appArmorProfile": {"type": "Localhost"}}})), &["spec.containers[0].securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost"]),
        (with(json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "/x"}}})), &["spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: \"/x\": must be a relative path"]),
        (with(json!({"livenessProbe": {"httpGet": {"path": "/", "port": 1, "httpHeaders": [{"name": "a b"}]}}})), &["spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"]),
        (reference("limits.cpu", "3"), &["spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"]),
        (reference("limits.memory", "3"), &memory),
        (reference("limits.memory", "1Mi"), &[]),
        (json!({"hostNetwork": true, "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 1, "hostPort": 2}]}]}), &["spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true"]),
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
