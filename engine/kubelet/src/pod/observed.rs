//! What a pod's worker knows to be the case: the sandbox, the volumes and every container.
//!
//! Written by the worker alone, from what operations, the runtime and probes report.

use std::collections::BTreeMap;

use coracle_runtime::User;
use k8s_openapi::api::core::v1::{ContainerState as ApiState, ContainerStatus, Pod, PodStatus};

use crate::clock::{self, Millis};
use crate::resources::all_containers;

/// How long a container has to live before it is ready, where no probe says so: at its first start, and after one that
/// ended.
const SETTLED_MS: Millis = 25;
const SETTLED_AGAIN_MS: Millis = 1000;

/// 10 s, doubled to 300 s, forgotten after twice that.
/// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restarts
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    pub delay_ms: Millis,
    updated_at: Millis,
}

impl Backoff {
    const INITIAL_MS: Millis = 10_000;
    const MAX_MS: Millis = 300_000;

    fn forgotten(&self, event_at: Millis) -> bool {
        self.delay_ms == 0 || event_at - self.updated_at > 2 * Self::MAX_MS
    }

    /// Until when to wait after something that happened at `event_at`.
    pub fn until(&self, event_at: Millis) -> Option<Millis> {
        (!self.forgotten(event_at)).then(|| event_at + self.delay_ms)
    }

    /// Counts one more attempt.
    #[must_use]
    pub fn next(self, event_at: Millis, now: Millis) -> Backoff {
        let delay_ms =
            if self.forgotten(event_at) { Self::INITIAL_MS } else { (self.delay_ms * 2).min(Self::MAX_MS) };
        Backoff { delay_ms, updated_at: now }
    }
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminated {
    pub id: String,
    pub code: i32,
    pub signal: Option<i32>,
    pub reason: String,
    pub message: Option<String>,
    pub started_at: Millis,
    pub finished_at: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not created yet, or it could not be. Tried from `retry_at` on.
    Waiting {
        reason: Option<String>,
        message: Option<String>,
        retry_at: Millis,
    },
    Running {
        id: String,
        started_at: Millis,
    },
    Exited(Terminated),
}

impl Default for State {
    fn default() -> State {
        State::Waiting { reason: None, message: None, retry_at: 0 }
    }
}

/// An operation on a container that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    Starting,
    Stopping,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub state: State,
    pub busy: Option<Busy>,
    pub last: Option<Terminated>,
    pub restart_count: i32,
    /// True once a container was made: the next one is a restart.
    pub created: bool,
    pub crash: Backoff,
    pub pull: Backoff,
    /// The event `BackOff` was posted for this exit.
    pub backoff_noted: bool,
    pub image: Option<String>,
    pub image_id: Option<String>,
    /// Startup probe passed, or there is none.
    pub started: bool,
    /// Readiness probe passes, or there is none.
    pub ready: bool,
    /// Without a readiness probe: when a container that has just started is taken to be ready.
    pub ready_at: Option<Millis>,
    pub user: Option<User>,
}

impl Container {
    pub fn running_id(&self) -> Option<&str> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    pub fn is_running(&self) -> bool {
        self.running_id().is_some()
    }

    /// Its process ended: there is nothing left to stop.
    pub fn exited(&mut self, ended: Terminated) {
        self.state = State::Exited(ended);
        (self.started, self.ready, self.ready_at) = (false, false, None);
        if self.busy == Some(Busy::Stopping) {
            self.busy = None;
        }
    }

    /// Nothing but a probe says when a container is ready: without one it is when it has lived a little, so that one
    /// that fails at once never is. A stock kubelet looks once a second.
    pub fn settles(&mut self, now: Millis) {
        let after = if self.restart_count > 0 { SETTLED_AGAIN_MS } else { SETTLED_MS };
        self.ready_at = Some(now + after);
    }

    /// Whether it has become ready by now.
    pub fn settled(&mut self, now: Millis) {
        if self.is_running() && self.ready_at.take_if(|at| *at <= now).is_some() {
            self.ready = true;
        }
    }

    /// The stop that was asked for is done. The next start may be under way by then.
    pub fn stopped(&mut self) {
        if !self.is_running() && self.busy == Some(Busy::Stopping) {
            self.busy = None;
        }
    }

    /// What was waited for because of another image is not waited for any more.
    fn forget_back_off(&mut self) {
        (self.crash, self.pull) = Default::default();
        if let State::Waiting { retry_at, .. } = &mut self.state {
            *retry_at = 0;
        }
    }

    /// From what the API remembers, when this process has just started.
    fn from_status(status: &ContainerStatus) -> Container {
        let terminated = |state: Option<&ApiState>| {
            let t = state?.terminated.as_ref()?;
            Some(Terminated {
                id: bare_id(t.container_id.as_deref()),
                code: t.exit_code,
                signal: t.signal,
                reason: t.reason.clone().unwrap_or_default(),
                message: t.message.clone(),
                started_at: t.started_at.as_ref().map_or(0, clock::from_time),
                finished_at: t.finished_at.as_ref().map_or(0, clock::from_time),
            })
        };
        let current = terminated(status.state.as_ref());
        let was_created = status.container_id.as_deref().is_some_and(|id| !id.is_empty());
        Container {
            created: was_created,
            restart_count: status.restart_count,
            last: terminated(status.last_state.as_ref()),
            image: Some(status.image.clone()),
            image_id: Some(status.image_id.clone()),
            started: status.started == Some(true),
            ready: status.ready,
            state: current.map_or_else(State::default, State::Exited),
            ..Container::default()
        }
    }
}

pub fn bare_id(id: Option<&str>) -> String {
    id.and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned()).unwrap_or_default()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Pending,
    Busy,
    Done,
    Failed {
        retry_at: Millis,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    #[default]
    Absent,
    Creating,
    Failed {
        retry_at: Millis,
    },
    /// The address is absent with hostNetwork: the node's is the pod's.
    Ready {
        ip: Option<String>,
    },
    Removing,
}

/// The pod will not run (again): refused at admission, or over its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub rejection: Option<Rejection>,
    /// Ended for good; never started again.
    pub finished: bool,
    /// The phase that the API has of a pod that ended, whoever wrote it; it stays.
    pub final_phase: Option<&'static str>,
    pub start_time: Option<Millis>,
    pub volumes: Stage,
    pub sandbox: Sandbox,
    /// Nothing of the pod is left on the node but its logs.
    pub torn_down: bool,
    /// The address the pod had last; shown after its end too.
    pub last_ip: Option<String>,
    pub containers: BTreeMap<String, Container>,
    pub refresh_volumes_at: Option<Millis>,
}

impl Observed {
    /// What can be known from the API alone.
    pub fn from_api(pod: &Pod) -> Observed {
        let mut observed = Observed::default();
        let Some(spec) = &pod.spec else { return observed };
        let status = pod.status.clone().unwrap_or_default();
        let statuses: BTreeMap<&str, &ContainerStatus> = status
            .container_statuses
            .iter()
            .flatten()
            .chain(status.init_container_statuses.iter().flatten())
            .map(|s| (s.name.as_str(), s))
            .collect();
        for container in all_containers(spec) {
            let known = statuses.get(container.name.as_str()).map(|s| Container::from_status(s));
            observed.containers.insert(container.name.clone(), known.unwrap_or_default());
        }
        observed.take_end(&status);
        observed.start_time = status.start_time.as_ref().map(clock::from_time);
        observed.last_ip = status.pod_ip.filter(|ip| !ip.is_empty());
        observed
    }

    /// What the API calls ended has to end here too. True if it does.
    pub fn take_end(&mut self, status: &PodStatus) -> bool {
        self.final_phase = match status.phase.as_deref() {
            Some("Succeeded") => Some("Succeeded"),
            Some("Failed") => Some("Failed"),
            _ => return false,
        };
        self.finished = true;
        if let Some(reason) = status.reason.clone() {
            let message = status.message.clone().unwrap_or_default();
            self.rejection = Some(Rejection { reason, message });
        }
        true
    }

    /// The sandbox is gone (a reboot, or its shim was killed): everything in it ended.
    pub fn sandbox_lost(&mut self, now: Millis) {
        self.sandbox = Sandbox::Absent;
        self.containers_lost(now);
    }

    /// Every container ended, and nobody saw how.
    pub fn containers_lost(&mut self, now: Millis) {
        for container in self.containers.values_mut() {
            if let State::Running { id, started_at } = &container.state {
                let ended = Terminated {
                    id: id.clone(),
                    code: 255,
                    reason: "Unknown".to_owned(),
                    started_at: *started_at,
                    finished_at: now,
                    ..Terminated::default()
                };
                container.state = State::Exited(ended);
            }
            (container.started, container.ready) = (false, false);
        }
    }

    /// Before a new sandbox: init containers run again, so what they did before is history.
    pub fn forget_initialisation<'a>(&mut self, init_containers: impl Iterator<Item = &'a str>) {
        for name in init_containers {
            if let Some(container) = self.containers.get_mut(name)
                && let State::Exited(ended) = &container.state
            {
                container.last = Some(ended.clone());
                container.state = State::default();
            }
        }
    }

    /// Containers whose image was changed are tried at once.
    /// Source: a stock kubelet keeps its back-off by container and image (`GetBackoffKey`), that of pulls by pod and image.
    pub fn images_changed(&mut self, before: &Pod, after: &Pod) {
        let image_of = |pod: &Pod, name: &str| {
            let spec = pod.spec.as_ref()?;
            all_containers(spec).find(|container| container.name == name)?.image.clone()
        };
        for (name, container) in &mut self.containers {
            if image_of(before, name) != image_of(after, name) {
                container.forget_back_off();
            }
        }
    }

    pub fn anything_running(&self) -> bool {
        self.containers.values().any(|c| c.is_running() || c.busy.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_is_reported_late_leaves_the_next_start_alone() {
        let mut container = Container {
            state: State::Running { id: "1".into(), started_at: 0 },
            busy: Some(Busy::Stopping),
            ..Container::default()
        };
        container.stopped();
        assert_eq!(container.busy, Some(Busy::Stopping), "it runs still");
        container.exited(Terminated::default());
        assert_eq!(container.busy, None);
        container.busy = Some(Busy::Starting);
        container.stopped();
        assert_eq!(container.busy, Some(Busy::Starting));
    }

    #[test]
    fn without_a_probe_a_container_is_ready_when_it_has_lived_a_little() {
        for (restart_count, after) in [(0, SETTLED_MS), (1, SETTLED_AGAIN_MS)] {
            let running = State::Running { id: "1".into(), started_at: 0 };
            let mut container = Container { state: running, restart_count, ..Container::default() };
            container.settles(0);
            container.settled(after - 1);
            assert!(!container.ready);
            let mut failed = container.clone();
            failed.exited(Terminated::default());
            failed.settled(after);
            assert!(!failed.ready && failed.ready_at.is_none());
            container.settled(after);
            assert!(container.ready && container.ready_at.is_none());
        }
    }

    #[test]
    fn back_off_doubles_to_five_minutes_and_is_forgotten_after_ten() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(0), None);
        let mut delays = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            backoff = backoff.next(now, now);
            delays.push(backoff.delay_ms / 1000);
            now += backoff.delay_ms;
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.until(now), Some(now + 300_000));
        assert_eq!(backoff.until(now + 600_000), None);
    }
}
