use super::{super::checks::assert_cases, *};
use serde_json::json;

fn base() -> Value {
    json!({"spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Always", "containers": [{"name": "a", "image": "i"}]}}
    }})
}

#[test]
fn a_deployment_gets_the_stock_causes() {
    assert_cases(
        base(),
        deployment,
        &[
            (
                json!({"spec": {"replicas": -1}}),
                &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                json!({"spec": {"selector": null}}),
                &[
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"spec": {"selector": {"matchLabels": null}}}),
                &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (
                json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}}),
                &[
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
                &[
                    "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                    "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}: invalid label selector",
                ],
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": []}}}}),
                &["spec.template.spec.containers: Required value"],
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                &[
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "Slow"}}}),
                &[
                    "spec.strategy: Unsupported value: {\"Type\":\"Slow\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\"",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}}),
                &[
                    "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
                &[
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "150%"}}}}),
                &[
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"150%\": must not be greater than 100%",
                ],
            ),
            (
                json!({"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 5}}),
                &["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
            ),
        ],
    );
}

#[test]
fn a_selector_stays() {
    let mut new = base();
    new["spec"]["selector"]["matchLabels"]["a"] = "c".into();
    assert_eq!(
        same_selector(&new, &base())[0].to_string(),
        "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"
    );
}

#[test]
fn a_stateful_set_mounts_its_claims_and_keeps_its_service() {
    let mut set = base();
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    assert_eq!(stateful_set(&set), []);
    let mut new = set.clone();
    new["spec"]["serviceName"] = "other".into();
    assert_eq!(compare_stateful_sets(&new, &set).len(), 1);
    new = set.clone();
    new["spec"]["replicas"] = 5.into();
    assert_eq!(compare_stateful_sets(&new, &set).len(), 0);
}

#[test]
fn other_workloads_get_the_stock_causes() {
    let update = |own: Value| json!({"spec": {"updateStrategy": own}});
    assert_cases(
        base(),
        stateful_set,
        &[
            (
                json!({"spec": {"ordinals": {"start": -1}}}),
                &["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                update(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}})),
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"],
            ),
            (
                update(json!({"type": "Slow"})),
                &[
                    "spec.updateStrategy: Invalid value: {\"Type\":\"Slow\",\"RollingUpdate\":null}: must be 'RollingUpdate' or 'OnDelete'",
                ],
            ),
            (json!({"spec": {"serviceName": "web"}}), &[]),
            (
                json!({"spec": {"serviceName": "a.b"}}),
                &["spec.serviceName: Invalid value: \"a.b\": must not contain dots"],
            ),
            (
                json!({"spec": {"podManagementPolicy": "All"}}),
                &["spec.podManagementPolicy: Invalid value: \"All\": must be 'OrderedReady' or 'Parallel'"],
            ),
        ],
    );
    assert_cases(
        base(),
        daemon_set,
        &[
            (
                json!({"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}}),
                &[
                    "spec.selector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
                ],
            ),
            (
                update(json!({"type": "Slow"})),
                &[
                    "spec.updateStrategy: Unsupported value: {\"Type\":\"Slow\",\"RollingUpdate\":null}: supported values: \"RollingUpdate\", \"OnDelete\"",
                ],
            ),
            (
                json!({"spec": {"selector": null}}),
                &[
                    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                update(
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}),
                ),
                &[
                    "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
                ],
            ),
        ],
    );
}

#[test]
fn statuses_count_right() {
    let old = json!({"status": {"replicas": 2, "readyReplicas": 2, "collisionCount": 3}});
    assert_cases(
        old.clone(),
        |new| (DEPLOYMENT.status)(new, &old),
        &[
            (
                json!({"status": {"readyReplicas": 3}}),
                &["status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas"],
            ),
            (
                json!({"status": {"readyReplicas": 1, "availableReplicas": 2}}),
                &["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"],
            ),
            (
                json!({"status": {"collisionCount": 2}}),
                &["status.collisionCount: Invalid value: 2: cannot be decremented"],
            ),
            (
                json!({"status": {"unavailableReplicas": -1}}),
                &["status.unavailableReplicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ],
    );
}
