use super::*;
use plan::{BURST_REPLICAS, Plan, plan, slow_start};
use serde_json::{Value, json};

const NOW: i64 = 1_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// `web-a ready node=n1 ready-for=10 restarts=2 cost=5 age=100`
fn pod(line: &str) -> Arc<Pod> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let words: Vec<&str> = words.collect();
    let number = |key: &str| {
        words
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.parse::<i64>().unwrap())
    };
    let time = |ago: i64| Timestamp::from_second(NOW - ago).unwrap().to_string();
    let has = |word: &str| words.contains(&word);
    let node: Value = words.iter().find_map(|word| word.strip_prefix("node=")).unwrap_or("n1").into();
    let ready = json!({
        "type": "Ready", "status": if has("ready") { "True" } else { "False" },
        "lastTransitionTime": time(number("ready-for").unwrap_or(100)),
    });
    let mut pod = json!({
        "metadata": { "name": name, "uid": name, "creationTimestamp": time(number("age").unwrap_or(1000)) },
        "spec": { "containers": [], "nodeName": node },
        "status": {
            "phase": if has("pending") { "Pending" } else { "Running" },
            "conditions": [ready],
            "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "i", "ready": true, "restartCount": number("restarts").unwrap_or(0),
            }],
        },
    });
    if has("unassigned") {
        pod["spec"]["nodeName"] = Value::Null;
    }
    if let Some(cost) = number("cost") {
        pod["metadata"]["annotations"] =
            json!({ "controller.kubernetes.io/pod-deletion-cost": cost.to_string() });
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn pods(lines: &[&str]) -> Vec<Arc<Pod>> {
    lines.iter().map(|line| pod(line)).collect()
}

fn deleted(desired: usize, lines: &[&str]) -> Vec<String> {
    let related = [("n1".to_owned(), 1), ("n2".to_owned(), 2)].into();
    match plan(desired, &pods(lines), &related, now()) {
        Plan::Delete { pods } => pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_missing_pods_are_created_at_most_a_burst_at_a_time() {
    let none = HashMap::new();
    assert_eq!(plan(3, &pods(&["a", "b", "c"]), &none, now()), Plan::Nothing);
    assert_eq!(plan(3, &pods(&["a"]), &none, now()), Plan::Create { count: 2 });
    assert_eq!(plan(900, &[], &none, now()), Plan::Create { count: BURST_REPLICAS });
}

#[test]
fn scale_down_takes_the_least_useful_pods_first() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("unassigned", &["a ready", "b pending unassigned", "c pending"], "b"),
        ("pending", &["a ready", "b pending", "c"], "b"),
        ("not ready", &["a ready", "b", "c ready"], "b"),
        ("cheap", &["a ready", "b ready cost=-5", "c ready cost=5"], "b"),
        ("doubled up", &["a ready node=n1", "b ready node=n2"], "b"),
        ("ready for a shorter time", &["a ready ready-for=900", "b ready ready-for=10"], "b"),
        ("restarted", &["a ready", "b ready restarts=3", "c ready restarts=1"], "b"),
        ("younger", &["a ready age=900", "b ready age=100"], "b"),
    ];
    for (why, lines, expected) in cases {
        assert_eq!(deleted(lines.len() - 1, lines), [*expected], "{why}");
    }
}

#[test]
fn slow_start_doubles_its_batches() {
    assert_eq!(slow_start(10).collect::<Vec<_>>(), [1, 2, 4, 3]);
    assert_eq!(slow_start(0).count(), 0);
}

fn set(extra: Value) -> ReplicaSet {
    let mut set = json!({
        "metadata": { "name": "web", "generation": 4 },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } } },
        },
    });
    if let Value::Object(extra) = extra {
        extra.into_iter().for_each(|(key, value)| set["spec"][key] = value);
    }
    serde_json::from_value(set).unwrap()
}

#[test]
fn a_pod_is_available_after_it_was_ready_for_min_ready_seconds() {
    let set = set(json!({ "minReadySeconds": 30 }));
    let owned = pods(&["a ready ready-for=40", "b ready ready-for=10", "c"]);
    let status = status::status(&set, &owned, 1, None, now());
    assert_eq!(
        (status.replicas, status.ready_replicas, status.available_replicas, status.terminating_replicas),
        (3, Some(2), Some(1), Some(1))
    );
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(status::next_available(&set, &owned, now()), Some(Duration::from_secs(20)));
}

#[test]
fn a_failure_is_a_condition_until_a_pass_goes_well() {
    let mut set = set(json!({}));
    let failure = Failure { reason: "FailedCreate", message: "quota".to_owned() };
    let failed = status::status(&set, &[], 0, Some(&failure), now());
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
    set.status = Some(failed);
    assert_eq!(status::status(&set, &[], 0, None, now()).conditions, None);
}
