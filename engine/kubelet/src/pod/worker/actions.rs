//! What a plan asks for, begun.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::ContainerId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Worker, find};
use crate::clock::Millis;
use crate::pod::observed::{Busy, Rejection, Sandbox, Stage, State};
use crate::pod::plan::Action;
use crate::pod::{sandbox, start, stop};
use crate::probes::Kind;
use crate::security::pod_full_name;
use crate::shared::StoreSources;
use crate::{resources, volumes};

impl Worker {
    pub(super) fn act(&mut self, action: Action, now: Millis) {
        match action {
            Action::MountVolumes => {
                self.observed.volumes = Stage::Busy;
                self.spawn_volumes();
            }
            Action::RefreshVolumes => {
                self.observed.refresh_volumes_at = None;
                self.refresh_volumes();
            }
            Action::CreateSandbox => {
                self.observed.sandbox = Sandbox::Creating;
                if self.sandbox_lost {
                    let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
                    self.shared.normal(&self.pod, None, "SandboxChanged", message);
                }
                let names = self.pod.spec.clone().unwrap_or_default();
                let init = names.init_containers.iter().flatten().filter(|c| !resources::is_sidecar(c));
                self.observed.forget_initialisation(init.map(|c| c.name.as_str()));
                let (shared, pod, lost) = (self.shared.clone(), self.pod.clone(), self.sandbox_lost);
                self.operations
                    .spawn(async move { Outcome::Sandbox(sandbox::create(shared, pod, lost).await) });
            }
            Action::StartContainer { name } => self.start_container(&name, now),
            Action::StopContainer { name } => {
                let message = format!("Stopping container {name}");
                let is_sidecar = self.spec().and_then(|s| find(s, &name)).is_some_and(resources::is_sidecar);
                let turn = is_sidecar.then(|| self.turns.entry(name.clone()).or_default().clone());
                self.stop_in_turn(&name, None, message, turn);
            }
            Action::LetEnd { name } => self.turns.entry(name).or_default().cancel(),
            Action::NoteBackOff { name } => {
                if let Some(seen) = self.observed.containers.get_mut(&name) {
                    seen.backoff_noted = true;
                }
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    pod_full_name(&self.pod)
                );
                self.shared.warning(&self.pod, Some(&name), "BackOff", message);
            }
            Action::Expire => {
                let message = "Pod was active on the node longer than the specified deadline".to_owned();
                self.shared.normal(&self.pod, None, "DeadlineExceeded", message.clone());
                self.observed.rejection = Some(Rejection { reason: "DeadlineExceeded".to_owned(), message });
                // The containers are stopped by the next plan.
                self.retry_at = Some(now + 1);
            }
            Action::TearDown => self.tear_down(now),
        }
    }

    pub(super) fn tear_down(&mut self, now: Millis) {
        if let Some(at) = self.retry_at.filter(|at| *at > now) {
            self.retry_at = Some(at);
            return;
        }
        self.observed.sandbox = Sandbox::Removing;
        let (shared, uid) = (self.shared.clone(), self.uid.clone());
        self.operations.spawn(async move { Outcome::TornDown(sandbox::tear_down(shared, uid).await) });
    }

    pub(super) fn spawn_volumes(&mut self) {
        let context = volumes::Context {
            pod_dir: self.pod_dir(),
            client: self.shared.client.clone(),
            sources: Arc::new(StoreSources(self.shared.store.clone())),
            facts: start::facts(&self.shared, &self.pod_ip()),
            tokens: self.tokens.clone(),
        };
        let pod = self.pod.clone();
        self.refreshing = true;
        self.operations.spawn(async move { Outcome::Volumes(volumes::set_up(&context, &pod).await) });
    }

    pub(super) fn refresh_volumes(&mut self) {
        if self.observed.volumes != Stage::Done || self.stopping() {
            return;
        }
        if self.refreshing {
            self.refresh_again = true;
        } else {
            self.spawn_volumes();
        }
    }

    pub(super) fn start_container(&mut self, name: &str, now: Millis) {
        let Some(container) = self.spec().and_then(|s| find(s, name)).cloned() else { return };
        let pod_ip = self.pod_ip();
        let pod_dir = self.pod_dir();
        let Some(seen) = self.observed.containers.get_mut(name) else { return };
        let mut previous = seen.last.as_ref().map(|l| l.id.clone());
        if let State::Exited(ended) = &seen.state {
            seen.crash = seen.crash.next(ended.finished_at, now);
            previous = Some(ended.id.clone());
        }
        let attempt = if seen.created { seen.restart_count + 1 } else { seen.restart_count };
        seen.busy = Some(Busy::Starting);
        seen.backoff_noted = false;
        let image = container.image.clone().unwrap_or_default();
        let request = start::Request {
            pod: self.pod.clone(),
            container,
            attempt: u32::try_from(attempt).unwrap_or_default(),
            pod_ip,
            pod_dir,
            previous: previous.filter(|p| !p.is_empty()),
            cancel: self.starting.clone(),
        };
        let (shared, name) = (self.shared.clone(), name.to_owned());
        self.operations.spawn(async move {
            let result = Box::new(start::start(shared, request).await);
            Outcome::Started { name, image, attempt, result }
        });
    }

    /// How long a container may take to end.
    pub(super) fn grace(&self) -> Duration {
        let spec = self.spec().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
        let seconds = match self.pod.metadata.deletion_grace_period_seconds {
            Some(seconds) if self.stopping() => seconds,
            _ => spec,
        };
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(u64::from(self.stopping())))
    }

    pub(super) fn stop_container(&mut self, name: &str, grace: Option<i64>, message: String) {
        self.stop_in_turn(name, grace, message, None);
    }

    fn stop_in_turn(
        &mut self,
        name: &str,
        grace: Option<i64>,
        message: String,
        turn: Option<CancellationToken>,
    ) {
        let Some(container) = self.spec().and_then(|s| find(s, name)).cloned() else { return };
        let own_grace = self.grace();
        let pod_ip = self.pod_ip();
        let Some(seen) = self.observed.containers.get_mut(name) else { return };
        let Some(id) = seen.running_id().map(str::to_owned) else { return };
        if seen.busy.is_some() {
            return;
        }
        seen.busy = Some(Busy::Stopping);
        let image_id = seen.image_id.clone().unwrap_or_default();
        let grace = grace.map_or(own_grace, |s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
        let (sender, deadline) = watch::channel(Instant::now() + grace);
        self.deadlines.insert(name.to_owned(), sender);
        self.probing.end(name, &[Kind::Startup, Kind::Liveness]);
        let ended = self.ended.entry(id.clone()).or_default().clone();
        let id = ContainerId(id.as_str().into());
        let request = stop::Request {
            pod: self.pod.clone(),
            container,
            id,
            pod_ip,
            deadline,
            turn,
            message,
            image_id,
            ended,
        };
        let (shared, name) = (self.shared.clone(), name.to_owned());
        self.operations.spawn(async move {
            stop::stop(shared, request).await;
            Outcome::Stopped { name }
        });
    }

    /// A shorter grace period applies to what is being stopped already.
    pub(super) fn shorten_deadlines(&mut self) {
        if self.stopping() {
            let latest = Instant::now() + self.grace();
            for deadline in self.deadlines.values() {
                deadline.send_if_modified(|at| {
                    let earlier = latest < *at;
                    *at = latest.min(*at);
                    earlier
                });
            }
        }
    }

    /// An image of the running pod's spec was changed: its container is restarted with the new one.
    pub(super) fn restart_changed(&mut self) {
        if self.stopping() {
            return;
        }
        let Some(spec) = self.pod.spec.clone() else { return };
        for container in resources::all_containers(&spec) {
            let Some(seen) = self.observed.containers.get(&container.name) else { continue };
            let was = self.images.get(&container.name);
            if seen.is_running()
                && seen.busy.is_none()
                && was.is_some_and(|w| container.image.as_ref() != Some(w))
            {
                let message = format!("Container {} definition changed, will be restarted", container.name);
                self.stop_container(&container.name, None, message);
            }
        }
    }
}
