use super::*;
use plan::{Change, Plan, plan};
use rolling::Limits;
use serde_json::{Value, json};

const NOW: i64 = 1_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn merge(target: &mut Value, extra: Value) {
    match (target, extra) {
        (Value::Object(target), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, extra) => *target = extra,
    }
}

fn deployment(extra: Value) -> Deployment {
    let mut deployment = json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "d", "generation": 2 },
        "spec": {
            "replicas": 10, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "v2" }] } },
        },
    });
    merge(&mut deployment, extra);
    serde_json::from_value(deployment).unwrap()
}

/// `v2 size=3 exists=3 available=2 desired=10 max=13 revision=2 age=5`; the name is the image too.
fn set(line: &str) -> Set {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let words: Vec<(&str, i64)> = words
        .map(|word| word.split_once('=').unwrap())
        .map(|(key, value)| (key, value.parse().unwrap()))
        .collect();
    let number = |key: &str| words.iter().find(|word| word.0 == key).map(|word| word.1);
    let size = number("size").unwrap_or(0);
    let exists = number("exists").unwrap_or(size);
    let available = number("available").unwrap_or(exists);
    let created = Timestamp::from_second(NOW - number("age").unwrap_or(0)).unwrap().to_string();
    let mut annotations = json!({});
    for (word, key) in
        [("desired", sets::DESIRED_REPLICAS), ("max", sets::MAX_REPLICAS), ("revision", sets::REVISION)]
    {
        if let Some(number) = number(word) {
            annotations[key] = number.to_string().into();
        }
    }
    let set = json!({
        "metadata": {
            "name": name, "uid": name, "generation": 1, "creationTimestamp": created, "annotations": annotations,
        },
        "spec": {
            "replicas": size, "selector": {},
            "template": {
                "metadata": { "labels": { "app": "web", "pod-template-hash": name } },
                "spec": { "containers": [{ "name": "c", "image": name }] },
            },
        },
        "status": {
            "replicas": exists, "readyReplicas": available, "availableReplicas": available,
            "observedGeneration": number("seen").unwrap_or(1),
        },
    });
    Set::new(Arc::new(serde_json::from_value(set).unwrap()))
}

fn sets(lines: &[&str]) -> Vec<Set> {
    lines.iter().map(|line| set(line)).collect()
}

/// `v1 3>2, v2 0>1`
fn sizes(plan: &Plan) -> String {
    let size = |change: &Change| change.replicas.map(|(from, to)| format!("{} {from}>{to}", change.name));
    plan.changes.iter().filter_map(size).collect::<Vec<_>>().join(", ")
}

fn progressing(plan: &Plan) -> (String, String) {
    let conditions = plan.status.conditions.as_deref().unwrap();
    let condition = status::find(conditions, status::PROGRESSING).unwrap();
    (condition.reason.clone().unwrap(), condition.message.clone().unwrap())
}

#[test]
fn percentages_round_surge_up_and_unavailability_down() {
    let cases = [
        (10, json!("25%"), json!("25%"), (3, 2)),
        (3, json!("25%"), json!("25%"), (1, 0)),
        (1, json!("25%"), json!("25%"), (1, 0)),
        (4, json!(0), json!("10%"), (0, 1)),
        (2, json!("200%"), json!(5), (4, 2)),
        (0, json!("25%"), json!("25%"), (0, 0)),
    ];
    for (replicas, surge, unavailable, expected) in cases {
        let rolling = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        let spec = json!({ "spec": { "replicas": replicas, "strategy": { "rollingUpdate": rolling } } });
        let limits = Limits::of(&deployment(spec));
        assert_eq!((limits.max_surge, limits.max_unavailable), expected, "{replicas} {rolling}");
    }
}

#[test]
fn a_new_deployment_gets_its_first_replica_set() {
    let plan = plan(&deployment(json!({})), &[], false, now());
    let set = plan.create.as_deref().unwrap();
    let name = set.metadata.name.clone().unwrap();
    let hash = name.strip_prefix("web-").unwrap().to_owned();
    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.replicas, Some(10));
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"], hash);
    let annotations = set.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations[sets::REVISION], "1");
    assert_eq!((&*annotations[sets::DESIRED_REPLICAS], &*annotations[sets::MAX_REPLICAS]), ("10", "13"));
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(
        progressing(&plan),
        ("NewReplicaSetCreated".into(), format!("Created new replica set \"{name}\""))
    );
}

#[test]
fn a_rolling_update_goes_up_to_the_surge_and_down_to_the_minimum() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("up first", &["v1 size=10 age=9", "v2 size=0"], "v2 0>3"),
        ("spare old pods go", &["v1 size=10 age=9", "v2 size=3 available=0"], "v1 10>8"),
        ("nothing while too few are available", &["v1 size=8 age=9", "v2 size=5 available=0"], ""),
        ("then as many as became available", &["v1 size=8 age=9", "v2 size=5 available=3"], "v1 8>5"),
        (
            "broken old pods go first",
            &["v0 size=3 available=0 age=19", "v1 size=7 age=9", "v2 size=3 available=1"],
            "v0 3>0",
        ),
        (
            "an old status does not count twice",
            &["v1 size=8 exists=10 available=10 age=9", "v2 size=5 available=0"],
            "",
        ),
        (
            "nothing comes while an old set may have pods of an earlier size",
            &["v0 size=0 seen=0 age=19", "v1 size=7 age=9", "v2 size=3 available=0"],
            "",
        ),
        ("complete", &["v1 size=0 age=9", "v2 size=10"], ""),
    ];
    for (why, lines, expected) in cases {
        let with_size: Vec<String> = lines.iter().map(|line| format!("{line} desired=10 max=13")).collect();
        let lines: Vec<&str> = with_size.iter().map(String::as_str).collect();
        assert_eq!(sizes(&plan(&deployment(json!({})), &sets(&lines), false, now())), *expected, "{why}");
    }
}

/// Plays a rollout against pods that become available and go at random times, for every small size and limit.
#[test]
fn no_rollout_leaves_its_limits_and_every_one_ends() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut chance = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.is_multiple_of(3)
    };
    for (replicas, surge, unavailable) in (1..6)
        .flat_map(|replicas| (0..3).flat_map(move |surge| (0..3).map(move |down| (replicas, surge, down))))
    {
        let rolling = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        let deployment =
            deployment(json!({ "spec": { "replicas": replicas, "strategy": { "rollingUpdate": rolling } } }));
        let limits = Limits::of(&deployment);
        // (size, available) of v1 and v2; what the sets' statuses say may lag behind.
        let mut truth = [(replicas, replicas), (0, 0)];
        let mut seen = truth;
        for step in 0.. {
            assert!(step < 1000, "{replicas} {rolling} does not end");
            if truth == [(0, 0), (replicas, replicas)] {
                break;
            }
            let line = |name: &str, index: usize| {
                format!(
                    "{name} size={} available={} desired={replicas} max={}",
                    truth[index].0,
                    seen[index].1,
                    limits.max_total()
                )
            };
            let lines = [line("v1", 0) + " age=9", line("v2", 1)];
            for change in plan(&deployment, &sets(&[&lines[0], &lines[1]]), false, now()).changes {
                if let Some((_, size)) = change.replicas {
                    truth[usize::from(change.name == "v2")].0 = size;
                }
            }
            for (size, available) in &mut truth {
                *available = (*available).min(*size);
                if *available < *size && chance() {
                    *available += 1;
                }
            }
            assert!(truth[0].1 + truth[1].1 >= limits.min_available(), "{replicas} {rolling}: {truth:?}");
            assert!(truth[0].0 + truth[1].0 <= limits.max_total(), "{replicas} {rolling}: {truth:?}");
            if chance() {
                seen = truth;
            }
        }
    }
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let recreate = deployment(
        json!({ "spec": { "replicas": 2, "strategy": { "type": "Recreate", "rollingUpdate": null } } }),
    );
    let pass = |lines: &[&str], running| plan(&recreate, &sets(lines), running, now());
    assert_eq!(sizes(&pass(&["v1 size=2 age=9"], true)), "v1 2>0");
    assert!(pass(&["v1 size=0 age=9"], true).create.is_none());
    assert_eq!(pass(&["v1 size=0 age=9"], false).create.unwrap().spec.unwrap().replicas, Some(2));
    assert_eq!(sizes(&pass(&["v1 size=0 age=9", "v2 size=0"], false)), "v2 0>2");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let deployment = deployment(json!({ "spec": { "replicas": 15 } }));
    let lines = ["v1 size=8 desired=10 max=13 age=9", "v2 size=5 available=0 desired=10 max=13"];
    let plan = plan(&deployment, &sets(&lines), false, now());
    assert_eq!(sizes(&plan), "v1 8>12, v2 5>7");
    assert_eq!(plan.changes[0].annotations[sets::DESIRED_REPLICAS], "15");
    assert_eq!(plan.changes[0].annotations[sets::MAX_REPLICAS], "19");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let paused = deployment(json!({ "spec": { "paused": true, "replicas": 5 } }));
    let plan = plan(&paused, &sets(&["v1 size=3 desired=3 max=4 age=9"]), false, now());
    assert!(plan.create.is_none());
    assert_eq!(sizes(&plan), "v1 3>5");
    assert_eq!(progressing(&plan), ("DeploymentPaused".into(), "Deployment is paused".into()));
    assert_eq!(plan.requeue, None);
}

#[test]
fn rolling_back_gives_the_old_set_a_new_revision_and_keeps_its_history() {
    let sets = sets(&["v2 size=0 revision=1 age=9", "v3 size=10 desired=10 max=13 revision=2"]);
    let plan = plan(&deployment(json!({})), &sets, false, now());
    assert!(plan.create.is_none());
    assert_eq!(plan.revision.as_deref(), Some("3"));
    let annotations = &plan.changes[0].annotations;
    assert_eq!((&*annotations[sets::REVISION], &*annotations[sets::REVISION_HISTORY]), ("3", "1"));
    assert_eq!(sizes(&plan), "v2 0>3");
}

#[test]
fn conditions_tell_the_story_of_a_rollout() {
    let condition = |reason: &str, ago: i64| {
        let at = Timestamp::from_second(NOW - ago).unwrap().to_string();
        json!({ "status": { "conditions": [
            { "type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": at, "lastTransitionTime": at },
        ]}})
    };
    let cases: &[(&str, Value, &[&str], &str)] = &[
        ("progress", condition("NewReplicaSetCreated", 5), &["v2 size=10 available=4"], "ReplicaSetUpdated"),
        ("end", condition("ReplicaSetUpdated", 5), &["v2 size=10"], "NewReplicaSetAvailable"),
        (
            "deadline",
            {
                let mut late = condition("ReplicaSetUpdated", 601);
                merge(
                    &mut late,
                    json!({ "status": { "replicas": 10, "updatedReplicas": 10, "readyReplicas": 4, "availableReplicas": 4 } }),
                );
                late
            },
            &["v2 size=10 available=4"],
            "ProgressDeadlineExceeded",
        ),
    ];
    for (why, status, lines, expected) in cases {
        let line = format!("{} desired=10 max=13", lines[0]);
        let plan = plan(&deployment(status.clone()), &sets(&[&line]), false, now());
        assert_eq!(progressing(&plan).0, *expected, "{why}");
    }
}

#[test]
fn a_complete_rollout_reports_its_counts() {
    let plan = plan(&deployment(json!({})), &sets(&["v2 size=10 desired=10 max=13"]), false, now());
    let status = &plan.status;
    assert_eq!(
        (status.replicas, status.updated_replicas, status.available_replicas, status.unavailable_replicas),
        (Some(10), Some(10), Some(10), None)
    );
    let available = status::find(status.conditions.as_deref().unwrap(), "Available").unwrap();
    assert_eq!(available.reason.as_deref(), Some("MinimumReplicasAvailable"));
    assert_eq!(progressing(&plan).1, "ReplicaSet \"v2\" has successfully progressed.");
}

#[test]
fn a_set_of_no_pods_is_named_by_the_pass_that_makes_it() {
    let plan = plan(&deployment(json!({ "spec": { "replicas": 0 } })), &[], false, now());
    let name = plan.create.as_ref().and_then(|set| set.metadata.name.clone()).unwrap();
    assert_eq!(progressing(&plan).1, format!("ReplicaSet \"{name}\" has successfully progressed."));
}

#[test]
fn old_sets_beyond_the_history_limit_go_the_oldest_revision_first() {
    let deployment = deployment(json!({ "spec": { "revisionHistoryLimit": 1 } }));
    let lines = [
        "a revision=3 age=9",
        "b revision=1 age=8",
        "c revision=2 age=7",
        "v2 size=10 desired=10 max=13 revision=4",
    ];
    assert_eq!(plan(&deployment, &sets(&lines), false, now()).delete, ["b", "c"]);
}

#[test]
fn hashes_are_stable_and_differ_by_template_and_collision() {
    let template = deployment(json!({})).spec.unwrap().template;
    let hash = sets::template_hash(&template, None);
    assert_eq!(hash, sets::template_hash(&template.clone(), None));
    assert_ne!(hash, sets::template_hash(&template, Some(1)));
    assert!(hash.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)), "{hash}");
}
