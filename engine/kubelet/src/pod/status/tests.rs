use super::*;
use crate::pod::observed::{Backoff, Stage};
use serde_json::json;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1}, "spec": spec}),
    )
    .unwrap()
}

fn status(pod: &Pod, change: impl FnOnce(&mut Observed)) -> serde_json::Value {
    let mut observed = Observed {
        volumes: Stage::Done,
        sandbox: Sandbox::Ready { ip: Some("10.42.0.2".into()) },
        start_time: Some(0),
        ..Observed::from_api(pod)
    };
    change(&mut observed);
    let facts = NodeFacts { host_ip: "192.0.2.1" };
    serde_json::to_value(pod_status(pod, &observed, &facts, &PodStatus::default(), 2000)).unwrap()
}

fn conditions(status: &serde_json::Value) -> String {
    let list = status["conditions"].as_array().unwrap();
    let line = |c: &serde_json::Value| {
        let text = |f: &str| c[f].as_str().unwrap_or("-").to_owned();
        format!("{}={} {}", text("type"), text("status"), text("reason"))
    };
    list.iter().map(line).collect::<Vec<_>>().join(", ")
}

fn run(observed: &mut Observed, name: &str) {
    let c = observed.containers.get_mut(name).unwrap();
    c.state = State::Running { id: "abc".into(), started_at: 1000 };
    (c.started, c.ready, c.created) = (true, true, true);
}

fn exit(observed: &mut Observed, name: &str, code: i32) {
    let c = observed.containers.get_mut(name).unwrap();
    let reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
    c.state =
        State::Exited(Terminated { id: "abc".into(), code, reason, finished_at: 1000, ..Default::default() });
    c.created = true;
}

#[test]
fn a_phase_that_somebody_ended_the_pod_with_stays() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    for phase in ["Failed", "Succeeded"] {
        for ended in [false, true] {
            let status = status(&pod, |observed| {
                run(observed, "a");
                if ended {
                    exit(observed, "a", i32::from(phase == "Succeeded"));
                }
                observed.take_end(&PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() });
            });
            assert_eq!(status["phase"], phase);
        }
    }
}

#[test]
fn a_sidecar_that_fails_beside_a_running_container_leaves_the_pod_initialized() {
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}]);
    let pod = pod(json!({"initContainers": sidecar, "containers": [{"name": "a"}]}));
    for (runs, expected) in
        [(false, "Initialized=False ContainersNotInitialized"), (true, "Initialized=True -")]
    {
        let status = status(&pod, |observed| {
            exit(observed, "s", 2);
            if runs {
                run(observed, "a");
            }
        });
        assert!(conditions(&status).contains(expected), "{runs}: {}", conditions(&status));
    }
}

#[test]
fn a_pod_that_is_being_made_waits_for_its_containers() {
    let pod = pod(json!({"containers": [{"name": "b"}, {"name": "a"}]}));
    let status = status(&pod, |_| {});
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["name"], "a");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(
        conditions(&status),
        "PodReadyToStartContainers=True -, Initialized=True -, Ready=False ContainersNotReady, ContainersReady=False ContainersNotReady, PodScheduled=True -"
    );
    assert_eq!(status["conditions"][2]["message"], "containers with unready status: [a b]");
    assert_eq!(status["podIPs"], json!([{"ip": "10.42.0.2"}]));
}

#[test]
fn a_pod_has_not_failed_while_a_container_runs() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let reason = "DeadlineExceeded";
    let expire = |o: &mut Observed| {
        o.rejection = Some(Rejection { reason: reason.to_owned(), message: "too long".to_owned() });
    };
    let status = |change: &dyn Fn(&mut Observed)| {
        let mut observed = Observed::from_api(&pod);
        change(&mut observed);
        let before = PodStatus { phase: Some("Running".to_owned()), ..PodStatus::default() };
        let status = pod_status(&pod, &observed, &NodeFacts { host_ip: "192.0.2.1" }, &before, 2000);
        (status.phase.unwrap(), status.reason)
    };
    let running = status(&|o| {
        run(o, "a");
        expire(o);
    });
    assert_eq!(running, ("Running".to_owned(), None));
    let ended = status(&|o| {
        exit(o, "a", 137);
        expire(o);
    });
    assert_eq!(ended, ("Failed".to_owned(), Some(reason.to_owned())));
}

#[test]
fn a_running_init_container_is_started_and_not_ready() {
    let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let container = &status(&pod, |o| run(o, "i"))["initContainerStatuses"][0];
    assert_eq!((&container["ready"], &container["started"]), (&json!(false), &json!(true)));
}

#[test]
fn a_running_pod_is_ready() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let status = status(&pod, |o| run(o, "a"));
    assert_eq!(
        (status["phase"].as_str(), status["qosClass"].as_str()),
        (Some("Running"), Some("BestEffort"))
    );
    let container = &status["containerStatuses"][0];
    assert_eq!((&container["ready"], &container["started"]), (&json!(true), &json!(true)));
    assert_eq!(container["containerID"], "containerd://abc");
    assert_eq!(container["lastState"], json!({}));
    assert_eq!(conditions(&status).matches("=True").count(), 5);
}

#[test]
fn readiness_gates_hold_ready_back() {
    let pod = pod(json!({"readinessGates": [{"conditionType": "x/y"}], "containers": [{"name": "a"}]}));
    let status = status(&pod, |o| run(o, "a"));
    assert_eq!(status["conditions"][2]["reason"], "ReadinessGatesNotReady");
    assert_eq!(
        status["conditions"][2]["message"],
        "corresponding condition of pod readiness gate \"x/y\" does not exist."
    );
}

#[test]
fn a_crash_loop_shows_its_back_off() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let status = status(&pod, |o| {
        exit(o, "a", 1);
        o.containers.get_mut("a").unwrap().crash = Backoff::default().next(1000, 1000);
    });
    let container = &status["containerStatuses"][0];
    assert_eq!(status["phase"], "Running");
    assert_eq!(
        container["state"]["waiting"],
        json!({"reason": "CrashLoopBackOff",
        "message": "back-off 10s restarting failed container=a pod=p_ns(u)"})
    );
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 1);
}

#[test]
fn phases_at_the_end_follow_exit_codes_and_policy() {
    for (policy, code, phase, reason) in [
        ("Never", 0, "Succeeded", "PodCompleted"),
        ("Never", 1, "Failed", "PodFailed"),
        ("OnFailure", 0, "Succeeded", "PodCompleted"),
        ("OnFailure", 1, "Running", "ContainersNotReady"),
        ("Always", 0, "Running", "ContainersNotReady"),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let status = status(&pod, |o| exit(o, "a", code));
        assert_eq!(status["phase"], phase, "{policy} {code}");
        assert_eq!(status["conditions"][2]["reason"], reason, "{policy} {code}");
    }
}

#[test]
fn init_containers_keep_a_pod_pending() {
    let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let waiting = status(&pod, |o| run(o, "i"));
    assert_eq!(
        (waiting["phase"].as_str(), &waiting["containerStatuses"][0]["state"]["waiting"]["reason"]),
        (Some("Pending"), &json!("PodInitializing"))
    );
    assert_eq!(waiting["conditions"][1]["message"], "containers with incomplete status: [i]");
    let starting = status(&pod, |o| exit(o, "i", 0));
    assert_eq!(starting["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let done = status(&pod, |o| {
        exit(o, "i", 0);
        run(o, "a");
    });
    assert_eq!(
        (done["phase"].as_str(), &done["initContainerStatuses"][0]["ready"]),
        (Some("Running"), &json!(true))
    );
}

#[test]
fn an_unchanged_pod_has_an_unchanged_status_whoever_scheduled_it() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let scheduled = json!({"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-23T07:00:00Z"}]});
    let before: PodStatus = serde_json::from_value(scheduled).unwrap();
    let observed = Observed::from_api(&pod);
    let facts = NodeFacts { host_ip: "192.0.2.1" };
    let first = pod_status(&pod, &observed, &facts, &before, 2000);
    let second = pod_status(&pod, &observed, &facts, &first, 9000);
    assert_eq!(first, second);
    let of = |s: &PodStatus| s.conditions.clone().unwrap().into_iter().find(|c| c.type_ == "PodScheduled");
    // Theirs, but for the generation that the node has seen.
    let theirs = core::PodCondition { observed_generation: pod.metadata.generation, ..of(&before).unwrap() };
    assert_eq!(of(&first), Some(theirs));
}

#[test]
fn a_patch_names_only_what_changed() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let read = |v: serde_json::Value| serde_json::from_value::<PodStatus>(v).unwrap();
    let before = read(status(&pod, |_| {}));
    let after = read(status(&pod, |o| run(o, "a")));
    assert_eq!(patch("u", &before, &before), None);
    let patch = patch("u", &before, &after).unwrap();
    assert_eq!(patch["metadata"]["uid"], "u");
    let status = patch["status"].as_object().unwrap();
    let mut keys: Vec<_> = status.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["$setElementOrder/conditions", "conditions", "containerStatuses", "phase"]);
    assert_eq!(status["$setElementOrder/conditions"][4], json!({"type": "PodScheduled"}));
    let conditions = status["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2);
    assert!(conditions[0]["reason"].is_null() && conditions[0]["status"] == "True");
}

#[test]
fn what_ended_for_good_is_not_shown_running_again() {
    for (policy, code, shown) in [
        ("Always", 0, "running"),
        ("OnFailure", 0, "terminated"),
        ("OnFailure", 1, "running"),
        ("Never", 0, "terminated"),
    ] {
        let pod = pod(json!({"restartPolicy": policy,
            "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
        let facts = NodeFacts { host_ip: "192.0.2.1" };
        let mut observed = Observed { start_time: Some(0), ..Observed::from_api(&pod) };
        exit(&mut observed, "i", code);
        let ended = pod_status(&pod, &observed, &facts, &PodStatus::default(), 2000);
        run(&mut observed, "i");
        let again = pod_status(&pod, &observed, &facts, &ended, 3000);
        let status = serde_json::to_value(again).unwrap();
        let state = status["initContainerStatuses"][0]["state"].as_object().unwrap();
        assert_eq!(state.keys().collect::<Vec<_>>(), [shown], "{policy} {code}");
    }
}

#[test]
fn durations_are_written_as_go_writes_them() {
    assert_eq!([10_000, 80_000, 300_000].map(duration), ["10s", "1m20s", "5m0s"]);
}

#[test]
fn termination_messages_share_twelve_kibibytes() {
    let names = ["a", "b", "c", "d"];
    let pod = pod(json!({"restartPolicy": "Never", "containers": names.map(|n| json!({"name": n}))}));
    let status = status(&pod, |observed| {
        for name in names {
            exit(observed, name, 1);
            let State::Exited(ended) = &mut observed.containers.get_mut(name).unwrap().state else { return };
            // Three bytes each: none is cut in two.
            ended.message = Some("€".repeat(1365));
        }
    });
    let message = &status["containerStatuses"][3]["state"]["terminated"]["message"];
    assert_eq!(message.as_str().unwrap().len(), 3072);
}
