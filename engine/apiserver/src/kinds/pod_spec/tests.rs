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
                "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
                "spec.volumes[0].downwardAPI.fieldRef: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
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
            json!({"shareProcessNamespace": true, "hostPID": true}),
            &[
                "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            ],
        ),
        (
            json!({"volumes": [{"name": "w"}]}),
            &["spec.volumes[0]: Required value: must specify a volume type"],
        ),
        (
            json!({"volumes": [{"name": "w", "hostPath": {"path": "/"}, "emptyDir": {}}]}),
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
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: \"\": name part must be non-empty",
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
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
    let file = |change: Value| {
        let mut file = json!({"volumeName": "v", "path": "p", "key": "k"});
        coracle_schema::json_merge_patch(&mut file, &change);
        with(json!({"env": [{"name": "e", "valueFrom": {"fileKeyRef": file}}]}))
    };
    let limit = |name: &str, amount: &str| with(json!({"resources": {"limits": {name: amount}}}));
    // It fits as it is, but not with the prefix by which quotas name it.
    let too_long = format!("{}/c", "a".repeat(250));
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
        (json!({"hostnameOverride": "db.example.com"}), &[]),
        (json!({"hostnameOverride": "a_b"}), &["spec.hostnameOverride: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]),
        (json!({"dnsConfig": {"options": [{"value": "1"}]}}), &["spec.dnsConfig.options[0]: Required value: must not be empty"]),
        (json!({"os": {"name": "foo"}}), &["spec.os: Unsupported value: \"foo\": supported values: \"linux\", \"windows\""]),
        (json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}), &["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]),
        (json!({"os": {"name": "windows"}, "hostNetwork": true, "hostPID": true, "hostUsers": true, "securityContext": {"fsGroup": 1}}), &["spec.hostUsers: Forbidden: cannot be set for a windows pod", "spec.hostPID: Forbidden: cannot be set for a windows pod", "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod"]),
        (json!({"os": {"name": "windows"}, "containers": [{"name": "a", "image": "i", "securityContext": {"privileged": false}}]}), &["spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod"]),
        (json!({"hostUsers": false, "hostNetwork": true}), &["spec.hostNetwork: Forbidden: when `hostUsers` is false"]),
        (json!({"hostUsers": false, "hostPID": true, "hostIPC": true}), &["spec.HostPID: Forbidden: when `hostUsers` is false", "spec.HostIPC: Forbidden: when `hostUsers` is false"]),
        (json!({"hostUsers": false, "containers": [{"name": "a", "image": "i", "volumeDevices": [{"name": "c", "devicePath": "/d"}]}]}), &["spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false"]),
        (json!({"topologySpreadConstraints": [spread("ScheduleAnyway", json!({"minDomains": 2}))]}), &["spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"]),
        (json!({"topologySpreadConstraints": [spread("ScheduleAnyway", json!({})), spread("DoNotSchedule", json!({})), spread("ScheduleAnyway", json!({}))]}), &["spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, ScheduleAnyway}\""]),
        (json!({"topologySpreadConstraints": [spread("DoNotSchedule", json!({"nodeTaintsPolicy": "X", "matchLabelKeys": ["a"], "labelSelector": {"matchLabels": {"a": "b"}}}))]}), &["spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: \"X\": supported values: \"Honor\", \"Ignore\"", "spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector"]),
        (json!({"resourceClaims": [{"name": "a"}]}), &["spec.resourceClaims[0]: Invalid value: {\"Name\":\"a\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"]),
        (json!({"resourceClaims": [{"name": "a", "resourceClaimName": "b"}, {"name": "a", "resourceClaimName": "b"}]}), &["spec.resourceClaims[1].name: Duplicate value: \"a\""]),
        (json!({"hostnameOverride": "a.b"}), &[]),
        (json!({"hostnameOverride": "a", "hostNetwork": true, "setHostnameAsFQDN": true}), &["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true", "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"]),
        (json!({"hostnameOverride": "a".repeat(65)}), &["spec.hostnameOverride: Too long: may not be more than 64 bytes"]),
        (file(json!({})), &[]),
        (file(json!({"path": "/abs"})), &[]),
        (file(json!({"path": "a/../b"})), &["spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: \"a/../b\": must not contain '..'"]),
        (file(json!({"key": "a=b"})), &["spec.containers[0].env[0].valueFrom.fileKeyRef.key: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='"]),
        (file(json!({"volumeName": "u"})), &["spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"u\""]),
        (file(json!({"volumeName": "c"})), &["spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: \"c\": referenced volume must be of type emptyDir"]),
        (limit("requests.foo/bar", "1"), &["spec.containers[0].resources.limits[requests.foo/bar]: Invalid value: \"requests.foo/bar\": doesn't follow extended resource name standard"]),
        (limit(&too_long, "1"), &[&format!("spec.containers[0].resources.limits[{too_long}]: Invalid value: \"{too_long}\": doesn't follow extended resource name standard")]),
        (limit("foo.kubernetes.io/bar", "500m"), &[]),
        (limit("foo/bar", "500m"), &["spec.containers[0].resources.limits[foo/bar]: Invalid value: \"500m\": must be an integer"]),
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

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Some of upstream's paths leave out an index; they are part of the text that clients see.
#[test]
fn containers_get_the_stock_causes_with_upstreams_paths() {
    let base = json!({
        "terminationGracePeriodSeconds": 30,
        "containers": [{"name": "a", "image": "i"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]
    });
    let mount = |extra: Value| {
        let mut mount = json!({"name": "v", "mountPath": "/v"});
        coracle_schema::json_merge_patch(&mut mount, &extra);
        with(json!({"volumeMounts": [mount]}))
    };
    let rules =
        |policy: Value, rule: Value| with(json!({"restartPolicy": policy, "restartPolicyRules": [rule]}));
    let no_name = |kind: &str| {
        format!("spec.containers[0].env[0].valueFrom.{kind}.name: Invalid value: \"\": {SUBDOMAIN}")
    };
    let (map, secret) = (no_name("configMapKeyRef"), no_name("secretKeyRef"));
    let cases: &[(Value, &[&str])] = &[
        (with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 0}}}})), &[]),
        (
            with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}})),
            &[
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (with(json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "k"}}}]})), &[&map]),
        (with(json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"key": "k"}}}]})), &[&secret]),
        (
            with(json!({"envFrom": [{"prefix": "P"}]})),
            &[
                "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ],
        ),
        (
            with(json!({"envFrom": [{"configMapRef": {"name": ""}}]})),
            &["spec.containers[0].envFrom[0].configMapRef.name: Required value"],
        ),
        (
            mount(json!({"subPath": "/a"})),
            &["spec.containers[0].volumeMounts.subPath: Invalid value: \"/a\": must be a relative path"],
        ),
        (
            mount(json!({"mountPropagation": "Bidirectional"})),
            &[
                "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            mount(json!({"recursiveReadOnly": "Enabled"})),
            &[
                "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
            ],
        ),
        (
            with(
                json!({"volumeMounts": [{"name": "v", "mountPath": "/d"}], "volumeDevices": [{"name": "c", "devicePath": "/d"}]}),
            ),
            &[
                "spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"/d\": must not already exist as a path in volumeDevices",
                "spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/d\": must not already exist as a path in volumeMounts",
            ],
        ),
        (
            rules(
                json!("Never"),
                json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}),
            ),
            &[],
        ),
        (
            rules(Value::Null, json!({"action": "Restart", "exitCodes": {"operator": "In"}})),
            &[
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
            ],
        ),
        (
            rules(json!("Never"), json!({"action": "Restart"})),
            &["spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified"],
        ),
        (
            rules(json!("Never"), json!({"action": "DoNotRestart", "exitCodes": {"operator": "Equals"}})),
            &[
                "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"DoNotRestart\": supported values: \"Restart\", \"RestartAllContainers\"",
                "spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"",
            ],
        ),
        (
            with(json!({"resources": {"claims": [{"name": "x"}]}})),
            &[
                "spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
        (
            with(json!({"resources": {"limits": {"hugepages-2Mi": "3Mi"}}})),
            &[
                "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
            ],
        ),
    ];
    assert_cases(base, |spec| validate(spec, "spec"), cases);
}

#[test]
fn volumes_get_the_stock_causes_with_upstreams_paths() {
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        coracle_schema::json_merge_patch(&mut volume, &source);
        json!({"volumes": [volume]})
    };
    let projected = |sources: Value| volume(json!({"projected": {"sources": sources}}));
    let file = |map: &str| json!({"configMap": {"name": map, "items": [{"key": "k", "path": "p"}]}});
    let iscsi = |own: Value| {
        let mut iscsi = json!({"targetPortal": "p", "iqn": "iqn.2001-04.com.example:disk", "lun": 0});
        coracle_schema::json_merge_patch(&mut iscsi, &own);
        json!({"iscsi": iscsi})
    };
    let portal = "p".repeat(63);
    let no_driver = format!("spec.volumes[0].csi.driver: Invalid value: \"\": {SUBDOMAIN}");
    let cases: &[(Value, &[&str])] = &[
        (projected(json!([{}])), &[]),
        (
            projected(json!([{"secret": {"name": "s"}, "configMap": {"name": "c"}}])),
            &[
                "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
            ],
        ),
        (
            projected(json!([file("a"), file("b")])),
            &["spec.volumes[0].projected: Invalid value: \"b\": conflicting duplicate paths"],
        ),
        (
            projected(
                json!([{"serviceAccountToken": {"path": "../t", "expirationSeconds": 5_000_000_000_i64}}]),
            ),
            &[
                "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5000000000: may not specify a duration larger than 2^32 seconds",
                "spec.volumes[0].projected.path: Invalid value: \"../t\": must not contain '..'",
            ],
        ),
        (volume(json!({"csi": {}})), &["spec.volumes[0].csi.driver: Required value", &no_driver]),
        (
            volume(json!({"nfs": {"server": "s"}})),
            &[
                "spec.volumes[0].nfs.path: Required value",
                "spec.volumes[0].nfs.path: Invalid value: \"\": must be an absolute path",
            ],
        ),
        (volume(json!({"gitRepo": {}})), &["spec.volumes[0].gitRepo.repository: Required value"]),
        (
            volume(iscsi(json!({"iqn": "bad", "lun": 256, "initiatorName": "iqn.bad"}))),
            &[
                "spec.volumes[0].iscsi.iqn: Invalid value: \"bad\": must be valid format starting with iqn, eui, or naa",
                "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "spec.volumes[0].iscsi.initiatorname: Invalid value: \"iqn.bad\": must be valid format",
            ],
        ),
        (
            volume(iscsi(json!({"chapAuthSession": true}))),
            &["spec.volumes[0].iscsi.secretRef: Required value"],
        ),
        (volume(iscsi(json!({"secretRef": {}, "iqn": "eui.0123456789abcdef"}))), &[]),
        (
            volume(iscsi(json!({"initiatorName": "iqn.2001-04.c:d", "targetPortal": portal}))),
            &[
                "spec.volumes[0].name: Invalid value: \"v\": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
            ],
        ),
        (
            volume(json!({"fc": {}})),
            &[
                "spec.volumes[0].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both",
            ],
        ),
        (
            volume(json!({"fc": {"targetWWNs": ["a"], "wwids": ["b"], "lun": -1}})),
            &[
                "spec.volumes[0].fc.targetWWNs: Invalid value: [\"a\"]: targetWWNs and wwids can not be specified simultaneously",
                "spec.volumes[0].fc.lun: Invalid value: -1: must be between 0 and 255, inclusive",
            ],
        ),
        (
            volume(json!({"fc": {"targetWWNs": ["a"]}})),
            &["spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified"],
        ),
        (
            volume(
                json!({"azureDisk": {"diskName": "d", "diskURI": "u", "kind": "Managed", "cachingMode": "X"}}),
            ),
            &[
                "spec.volumes[0].azureDisk.cachingMode: Unsupported value: \"X\": supported values: \"None\", \"ReadOnly\", \"ReadWrite\"",
                "spec.volumes[0].azureDisk.diskURI: Unsupported value: \"u\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
            ],
        ),
        (
            volume(json!({"azureDisk": {"diskName": "d", "diskURI": "https://", "kind": "X"}})),
            &[
                "spec.volumes[0].azureDisk.kind: Unsupported value: \"X\": supported values: \"Dedicated\", \"Managed\", \"Shared\"",
            ],
        ),
        (
            volume(json!({"gcePersistentDisk": {"pdName": "d", "partition": 300}})),
            &[
                "spec.volumes[0].persistentDisk.partition: Invalid value: 300: must be between 1 and 255, inclusive",
            ],
        ),
        (
            volume(
                json!({"flexVolume": {"driver": "a/b", "options": {"a.Kubernetes.io/x": "", "k8s.io": "", "a/k8s.io": ""}}}),
            ),
            &[
                "spec.volumes[0].flexVolume.options[a.Kubernetes.io/x]: Invalid value: \"a.Kubernetes.io/x\": kubernetes.io and k8s.io namespaces are reserved",
                "spec.volumes[0].flexVolume.options[k8s.io]: Invalid value: \"k8s.io\": kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
        (
            volume(json!({"quobyte": {}})),
            &[
                "spec.volumes[0].quobyte.registry: Required value: must be a host:port pair or multiple pairs separated by commas",
                "spec.volumes[0].quobyte.volume: Required value",
            ],
        ),
        (
            volume(json!({"quobyte": {"registry": "a:1,[::1]:2,::1", "volume": "v"}})),
            &[
                "spec.volumes[0].quobyte.registry: Invalid value: \"a:1,[::1]:2,::1\": must be a host:port pair or multiple pairs separated by commas",
            ],
        ),
        (
            volume(json!({"flocker": {}})),
            &["spec.volumes[0].flocker: Required value: one of datasetName and datasetUUID is required"],
        ),
        (
            volume(json!({"flocker": {"datasetName": "a/b", "datasetUUID": "u"}})),
            &[
                "spec.volumes[0].flocker: Invalid value: \"resource\": datasetName and datasetUUID can not be specified simultaneously",
                "spec.volumes[0].flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
            ],
        ),
        (
            volume(json!({"storageos": {"secretRef": {}}})),
            &[
                "spec.volumes[0].storageos.volumeName: Required value",
                "spec.volumes[0].storageos.secretRef.name: Required value",
            ],
        ),
        (
            volume(
                json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}}),
            ),
            &["spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"],
        ),
    ];
    assert_cases(json!({"containers": [{"name": "a", "image": "i"}]}), |spec| validate(spec, "spec"), cases);
}

#[test]
fn pods_get_the_stock_causes_for_what_they_ask_for_as_a_whole() {
    let cases: &[(Value, &[&str])] = &[
        (
            json!({"resources": {"requests": {"cpu": "1"}}}),
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            ],
        ),
        (
            json!({"resources": {"limits": {"cpu": "3"}}}),
            &[
                "spec.resources.containers[0][cpu].limits: Invalid value: \"4\": must be less than or equal to pod limits of 3",
            ],
        ),
        (
            json!({"resources": {"requests": {"pods": "1"}, "claims": [{"name": "a"}]}}),
            &[
                "spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level",
                "spec.resources.requests[pods]: Unsupported value: \"pods\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
            ],
        ),
        (
            json!({"overhead": {"cpu": "-1"}}),
            &["spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
    ];
    let asking = json!({"containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}}]});
    assert_cases(asking, |spec| validate(spec, "spec"), cases);
}

#[test]
fn a_gated_pod_only_gets_choosier() {
    let term = |expressions: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}}});
    let mut old = json!({
        "containers": [{"name": "a", "image": "i"}],
        "schedulingGates": [{"name": "g"}],
        "nodeSelector": {"a": "b"}
    });
    coracle_schema::json_merge_patch(&mut old, &term(json!([{"key": "k", "operator": "Exists"}])));
    let cases: &[(Value, &[&str])] = &[
        (json!({"nodeSelector": {"c": "d"}, "schedulingGates": []}), &[]),
        (term(json!([{"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}])), &[]),
        (
            json!({"nodeSelector": {"a": "c"}}),
            &[
                "spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            ],
        ),
        (
            term(json!([])),
            &[
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value: {\"matchExpressions\":[]}: only additions are allowed (no mutations or deletions)",
            ],
        ),
        (
            json!({"schedulingGates": [{"name": "g"}, {"name": "h"}]}),
            &[
                "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'",
            ],
        ),
    ];
    assert_cases(old.clone(), |new| validate_update(new, &old), cases);
}
