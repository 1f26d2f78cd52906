use serde_json::json;

use super::*;

/// Rows of `a pod's spec => its warnings`.
#[test]
#[rustfmt::skip]
fn a_pod_gets_the_stock_warnings() {
    let of = |container: Value| json!({"containers": [container]});
    let volumes = |source: Value| {
        let mut volume = json!({"name": "v"});
        coracle_schema::json_merge_patch(&mut volume, &source);
        json!({"volumes": [volume]})
    };
    let two = json!([{"key": "a", "path": "t"}, {"key": "b", "path": "t/x"}]);
    let rows: &[(Value, &[&str])] = &[
        (json!({"nodeSelector": {"beta.kubernetes.io/os": "linux", "a": "b"}}), &["spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"]),
        (json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": {"matchExpressions": [{"key": "beta.kubernetes.io/arch", "values": ["a", "a b"]}]}}]}}}), &["spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead", "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[1]: a b is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]),
        (json!({"topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}]}), &["spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead", "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"]),
        (json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}]}}}), &["spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod"]),
        (volumes(json!({"gitRepo": {}})), &["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"]),
        (volumes(json!({"storageos": {}})), &["spec.volumes[0].storageOS: deprecated in v1.22, non-functional in v1.25+"]),
        (volumes(json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "200m"}}}}}})), &["spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value \"200m\" is invalid, must be an integer"]),
        (volumes(json!({"configMap": {"name": "c", "items": two}})), &["volume \"v\" (ConfigMap \"c\"): overlapping paths: \"t/x\" with \"t\""]),
        (volumes(json!({"configMap": {"name": "c", "items": [{"path": "t"}, {"path": "t2"}]}})), &[]),
        (volumes(json!({"projected": {"sources": [{"configMap": {"name": "c", "items": [{"path": "t"}]}}, {"serviceAccountToken": {"path": "t"}}]}})), &["volume \"v\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t\" (ConfigMap \"c\")"]),
        (json!({"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]}), &["spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\""]),
        (json!({"hostAliases": [{"ip": "::ffff:1.2.3.4"}], "dnsConfig": {"nameservers": ["1.1.1.1", "0:0::1"]}}), &["spec.dnsConfig.nameservers[1]: IPv6 address \"0:0::1\" should be in RFC 5952 canonical format (\"::1\")", "spec.hostAliases[0].ip: non-standard IP address \"::ffff:1.2.3.4\" will be considered invalid in a future Kubernetes release: use \"1.2.3.4\""]),
        (json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]}), &["spec.imagePullSecrets[1].name: duplicate name \"a\"", "spec.imagePullSecrets[2].name: invalid empty name \"\""]),
        (json!({"overhead": {"memory": "4m", "cpu": "4m"}}), &["spec.overhead[memory]: fractional byte value \"4m\" is invalid, must be an integer"]),
        (of(json!({"resources": {"limits": {"memory": "128m", "cpu": "1m"}}})), &["spec.containers[0].resources.limits[memory]: fractional byte value \"128m\" is invalid, must be an integer"]),
        (of(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}]})), &["spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"]),
        (of(json!({"ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]})), &["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"]),
        (of(json!({"ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}, {"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostIP": "10.0.0.1", "protocol": "UDP"}]})), &["spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]", "spec.containers[0].ports[2]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:UDP HostIP:10.0.0.1}"]),
        (json!({"initContainers": [{"restartPolicy": "Always", "ports": [{"containerPort": 1, "name": "p"}]}], "containers": [{"ports": [{"containerPort": 2, "name": "p"}]}]}), &["spec.containers[0].ports[0]: duplicate port name \"p\" with spec.initContainers[0].ports[0], services and probes that select ports by name will use spec.initContainers[0].ports[0]"]),
        (json!({"terminationGracePeriodSeconds": -1}), &["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"]),
    ];
    for (spec, expected) in rows {
        assert_eq!(of_pod(&json!({"metadata": {"name": "x"}, "spec": spec})), *expected, "{spec}");
    }
}

#[test]
fn annotations_and_names_are_warned_about_where_they_stand() {
    let template = json!({
        "metadata": {"annotations": {
            "seccomp.security.alpha.kubernetes.io/pod": "x",
            "container.apparmor.security.beta.kubernetes.io/a": "unconfined",
            "scheduler.alpha.kubernetes.io/critical-pod": ""
        }},
        "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1}]}]}
    });
    let at = "spec.template";
    assert_eq!(
        of_template(&template, at),
        [
            "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
            "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
            "spec.containers[0].ports[1]: duplicate port definition with spec.template.spec.containers[0].ports[0]",
        ]
        .map(|text| format!("{at}.{text}"))
    );
    assert_eq!(
        of_workload_name(&json!({"metadata": {"name": "a.b"}})),
        [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"
        ]
    );
    let set = json!({"revisionHistoryLimit": -1, "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1m"}}}}]});
    assert_eq!(of_stateful_set(&set).len(), 2);
}
