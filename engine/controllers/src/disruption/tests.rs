use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use serde_json::{Value, json};

use super::{plan, stale};

const NOW: &str = "2026-01-01T00:10:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let object = json!({ "metadata": { "name": "b", "generation": 2 }, "spec": spec, "status": status });
    serde_json::from_value(object).unwrap()
}

/// `a ready`, `b pending`, `c going`: ready, but being deleted.
fn pods(lines: &str) -> Vec<Arc<Pod>> {
    let pod = |line: &str| {
        let (name, state) = line.split_once(' ').unwrap();
        let ready = if state == "pending" { "False" } else { "True" };
        let going = (state == "going").then_some(NOW);
        let object = json!({
            "metadata": { "name": name, "deletionTimestamp": going },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    };
    lines.split(", ").filter(|line| !line.is_empty()).map(pod).collect()
}

#[test]
fn budgets_allow_what_is_healthy_beyond_what_is_wanted() {
    let three = "a ready, b ready, c ready";
    for (spec, lines, expected, (desired, healthy, allowed)) in [
        (json!({ "minAvailable": 2 }), three, 3, (2, 3, 1)),
        (json!({ "minAvailable": 2 }), "a ready, b pending, c going", 3, (2, 1, 0)),
        (json!({ "minAvailable": "50%" }), three, 3, (2, 3, 1)),
        (json!({ "minAvailable": "0%" }), three, 3, (0, 3, 3)),
        (json!({ "maxUnavailable": 1 }), three, 3, (2, 3, 1)),
        (json!({ "maxUnavailable": "34%" }), three, 3, (1, 3, 2)),
        (json!({ "maxUnavailable": 5 }), three, 3, (0, 3, 3)),
        (json!({ "maxUnavailable": 1 }), three, 5, (4, 3, 0)),
        (json!({ "maxUnavailable": 1 }), "", 0, (0, 0, 0)),
        (json!({}), three, 3, (0, 3, 3)),
    ] {
        let status = plan::status(&budget(spec.clone(), json!(null)), &pods(lines), expected, now());
        let found = (status.desired_healthy, status.current_healthy, status.disruptions_allowed);
        assert_eq!(found, (Some(desired), Some(healthy), Some(allowed)), "{spec} {lines}");
        let condition = &status.conditions.unwrap()[0];
        let wanted = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), wanted);
        assert_eq!(status.observed_generation, Some(2));
    }
}

#[test]
fn an_evicted_pod_counts_no_more_until_its_time_is_over() {
    let status = json!({
        "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        "disruptedPods": { "a": "2026-01-01T00:09:00Z", "b": "2026-01-01T00:07:00Z", "gone": "2026-01-01T00:09:59Z" },
    });
    let status =
        plan::status(&budget(json!({ "minAvailable": 1 }), status), &pods("a ready, b ready"), 2, now());
    assert_eq!(status.disrupted_pods.as_ref().unwrap().keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!((status.current_healthy, status.disruptions_allowed), (Some(1), Some(0)));
    assert_eq!(plan::next_expiry(&status, now()), Some(std::time::Duration::from_secs(60)));
}

#[test]
fn a_pass_that_fails_allows_nothing() {
    let status =
        json!({ "currentHealthy": 3, "desiredHealthy": 1, "disruptionsAllowed": 2, "expectedPods": 3 });
    let status = plan::failed(&budget(json!({ "maxUnavailable": 1 }), status), "why", now());
    let condition = &status.conditions.unwrap()[0];
    assert_eq!((status.disruptions_allowed, status.current_healthy), (Some(0), Some(3)));
    assert_eq!((condition.reason.as_str(), condition.message.as_str()), ("SyncFailed", "why"));
}

#[test]
fn a_target_that_stays_is_a_target_no_more_after_two_minutes() {
    let pod = |since: &str, state: Value| -> Pod {
        let condition = json!({ "type": "DisruptionTarget", "status": "True", "lastTransitionTime": since });
        let mut pod = json!({ "metadata": {}, "status": { "conditions": [condition] } });
        pod["metadata"] = state;
        serde_json::from_value(pod).unwrap()
    };
    for (since, state, left) in [
        ("2026-01-01T00:09:00Z", json!({}), Some(60)),
        ("2026-01-01T00:00:00Z", json!({}), Some(0)),
        ("2026-01-01T00:00:00Z", json!({ "deletionTimestamp": NOW }), None),
    ] {
        let found = stale::time_left(&pod(since, state), now());
        assert_eq!(found.map(|left| left.as_secs()), left, "{since}");
    }
}
