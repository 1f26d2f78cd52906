//! `status` of a pod, exactly as `kubectl describe` shows it on a stock node.
//!
//! Invariant: pure; a function of the pod, what is observed, and the time.
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodCondition, PodSpec, PodStatus};

use super::observed::{Container, Observed, Sandbox, State, Terminated};
use super::plan::{has_finished, init_restart_wanted, restart_wanted};
use crate::clock::{Millis, to_time};
use crate::resources::{is_sidecar, qos_class};
use crate::security::pod_full_name;

pub struct NodeFacts<'a> {
    pub host_ip: &'a str,
}

fn terminated(ended: &Terminated) -> core::ContainerState {
    core::ContainerState {
        terminated: Some(core::ContainerStateTerminated {
            container_id: Some(format!("containerd://{}", ended.id)),
            exit_code: ended.code,
            signal: ended.signal.filter(|s| *s != 0),
            reason: Some(ended.reason.clone()),
            message: ended.message.clone().filter(|m| !m.is_empty()),
            started_at: Some(to_time(ended.started_at)),
            finished_at: Some(to_time(ended.finished_at)),
        }),
        ..Default::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> core::ContainerState {
    core::ContainerState {
        waiting: Some(core::ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..Default::default()
    }
}

struct Writer<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    observed: &'a Observed,
    now: Millis,
    finished: bool,
}

impl Writer<'_> {
    /// What a container shows that ended and will be started again after its back-off.
    fn crash_loop(
        &self,
        spec: &ContainerSpec,
        seen: &Container,
        ended: &Terminated,
        init: bool,
    ) -> Option<String> {
        let again = if init {
            init_restart_wanted(self.spec, spec, ended)
        } else {
            restart_wanted(self.spec, spec, ended)
        };
        let until = seen.crash.until(ended.finished_at)?;
        (again && !self.finished && until > self.now && seen.busy.is_none()).then(|| {
            format!(
                "back-off {} restarting failed container={} pod={}",
                duration(seen.crash.delay_ms),
                spec.name,
                pod_full_name(self.pod)
            )
        })
    }

    fn container(&self, spec: &ContainerSpec, init: bool, default_reason: &str) -> core::ContainerStatus {
        let empty = Container::default();
        let seen = self.observed.containers.get(&spec.name).unwrap_or(&empty);
        let mut last = seen.last.as_ref().map(terminated);
        let mut id = seen.last.as_ref().map(|l| l.id.clone());
        let state = match &seen.state {
            State::Waiting { reason, message, .. } => {
                waiting(reason.as_deref().unwrap_or(default_reason), message.clone())
            }
            State::Running { id: own, started_at } => {
                id = Some(own.clone());
                core::ContainerState {
                    running: Some(core::ContainerStateRunning { started_at: Some(to_time(*started_at)) }),
                    ..Default::default()
                }
            }
            State::Exited(ended) => {
                id = Some(ended.id.clone());
                match self.crash_loop(spec, seen, ended, init) {
                    Some(message) => {
                        last = Some(terminated(ended));
                        waiting("CrashLoopBackOff", Some(message))
                    }
                    None => terminated(ended),
                }
            }
        };
        let running = seen.is_running();
        let completed = init && !is_sidecar(spec) && matches!(&seen.state, State::Exited(e) if e.code == 0);
        let started = running && seen.started;
        let ready = if init && !is_sidecar(spec) { completed } else { started && seen.ready };
        core::ContainerStatus {
            name: spec.name.clone(),
            state: Some(state),
            last_state: Some(last.unwrap_or_default()),
            ready,
            restart_count: seen.restart_count,
            image: seen.image.clone().or_else(|| spec.image.clone()).unwrap_or_default(),
            image_id: seen.image_id.clone().unwrap_or_default(),
            container_id: id.filter(|i| !i.is_empty()).map(|id| format!("containerd://{id}")),
            started: Some(started && (!init || is_sidecar(spec))),
            allocated_resources: spec
                .resources
                .as_ref()
                .and_then(|r| r.requests.clone())
                .filter(|r| !r.is_empty()),
            resources: running.then(|| core::ResourceRequirements {
                requests: spec.resources.as_ref().and_then(|r| r.requests.clone()),
                limits: spec.resources.as_ref().and_then(|r| r.limits.clone()),
                claims: None,
            }),
            volume_mounts: Some(volume_mounts(spec)).filter(|m| !m.is_empty()),
            user: seen.user.as_ref().map(|(uid, gid, groups)| core::ContainerUser {
                linux: Some(core::LinuxContainerUser {
                    uid: i64::from(*uid),
                    gid: i64::from(*gid),
                    supplemental_groups: Some(groups.iter().map(|g| i64::from(*g)).collect()),
                }),
            }),
            stop_signal: seen
                .stop_signal
                .clone()
                .filter(|_| spec.lifecycle.as_ref().is_some_and(|l| l.stop_signal.is_some())),
            ..Default::default()
        }
    }

    fn initialized(&self) -> bool {
        self.incomplete().is_empty()
    }

    fn incomplete(&self) -> Vec<&str> {
        let init = self.spec.init_containers.iter().flatten();
        init.filter(|c| {
            let Some(seen) = self.observed.containers.get(&c.name) else { return true };
            if is_sidecar(c) {
                let serves = seen.is_running() && seen.started;
                !serves && !self.finished
            } else {
                !matches!(&seen.state, State::Exited(e) if e.code == 0)
            }
        })
        .map(|c| c.name.as_str())
        .collect()
    }

    fn phase(&self, init: &[core::ContainerStatus], containers: &[core::ContainerStatus]) -> &'static str {
        if let Some(_rejection) = &self.observed.rejection {
            return "Failed";
        }
        let failed_before = |c: &core::ContainerStatus| {
            let of = |s: &Option<core::ContainerState>| {
                s.as_ref().and_then(|s| s.terminated.as_ref().map(|t| t.exit_code))
            };
            of(&c.state).or(of(&c.last_state))
        };
        let regular =
            |name: &str| self.spec.init_containers.iter().flatten().any(|c| c.name == name && !is_sidecar(c));
        let never = self.spec.restart_policy.as_deref() == Some("Never");
        let init_failed = init.iter().filter(|c| regular(&c.name)).any(|c| {
            c.state.as_ref().is_some_and(|s| s.terminated.as_ref().is_some_and(|t| t.exit_code != 0))
        });
        if init_failed && never {
            return "Failed";
        }
        if !self.finished && init.iter().any(|c| regular(&c.name) && !c.ready) {
            return "Pending";
        }
        let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
        for status in containers {
            let state = status.state.clone().unwrap_or_default();
            if state.running.is_some() {
                running += 1;
            } else if let Some(code) = failed_before(status) {
                stopped += 1;
                succeeded += usize::from(code == 0 && state.terminated.is_some());
            } else {
                waiting += 1;
            }
        }
        let sidecar_pending = init.iter().any(|c| !regular(&c.name) && c.started != Some(true));
        if self.finished && running == 0 {
            // Pods never run again once this is written.
            let sidecar_runs = init.iter().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
            return match (sidecar_runs, waiting == 0 && stopped == succeeded) {
                (true, _) => "Running",
                (false, true) => "Succeeded",
                (false, false) => "Failed",
            };
        }
        if waiting > 0 || sidecar_pending && running == 0 && stopped == 0 { "Pending" } else { "Running" }
    }

    fn unready(&self, init: &[core::ContainerStatus], containers: &[core::ContainerStatus]) -> Vec<String> {
        let sidecars = init.iter().filter(|c| {
            self.spec.init_containers.iter().flatten().any(|s| s.name == c.name && is_sidecar(s))
        });
        sidecars.chain(containers).filter(|c| !c.ready).map(|c| c.name.clone()).collect()
    }

    fn gates(&self) -> Vec<String> {
        let conditions = self.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let gates = self.spec.readiness_gates.iter().flatten().map(|g| g.condition_type.as_str());
        gates
            .filter_map(|gate| match conditions.iter().find(|c| c.type_ == gate) {
                None => {
                    Some(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist."))
                }
                Some(c) if c.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
                    c.status
                )),
                Some(_) => None,
            })
            .collect()
    }

    fn conditions(
        &self,
        phase: &str,
        init: &[core::ContainerStatus],
        containers: &[core::ContainerStatus],
    ) -> Vec<PodCondition> {
        let condition = |type_: &str, holds: bool, reason: &str, message: String| PodCondition {
            type_: type_.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()).filter(|r| !r.is_empty()),
            message: Some(message).filter(|m| !m.is_empty()),
            observed_generation: self.pod.metadata.generation,
            ..Default::default()
        };
        let sandbox = matches!(self.observed.sandbox, Sandbox::Ready { .. });
        let incomplete = self.incomplete();
        let initialized = match (phase, self.initialized()) {
            ("Succeeded", _) => condition("Initialized", true, "PodCompleted", String::new()),
            (_, true) => condition("Initialized", true, "", String::new()),
            (_, false) => condition(
                "Initialized",
                false,
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{}]", incomplete.join(" ")),
            ),
        };
        let unready = self.unready(init, containers);
        let not_ready = format!("containers with unready status: [{}]", unready.join(" "));
        let containers_ready = |type_: &str| match phase {
            "Succeeded" => condition(type_, false, "PodCompleted", String::new()),
            "Failed" => condition(type_, false, "PodFailed", String::new()),
            _ if !unready.is_empty() => condition(type_, false, "ContainersNotReady", not_ready.clone()),
            _ => condition(type_, true, "", String::new()),
        };
        let gates = self.gates();
        let mut ready = containers_ready("Ready");
        if ready.status == "True" && !gates.is_empty() {
            ready = condition("Ready", false, "ReadinessGatesNotReady", gates.join(", "));
        }
        vec![
            condition("PodReadyToStartContainers", sandbox, "", String::new()),
            initialized,
            ready,
            containers_ready("ContainersReady"),
            condition("PodScheduled", true, "", String::new()),
        ]
    }
}

fn volume_mounts(spec: &ContainerSpec) -> Vec<core::VolumeMountStatus> {
    let mounts = spec.volume_mounts.iter().flatten();
    mounts
        .map(|m| core::VolumeMountStatus {
            name: m.name.clone(),
            mount_path: m.mount_path.clone(),
            read_only: m.read_only.filter(|r| *r),
            recursive_read_only: m.read_only.filter(|r| *r).map(|_| "Disabled".to_owned()),
            ..Default::default()
        })
        .collect()
}

/// As Go writes durations: `10s`, `1m20s`, `5m0s`.
pub fn duration(ms: Millis) -> String {
    let seconds = ms / 1000;
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// Conditions keep the time of their last change.
fn keep_transition_times(conditions: &mut [PodCondition], before: &[PodCondition], now: Millis) {
    for condition in conditions {
        let old = before.iter().find(|c| c.type_ == condition.type_);
        condition.last_transition_time = match old {
            Some(old) if old.status == condition.status => old.last_transition_time.clone(),
            _ => None,
        }
        .or_else(|| Some(to_time(now)));
    }
}

/// `before` is the status written last.
pub fn pod_status(
    pod: &Pod,
    observed: &Observed,
    facts: &NodeFacts,
    before: &PodStatus,
    now: Millis,
) -> PodStatus {
    let Some(spec) = &pod.spec else { return before.clone() };
    let finished = has_finished(spec, observed);
    let writer = Writer { pod, spec, observed, now, finished };
    let reason = if writer.initialized() { "ContainerCreating" } else { "PodInitializing" };
    let init: Vec<_> =
        spec.init_containers.iter().flatten().map(|c| writer.container(c, true, "PodInitializing")).collect();
    let mut containers: Vec<_> = spec.containers.iter().map(|c| writer.container(c, false, reason)).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let phase = writer.phase(&init, &containers);
    let mut conditions = writer.conditions(phase, &init, &containers);
    let old = before.conditions.as_deref().unwrap_or_default();
    keep_transition_times(&mut conditions, old, now);
    let own: Vec<&str> = OWN_CONDITIONS.to_vec();
    // The scheduler writes PodScheduled; others write theirs.
    let scheduled = old.iter().find(|c| c.type_ == "PodScheduled" && c.status == "True");
    if let (Some(own), Some(theirs)) = (conditions.iter_mut().find(|c| c.type_ == "PodScheduled"), scheduled)
    {
        own.clone_from(theirs);
    }
    conditions.extend(old.iter().filter(|c| !own.contains(&c.type_.as_str())).cloned());
    let host_network = spec.host_network == Some(true);
    let ip = match &observed.sandbox {
        Sandbox::Ready { ip: None } if host_network => Some(facts.host_ip.to_owned()),
        Sandbox::Ready { ip } => ip.clone(),
        _ => observed.last_ip.clone(),
    };
    let rejected_early = observed.rejection.is_some() && observed.containers.values().all(|c| !c.created);
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: observed.rejection.as_ref().map(|r| r.reason.clone()),
        message: observed.rejection.as_ref().map(|r| r.message.clone()),
        conditions: Some(conditions),
        host_ip: Some(facts.host_ip.to_owned()),
        host_ips: Some(vec![core::HostIP { ip: facts.host_ip.to_owned() }]),
        pod_ip: ip.clone(),
        pod_ips: ip.map(|ip| vec![core::PodIP { ip }]),
        start_time: observed.start_time.map(to_time),
        qos_class: Some(qos_class(spec).as_str().to_owned()),
        container_statuses: Some(containers).filter(|_| !rejected_early),
        init_container_statuses: Some(init).filter(|i| !i.is_empty() && !rejected_early),
        observed_generation: pod.metadata.generation,
        ephemeral_container_statuses: before.ephemeral_container_statuses.clone(),
        nominated_node_name: before.nominated_node_name.clone(),
        ..Default::default()
    }
}

/// The conditions that this node writes.
pub const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// A strategic merge patch from one status to another; `None` when they are equal.
pub fn patch(uid: &str, before: &PodStatus, after: &PodStatus) -> Option<serde_json::Value> {
    use serde_json::{Map, Value, json};
    let object = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, new) = (object(before), object(after));
    let mut changed = Map::new();
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        changed.insert(key.clone(), Value::Null);
    }
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        match (key.as_str(), value) {
            ("conditions", Value::Array(list)) => {
                let list = merge_list(old.get(key), list, "type", true);
                if !list.is_empty() {
                    changed.insert(key.clone(), Value::Array(list));
                }
            }
            ("podIPs" | "hostIPs", Value::Array(list)) => {
                let mut list = merge_list(old.get(key), list, "ip", false);
                let gone = old.get(key).and_then(Value::as_array).into_iter().flatten();
                let kept = value.as_array().cloned().unwrap_or_default();
                list.extend(
                    gone.filter(|o| !kept.contains(o)).map(|o| json!({"$patch": "delete", "ip": o["ip"]})),
                );
                changed.insert(key.clone(), Value::Array(list));
            }
            _ => {
                changed.insert(key.clone(), value.clone());
            }
        }
    }
    (!changed.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changed}))
}

/// The entries that changed. A merge keeps fields that are not named, so those that went away are named as null.
fn merge_list(
    old: Option<&serde_json::Value>,
    new: &[serde_json::Value],
    key: &str,
    nulls: bool,
) -> Vec<serde_json::Value> {
    let old = old.and_then(|o| o.as_array()).map(Vec::as_slice).unwrap_or_default();
    let mut out = Vec::new();
    for entry in new {
        let before = old.iter().find(|o| o[key] == entry[key]);
        if before == Some(entry) {
            continue;
        }
        let mut entry = entry.clone();
        if let (true, Some(fields), Some(before)) =
            (nulls, entry.as_object_mut(), before.and_then(|b| b.as_object()))
        {
            for name in before.keys() {
                fields.entry(name.clone()).or_insert(serde_json::Value::Null);
            }
        }
        out.push(entry);
    }
    out
}

#[cfg(test)]
mod tests {
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
        c.state = State::Exited(Terminated {
            id: "abc".into(),
            code,
            reason,
            finished_at: 1000,
            ..Default::default()
        });
        c.created = true;
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
        let of =
            |s: &PodStatus| s.conditions.clone().unwrap().into_iter().find(|c| c.type_ == "PodScheduled");
        assert_eq!(of(&first), of(&before));
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
        assert_eq!(keys, ["conditions", "containerStatuses", "phase"]);
        let conditions = status["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert!(conditions[0]["reason"].is_null() && conditions[0]["status"] == "True");
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        assert_eq!([10_000, 80_000, 300_000].map(duration), ["10s", "1m20s", "5m0s"]);
    }
}
