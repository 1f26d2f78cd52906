use serde_json::{Value, json};

use super::{
    controls::evaluate,
    details,
    policy::{Level, Policy, Standard, Version},
};

/// Keeps `restricted` in every version.
fn good() -> Value {
    json!({"metadata": {}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    }})
}

fn standard(text: &str) -> Standard {
    let (level, version) = text.split_once(':').expect("level:version");
    let labels = [
        ("pod-security.kubernetes.io/enforce", level),
        ("pod-security.kubernetes.io/enforce-version", version),
    ];
    let (policy, wrong) = Policy::of(labels.into_iter());
    assert!(wrong.is_empty(), "{wrong:?}");
    policy.enforce
}

fn found(level: &str, pod: &Value) -> String {
    details(&evaluate(standard(level), pod))
}

#[test]
fn each_control_says_what_stock_says() {
    let container =
        |context: Value| json!({"spec": {"containers": [{"name": "a", "securityContext": context}]}});
    for (level, patch, expected) in [
        ("restricted:latest", json!({}), ""),
        ("restricted:v1.0", json!({}), ""),
        ("privileged:latest", json!({"spec": {"hostNetwork": true}}), ""),
        (
            "baseline:latest",
            json!({"spec": {"hostNetwork": true, "hostPID": true}}),
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (
            "baseline:latest",
            json!({"spec": {"initContainers": [{"name": "i", "securityContext": {"privileged": true}}], "containers": [{"name": "b", "securityContext": {"privileged": true}}]}}),
            "privileged (containers \"i\", \"b\" must not set securityContext.privileged=true)",
        ),
        (
            "baseline:latest",
            container(json!({"capabilities": {"add": ["NET_RAW", "CHOWN"]}})),
            "non-default capabilities (container \"a\" must not include \"NET_RAW\" in securityContext.capabilities.add)",
        ),
        (
            "baseline:latest",
            json!({"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}}),
            "hostPath volumes (volume \"h\")",
        ),
        (
            "restricted:latest",
            json!({"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}, {"name": "i", "image": {}}]}}),
            "restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (
            "baseline:latest",
            json!({"spec": {"containers": [{"name": "a", "ports": [{"hostPort": 80}, {"hostPort": 0}]}]}}),
            "hostPort (container \"a\" uses hostPort 80)",
        ),
        (
            "baseline:v1.34",
            json!({"spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]}}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
        ),
        (
            "baseline:v1.33",
            json!({"spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]}}),
            "",
        ),
        (
            "baseline:latest",
            container(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            "baseline:latest",
            json!({"spec": {"hostUsers": false, "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]}}),
            "",
        ),
        (
            "baseline:v1.30",
            container(json!({"seLinuxOptions": {"type": "container_engine_t", "user": "u"}})),
            "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: type \"container_engine_t\"; user may not be set)",
        ),
        ("baseline:v1.31", container(json!({"seLinuxOptions": {"type": "container_engine_t"}})), ""),
        (
            "baseline:latest",
            json!({"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}}),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            "baseline:v1.18",
            json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}}),
            "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")",
        ),
        (
            "baseline:v1.31",
            json!({"spec": {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "net.ipv4.tcp_fin_timeout"}]}}}),
            "forbidden sysctls (net.ipv4.tcp_rmem)",
        ),
        (
            "baseline:latest",
            json!({"spec": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}}),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            "baseline:latest",
            json!({"spec": {"securityContext": {"windowsOptions": {"hostProcess": true}}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            "restricted:latest",
            json!({"spec": {"securityContext": {"runAsUser": 0, "runAsNonRoot": false}}}),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)",
        ),
        (
            "restricted:latest",
            json!({"spec": {"hostUsers": false, "securityContext": {"runAsUser": 0, "runAsNonRoot": false}}}),
            "",
        ),
        (
            "restricted:latest",
            json!({"spec": {"securityContext": null, "containers": [{"name": "a"}]}}),
            "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
             unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
             runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
             seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
        ),
        (
            "restricted:v1.7",
            json!({"spec": {"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a"}]}}),
            "",
        ),
        (
            "restricted:v1.25",
            json!({"spec": {"os": {"name": "windows"}, "securityContext": {"seccompProfile": null}, "containers": [{"name": "a"}]}}),
            "",
        ),
    ] {
        let mut pod = good();
        coracle_schema::json_merge_patch(&mut pod, &patch);
        assert_eq!(found(level, &pod), expected, "{level} {patch}");
    }
}

#[test]
fn labels_become_levels_and_versions() {
    let policy = |labels: &[(&'static str, &'static str)]| -> (String, String, Vec<String>) {
        let labels: Vec<(String, &str)> =
            labels.iter().map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), *value)).collect();
        let (policy, wrong) = Policy::of(labels.iter().map(|(key, value)| (key.as_str(), *value)));
        let wrong = wrong.iter().map(|one| one.to_string()).collect();
        (policy.enforce.to_string(), policy.warn.to_string(), wrong)
    };
    let fine = Vec::<String>::new;
    for (labels, expected) in [
        (&[][..], ("privileged:latest", "privileged:latest", fine())),
        (&[("enforce", "baseline")][..], ("baseline:latest", "baseline:latest", fine())),
        (
            &[("enforce", "baseline"), ("enforce-version", "v1.24"), ("warn", "restricted")][..],
            ("baseline:v1.24", "restricted:latest", fine()),
        ),
        (&[("warn", "privileged"), ("enforce", "restricted")][..], ("restricted:latest", "privileged:latest", fine())),
        (
            &[("enforce", "strict")][..],
            ("restricted:latest", "privileged:latest", vec!["metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted".to_owned()]),
        ),
        (
            &[("audit-version", "v1.01")][..],
            ("privileged:latest", "privileged:latest", vec!["metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"v1.01\": must be \"latest\" or \"v1.x\"".to_owned()]),
        ),
    ] {
        let (enforce, warn, wrong) = policy(labels);
        assert_eq!((enforce.as_str(), warn.as_str(), wrong), expected, "{labels:?}");
    }
    assert_eq!(Standard { level: Level::Baseline, version: Version::Minor(3) }.to_string(), "baseline:v1.3");
}
