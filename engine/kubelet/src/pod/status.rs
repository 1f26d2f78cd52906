//! `status` of a pod, exactly as `kubectl describe` shows it on a stock node.
//!
//! Invariant: pure; a function of the pod, what is observed, and the time.
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/

mod conditions;
mod patch;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodSpec, PodStatus};

pub use conditions::OWN_CONDITIONS;
pub use patch::patch;

use super::observed::{Container, Observed, Rejection, Sandbox, State, Terminated};
use super::plan::{has_finished, init_restart_wanted, restart_wanted};
use crate::clock::{Millis, to_time};
use crate::resources::{is_sidecar, qos_class};
use crate::security::pod_full_name;

pub struct NodeFacts<'a> {
    pub host_ip: &'a str,
}

/// Of the termination messages of a pod together; each container may have its part.
const MAX_MESSAGES_BYTES: usize = 12 * 1024;

fn cut_message(state: Option<&mut core::ContainerState>, max_bytes: usize) {
    if let Some(message) = state.and_then(|s| s.terminated.as_mut()).and_then(|t| t.message.as_mut()) {
        let mut end = message.len().min(max_bytes);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
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
        let (mut state, mut last) = (Some(state), Some(last.unwrap_or_default()));
        let containers = self.spec.containers.len() + self.spec.init_containers.as_ref().map_or(0, Vec::len);
        for shown in [&mut state, &mut last] {
            cut_message(shown.as_mut(), MAX_MESSAGES_BYTES / containers.max(1));
        }
        core::ContainerStatus {
            name: spec.name.clone(),
            state,
            last_state: last,
            ready,
            restart_count: seen.restart_count,
            image: seen.image.clone().or_else(|| spec.image.clone()).unwrap_or_default(),
            image_id: seen.image_id.clone().unwrap_or_default(),
            container_id: id.filter(|i| !i.is_empty()).map(|id| format!("containerd://{id}")),
            started: Some(started),
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
            user: seen.user.as_ref().map(|user| core::ContainerUser {
                linux: Some(core::LinuxContainerUser {
                    uid: i64::from(user.uid),
                    gid: i64::from(user.gid),
                    supplemental_groups: Some(user.additional_gids.iter().map(|g| i64::from(*g)).collect()),
                }),
            }),
            stop_signal: spec.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()).filter(|_| seen.created),
            ..Default::default()
        }
    }

    /// While a container runs, a sidecar that fails does not take that back.
    fn initialized(&self) -> bool {
        let runs =
            |c: &core::Container| self.observed.containers.get(&c.name).is_some_and(|seen| seen.is_running());
        self.incomplete().is_empty() || self.spec.containers.iter().any(runs)
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
        if let Some(phase) = self.observed.final_phase {
            return phase;
        }
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

/// What ended and is not started again is shown as it ended, even when it runs once more (init containers, in a new
/// sandbox): the API takes no such step back.
fn keep_ended(
    spec: &PodSpec,
    specs: &[ContainerSpec],
    statuses: &mut [core::ContainerStatus],
    before: Option<&Vec<core::ContainerStatus>>,
) {
    let ended = |status: &core::ContainerStatus| Some(status.state.as_ref()?.terminated.as_ref()?.exit_code);
    for status in statuses.iter_mut().filter(|status| ended(status).is_none()) {
        let Some(old) = before.into_iter().flatten().find(|old| old.name == status.name) else { continue };
        let Some(code) = ended(old) else { continue };
        let again = spec.restart_policy.as_deref().is_none_or(|policy| policy == "Always")
            || specs
                .iter()
                .filter(|own| own.name == status.name)
                .any(|own| restart_wanted(spec, own, &Terminated { code, ..Terminated::default() }));
        if !again {
            status.state.clone_from(&old.state);
        }
    }
}

/// As Go writes durations: `10s`, `1m20s`, `5m0s`.
pub fn duration(ms: Millis) -> String {
    let seconds = ms / 1000;
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// Whether a pod of this phase has ended.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
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
    let has_init = spec.init_containers.as_ref().is_some_and(|all| !all.is_empty());
    let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
    let mut init: Vec<_> =
        spec.init_containers.iter().flatten().map(|c| writer.container(c, true, "PodInitializing")).collect();
    let mut containers: Vec<_> = spec.containers.iter().map(|c| writer.container(c, false, reason)).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let phase = writer.phase(&init, &containers);
    let mut conditions = writer.conditions(phase, &init, &containers);
    let old = before.conditions.as_deref().unwrap_or_default();
    conditions::keep_transition_times(&mut conditions, old, now);
    let init_specs = spec.init_containers.as_deref().unwrap_or_default();
    keep_ended(spec, init_specs, &mut init, before.init_container_statuses.as_ref());
    keep_ended(spec, &spec.containers, &mut containers, before.container_statuses.as_ref());
    let own: Vec<&str> = OWN_CONDITIONS.to_vec();
    // The scheduler writes PodScheduled; others write theirs.
    let scheduled = old.iter().find(|c| c.type_ == "PodScheduled" && c.status == "True");
    if let (Some(own), Some(theirs)) = (conditions.iter_mut().find(|c| c.type_ == "PodScheduled"), scheduled)
    {
        *own = core::PodCondition { observed_generation: own.observed_generation, ..theirs.clone() };
    }
    conditions.extend(old.iter().filter(|c| !own.contains(&c.type_.as_str())).cloned());
    let host_network = spec.host_network == Some(true);
    let ip = match &observed.sandbox {
        Sandbox::Ready { ip: None } if host_network => Some(facts.host_ip.to_owned()),
        Sandbox::Ready { ip } => ip.clone(),
        _ => observed.last_ip.clone(),
    };
    let is_refused = |rejection: &Rejection| rejection.reason != "DeadlineExceeded";
    let rejected_early = observed.rejection.as_ref().is_some_and(is_refused)
        && observed.containers.values().all(|c| !c.created);
    // Others take what an ended pod held: it has not ended while a container runs.
    let before_the_end = is_terminal(Some(phase))
        && observed.final_phase.is_none()
        && !is_terminal(before.phase.as_deref())
        && observed.anything_running();
    let (phase, reason, message) = if before_the_end {
        let phase = before.phase.clone().unwrap_or_else(|| "Pending".to_owned());
        (phase, before.reason.clone(), before.message.clone())
    } else {
        let rejection = observed.rejection.as_ref();
        (phase.to_owned(), rejection.map(|r| r.reason.clone()), rejection.map(|r| r.message.clone()))
    };
    PodStatus {
        phase: Some(phase),
        reason,
        message,
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
