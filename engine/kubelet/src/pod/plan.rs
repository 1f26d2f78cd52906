//! What a pod's worker must do next. No clock, no I/O: equal input gives an equal plan.
//!
//! Invariant: init containers run one after another before the others, which start one after another; a sidecar
//!            outlives the containers it serves;
//!            nothing of a pod is removed while one of its containers runs.
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodSpec};

use super::observed::{Busy, Container, Observed, Sandbox, Stage, State, Terminated};
use crate::clock::Millis;
use crate::resources::is_sidecar;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    MountVolumes,
    RefreshVolumes,
    CreateSandbox,
    StartContainer {
        name: String,
    },
    StopContainer {
        name: String,
    },
    /// Those that a stopping sidecar outlives have ended: it may be asked to end.
    LetEnd {
        name: String,
    },
    /// Post the event `BackOff` of a container that waits to be restarted.
    NoteBackOff {
        name: String,
    },
    /// The pod ran longer than `activeDeadlineSeconds`.
    Expire,
    /// Remove sandbox, network and volumes. Logs stay.
    TearDown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When to plan again although nothing happened.
    pub wake_at: Option<Millis>,
}

impl Plan {
    fn wake(&mut self, at: Millis) {
        self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
    }
}

/// Whether a container that ended is started again. Its own policy and rules win over the pod's policy.
pub fn restart_wanted(spec: &PodSpec, container: &ContainerSpec, ended: &Terminated) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        if let Some(codes) = &rule.exit_codes {
            let listed = codes.values.iter().flatten().any(|v| *v == ended.code);
            if listed == (codes.operator == "In") {
                return rule.action == "Restart";
            }
        }
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always");
    match policy {
        "Never" => false,
        "OnFailure" => ended.code != 0,
        _ => true,
    }
}

/// Init containers only fail or succeed: `Always` of the pod means that a failed one is tried again.
pub fn init_restart_wanted(spec: &PodSpec, container: &ContainerSpec, ended: &Terminated) -> bool {
    is_sidecar(container) || ended.code != 0 && restart_wanted(spec, container, ended)
}

fn view<'a>(observed: &'a Observed, name: &str) -> Option<&'a Container> {
    observed.containers.get(name)
}

fn init_containers(spec: &PodSpec) -> impl DoubleEndedIterator<Item = &ContainerSpec> {
    spec.init_containers.iter().flatten()
}

/// An init container that failed for good: the pod has failed.
fn initialisation_failed(spec: &PodSpec, observed: &Observed) -> bool {
    init_containers(spec).filter(|c| !is_sidecar(c)).any(|c| {
        matches!(view(observed, &c.name).map(|v| &v.state),
            Some(State::Exited(ended)) if ended.code != 0 && !init_restart_wanted(spec, c, ended))
    })
}

/// All containers that decide the pod's end have ended, and none is started again.
pub fn has_finished(spec: &PodSpec, observed: &Observed) -> bool {
    if observed.finished || observed.rejection.is_some() || initialisation_failed(spec, observed) {
        return true;
    }
    spec.containers.iter().all(|c| {
        matches!(view(observed, &c.name).map(|v| &v.state),
            Some(State::Exited(ended)) if !restart_wanted(spec, c, ended))
    })
}

/// A container that may be started when its back-off allows it.
fn start(plan: &mut Plan, name: &str, container: &Container, now: Millis) {
    if container.busy.is_some() {
        return;
    }
    let from = match &container.state {
        State::Running { .. } => return,
        State::Waiting { retry_at, .. } => *retry_at,
        State::Exited(ended) => match container.crash.until(ended.finished_at) {
            Some(until) => {
                if until > now && !container.backoff_noted {
                    plan.actions.push(Action::NoteBackOff { name: name.to_owned() });
                }
                until
            }
            None => 0,
        },
    };
    if from > now {
        plan.wake(from);
    } else {
        plan.actions.push(Action::StartContainer { name: name.to_owned() });
    }
}

/// Starts what initialisation needs next. True when the other containers may start.
fn initialise(plan: &mut Plan, spec: &PodSpec, observed: &Observed, now: Millis) -> bool {
    let begun = spec
        .containers
        .iter()
        .any(|c| view(observed, &c.name).is_some_and(|v| v.is_running() || v.busy.is_some()));
    for container in init_containers(spec) {
        let Some(seen) = view(observed, &container.name) else { continue };
        if is_sidecar(container) {
            start(plan, &container.name, seen, now);
            let serves = seen.is_running() && seen.started;
            if !begun && !serves {
                return false;
            }
            continue;
        }
        match &seen.state {
            State::Exited(ended) if ended.code == 0 => {}
            State::Running { .. } => return false,
            _ => {
                start(plan, &container.name, seen, now);
                return false;
            }
        }
    }
    true
}

/// Stops all containers; the sidecars are asked to end one by one from the last, when all others have ended.
fn stop_containers(plan: &mut Plan, spec: &PodSpec, observed: &Observed) {
    let mut waiting = false;
    let plain = spec.containers.iter().chain(init_containers(spec).filter(|c| !is_sidecar(c)));
    for container in plain {
        let Some(seen) = view(observed, &container.name) else { continue };
        waiting |= seen.is_running() || seen.busy.is_some();
        if seen.is_running() && seen.busy.is_none() {
            plan.actions.push(Action::StopContainer { name: container.name.clone() });
        }
    }
    for container in init_containers(spec).rev().filter(|c| is_sidecar(c)) {
        let Some(seen) = view(observed, &container.name) else { continue };
        if seen.is_running() && seen.busy.is_none() {
            plan.actions.push(Action::StopContainer { name: container.name.clone() });
        }
        if seen.is_running() && !waiting {
            plan.actions.push(Action::LetEnd { name: container.name.clone() });
        }
        waiting |= seen.is_running() || seen.busy.is_some();
    }
}

fn end(plan: &mut Plan, spec: &PodSpec, observed: &Observed) {
    stop_containers(plan, spec, observed);
    let idle =
        !matches!(observed.sandbox, Sandbox::Creating | Sandbox::Removing) && observed.volumes != Stage::Busy;
    if !observed.torn_down && !observed.anything_running() && idle {
        plan.actions.push(Action::TearDown);
    }
}

/// Containers start one by one in the order of the spec, each after the postStart hook of the one before: a stock kubelet
/// starts them in a row. One that cannot be started now (it waits for its back-off) does not hold back the next.
fn one_at_a_time(plan: &mut Plan, spec: &PodSpec, observed: &Observed) {
    let mut starting = false;
    for container in init_containers(spec).chain(&spec.containers) {
        let wanted = |a: &Action| matches!(a, Action::StartContainer { name } if *name == container.name);
        if starting {
            plan.actions.retain(|action| !wanted(action));
        }
        starting |= plan.actions.iter().any(wanted)
            || view(observed, &container.name).is_some_and(|seen| seen.busy == Some(Busy::Starting));
    }
}

/// `stopping`: the pod is deleted, or its object is gone.
pub fn plan(pod: &Pod, stopping: bool, observed: &Observed, now: Millis) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &pod.spec else { return plan };
    if stopping || has_finished(spec, observed) {
        end(&mut plan, spec, observed);
        return plan;
    }
    if let (Some(limit), Some(since)) = (spec.active_deadline_seconds, observed.start_time) {
        let deadline = since + limit * 1000;
        if deadline <= now {
            plan.actions.push(Action::Expire);
            return plan;
        }
        plan.wake(deadline);
    }
    match observed.volumes {
        Stage::Busy => return plan,
        Stage::Pending => {
            plan.actions.push(Action::MountVolumes);
            return plan;
        }
        Stage::Failed { retry_at } if retry_at > now => {
            plan.wake(retry_at);
            return plan;
        }
        Stage::Failed { .. } => {
            plan.actions.push(Action::MountVolumes);
            return plan;
        }
        Stage::Done => {}
    }
    match observed.refresh_volumes_at {
        Some(at) if at <= now => plan.actions.push(Action::RefreshVolumes),
        Some(at) => plan.wake(at),
        None => {}
    }
    match observed.sandbox {
        Sandbox::Creating | Sandbox::Removing => return plan,
        Sandbox::Failed { retry_at } if retry_at > now => {
            plan.wake(retry_at);
            return plan;
        }
        Sandbox::Absent | Sandbox::Failed { .. } => {
            // What was being started in the old sandbox has to end first.
            if observed.containers.values().all(|c| c.busy != Some(Busy::Starting)) {
                plan.actions.push(Action::CreateSandbox);
            }
            return plan;
        }
        Sandbox::Ready { .. } => {}
    }
    if initialise(&mut plan, spec, observed, now) {
        for container in &spec.containers {
            let Some(seen) = view(observed, &container.name) else { continue };
            match &seen.state {
                State::Exited(ended) if !restart_wanted(spec, container, ended) => {}
                _ => start(&mut plan, &container.name, seen, now),
            }
        }
    }
    one_at_a_time(&mut plan, spec, observed);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodStatus;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}),
        )
        .unwrap()
    }

    fn ready(pod: &Pod) -> Observed {
        Observed {
            volumes: Stage::Done,
            sandbox: Sandbox::Ready { ip: Some("10.42.0.2".into()) },
            start_time: Some(0),
            ..Observed::from_api(pod)
        }
    }

    fn set(observed: &mut Observed, name: &str, state: &str) {
        let container = observed.containers.get_mut(name).unwrap();
        container.busy = None;
        container.state = match state.split_once(' ') {
            Some(("exit", code)) => State::Exited(Terminated {
                code: code.parse().unwrap(),
                finished_at: 1000,
                ..Terminated::default()
            }),
            _ if state == "running" => {
                container.started = true;
                State::Running { id: name.to_owned(), started_at: 0 }
            }
            _ => State::default(),
        };
    }

    fn actions(pod: &Pod, stopping: bool, observed: &Observed) -> String {
        let names = plan(pod, stopping, observed, 1000).actions.into_iter().map(|a| match a {
            Action::StartContainer { name } => format!("start {name}"),
            Action::StopContainer { name } => format!("stop {name}"),
            Action::LetEnd { name } => format!("end {name}"),
            other => format!("{other:?}"),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_new_pod_gets_volumes_then_a_sandbox_then_containers() {
        let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        let mut observed = Observed::from_api(&pod);
        assert_eq!(actions(&pod, false, &observed), "MountVolumes");
        observed.volumes = Stage::Done;
        assert_eq!(actions(&pod, false, &observed), "CreateSandbox");
        observed.sandbox = Sandbox::Ready { ip: None };
        assert_eq!(actions(&pod, false, &observed), "start a");
        observed.containers.get_mut("a").unwrap().busy = Some(Busy::Starting);
        assert_eq!(actions(&pod, false, &observed), "");
        set(&mut observed, "a", "running");
        assert_eq!(actions(&pod, false, &observed), "start b");
    }

    #[test]
    fn a_container_waits_for_the_one_before_while_that_starts_not_while_it_fails() {
        let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}));
        let mut observed = ready(&pod);
        let waits = State::Waiting { reason: None, message: None, retry_at: 2000 };
        observed.containers.get_mut("a").unwrap().state = waits;
        assert_eq!(actions(&pod, false, &observed), "start b");
        observed.containers.get_mut("b").unwrap().busy = Some(Busy::Starting);
        assert_eq!(actions(&pod, false, &observed), "");
        set(&mut observed, "b", "running");
        set(&mut observed, "c", "running");
        set(&mut observed, "a", "waiting");
        assert_eq!(actions(&pod, false, &observed), "start a");
    }

    #[test]
    fn init_containers_run_in_order_and_sidecars_have_to_be_started() {
        let pod = pod(json!({
            "initContainers": [{"name": "one"}, {"name": "side", "restartPolicy": "Always"}, {"name": "two"}],
            "containers": [{"name": "main"}]
        }));
        let mut observed = ready(&pod);
        let table = [
            (("one", "running"), ""),
            (("one", "exit 0"), "start side"),
            (("side", "running"), "start two"),
            (("two", "exit 0"), "start main"),
            (("main", "running"), ""),
            (("side", "exit 1"), "start side"),
        ];
        assert_eq!(actions(&pod, false, &observed), "start one");
        for ((name, state), expected) in table {
            set(&mut observed, name, state);
            assert_eq!(actions(&pod, false, &observed), expected, "{name} {state}");
        }
    }

    #[test]
    fn restart_policy_decides_about_ended_containers() {
        for (policy, code, expected) in [
            ("Always", "exit 0", "start a"),
            ("OnFailure", "exit 0", "TearDown"),
            ("OnFailure", "exit 3", "start a"),
            ("Never", "exit 3", "TearDown"),
        ] {
            let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
            let mut observed = ready(&pod);
            set(&mut observed, "a", code);
            assert_eq!(actions(&pod, false, &observed), expected, "{policy} {code}");
        }
    }

    #[test]
    fn a_container_that_keeps_crashing_waits_for_its_back_off() {
        let pod = pod(json!({"containers": [{"name": "a"}]}));
        let mut observed = ready(&pod);
        set(&mut observed, "a", "exit 1");
        let container = observed.containers.get_mut("a").unwrap();
        container.crash = container.crash.next(500, 500);
        let first = plan(&pod, false, &observed, 1000);
        assert_eq!(first.actions, [Action::NoteBackOff { name: "a".into() }]);
        assert_eq!(first.wake_at, Some(11_000));
        let later = plan(&pod, false, &observed, 11_000);
        assert_eq!(later.actions, [Action::StartContainer { name: "a".into() }]);
    }

    #[test]
    fn a_changed_image_is_tried_at_once() {
        let of = |image: &str| pod(json!({"containers": [{"name": "a", "image": image}]}));
        let (before, after) = (of("one"), of("two"));
        for state in ["exit 1", "waiting"] {
            let mut observed = ready(&before);
            set(&mut observed, "a", state);
            let a = observed.containers.get_mut("a").unwrap();
            (a.crash, a.pull) = (a.crash.next(500, 500), a.pull.next(500, 500));
            if let State::Waiting { retry_at, .. } = &mut a.state {
                *retry_at = 10_500;
            }
            observed.images_changed(&before, &before);
            assert!(!actions(&before, false, &observed).contains("start"), "{state}");
            observed.images_changed(&before, &after);
            assert_eq!(actions(&after, false, &observed), "start a", "{state}");
        }
    }

    #[test]
    fn deletion_stops_containers_then_sidecars_in_reverse_then_removes_everything() {
        let pod = pod(json!({
            "initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}]
        }));
        let mut observed = ready(&pod);
        for name in ["s1", "s2", "a", "b"] {
            set(&mut observed, name, "running");
        }
        let steps = [
            ("a", "stop a, stop b, stop s2, stop s1"),
            ("b", "stop b, stop s2, stop s1"),
            ("s2", "stop s2, end s2, stop s1"),
            ("s1", "stop s1, end s1"),
        ];
        for (name, expected) in steps {
            assert_eq!(actions(&pod, true, &observed), expected);
            set(&mut observed, name, "exit 143");
        }
        assert_eq!(actions(&pod, true, &observed), "TearDown");
        (observed.torn_down, observed.sandbox) = (true, Sandbox::Absent);
        assert_eq!(actions(&pod, true, &observed), "");
    }

    #[test]
    fn sidecars_stop_when_the_containers_they_serve_have_ended() {
        let pod = pod(json!({"restartPolicy": "Never",
            "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]}));
        let mut observed = ready(&pod);
        set(&mut observed, "s", "running");
        set(&mut observed, "a", "exit 0");
        assert_eq!(actions(&pod, false, &observed), "stop s, end s");
    }

    #[test]
    fn a_lost_sandbox_is_made_again_and_initialisation_repeated() {
        let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
        let mut observed = ready(&pod);
        set(&mut observed, "i", "exit 0");
        set(&mut observed, "a", "running");
        observed.sandbox_lost(2000);
        assert_eq!(actions(&pod, false, &observed), "CreateSandbox");
        observed.forget_initialisation(["i"].into_iter());
        observed.sandbox = Sandbox::Ready { ip: None };
        assert_eq!(actions(&pod, false, &observed), "start i");
    }

    #[test]
    fn a_pod_that_somebody_calls_failed_is_stopped() {
        let pod = pod(json!({"containers": [{"name": "a"}]}));
        let mut observed = ready(&pod);
        set(&mut observed, "a", "running");
        let status = |phase: &str| PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() };
        assert!(!observed.take_end(&status("Running")));
        assert_eq!(actions(&pod, false, &observed), "");
        assert!(observed.take_end(&status("Failed")));
        assert_eq!(actions(&pod, false, &observed), "stop a");
        set(&mut observed, "a", "exit 0");
        assert_eq!(actions(&pod, false, &observed), "TearDown");
    }

    #[test]
    fn a_pod_past_its_deadline_expires() {
        let pod = pod(json!({"activeDeadlineSeconds": 1, "containers": [{"name": "a"}]}));
        assert_eq!(actions(&pod, false, &ready(&pod)), "Expire");
    }
}
