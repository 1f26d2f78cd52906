//! What reaches a worker from outside: updates of the pod, ends of containers, probe outcomes.

use std::sync::Arc;

use coracle_runtime::{ContainerId, Exit};
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::{Message, Worker, find};
use crate::clock;
use crate::pod::observed::{Busy, Container, Sandbox, Stage, State};
use crate::pod::{exit, mounts, probing};
use crate::probes::{Kind, Report, Target};

impl Worker {
    pub(super) async fn take(&mut self, message: Message) {
        match message {
            Message::Update(pod) => self.update(pod),
            Message::Removed => {
                self.removed = true;
                self.starting.cancel();
                self.shorten_deadlines();
            }
            Message::Exited { id, exit } => self.exited(&id, exit).await,
            Message::SandboxLost => self.lose_sandbox(),
            Message::Probe(report) => self.probed(report),
            Message::ReferenceChanged => match &mut self.observed.volumes {
                // What was missing may be there now.
                Stage::Failed { retry_at } => *retry_at = 0,
                _ => self.refresh_volumes(),
            },
        }
    }

    pub(super) fn update(&mut self, pod: Arc<Pod>) {
        let fields = |p: &Pod| (p.metadata.labels.clone(), p.metadata.annotations.clone());
        let fields_changed = self.references.pod_fields && fields(&self.pod) != fields(&pod);
        self.observed.images_changed(&self.pod, &pod);
        self.pod = pod;
        let ended = !self.is_terminal()
            && self.pod.status.as_ref().is_some_and(|status| self.observed.take_end(status));
        if fields_changed {
            self.refresh_volumes();
        }
        if ended || self.stopping() {
            self.starting.cancel();
        }
        if self.stopping() {
            self.shorten_deadlines();
        }
    }

    pub(super) fn lose_sandbox(&mut self) {
        if !matches!(self.observed.sandbox, Sandbox::Ready { .. }) {
            return;
        }
        self.sandbox_lost = true;
        self.starting.cancel();
        self.starting = CancellationToken::new();
        if self.stopping() {
            self.starting.cancel();
        }
        for token in self.ended.values() {
            token.cancel();
        }
        self.ended.clear();
        for name in self.observed.containers.keys() {
            self.probing.end(name, &[Kind::Startup, Kind::Readiness, Kind::Liveness]);
        }
        self.observed.sandbox_lost(clock::now());
    }

    pub(super) async fn exited(&mut self, id: &str, exit: Exit) {
        let name =
            self.observed.containers.iter().find(|(_, c)| c.running_id() == Some(id)).map(|(n, _)| n.clone());
        let Some(name) = name else {
            // Its start is still being reported.
            if self.observed.containers.values().any(|c| c.busy == Some(Busy::Starting)) {
                self.early.insert(id.to_owned(), exit);
            }
            return;
        };
        self.probing.end(&name, &[Kind::Startup, Kind::Readiness, Kind::Liveness]);
        let mut ended = exit::terminated(id, &exit);
        if ended.message.is_none() {
            ended.message = self.termination_message(&name, exit.code).await;
        }
        if let Some(token) = self.ended.remove(id) {
            token.cancel();
        }
        if let Some(seen) = self.observed.containers.get_mut(&name) {
            seen.exited(ended);
        }
        self.deadlines.remove(&name);
    }

    /// What containers left that ended while nobody looked.
    pub(super) async fn read_missed_messages(&mut self) {
        let exited = |seen: &Container| match &seen.state {
            State::Exited(ended) if ended.message.is_none() => Some(ended.code),
            _ => None,
        };
        let missed = self.observed.containers.iter().filter_map(|(name, seen)| Some((name, exited(seen)?)));
        for (name, code) in missed.map(|(name, code)| (name.clone(), code)).collect::<Vec<_>>() {
            let message = self.termination_message(&name, code).await;
            if let Some(State::Exited(ended)) = self.observed.containers.get_mut(&name).map(|c| &mut c.state)
            {
                ended.message = message;
            }
        }
    }

    pub(super) async fn termination_message(&self, name: &str, code: i32) -> Option<String> {
        let container = self.spec().and_then(|s| find(s, name))?;
        let attempt = u32::try_from(self.observed.containers.get(name)?.restart_count).unwrap_or_default();
        let file = mounts::termination_file(&self.pod_dir(), name, attempt);
        let meta = &self.pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let dir = self.shared.pod_log_dir(&text(&meta.namespace), &text(&meta.name), &self.uid);
        exit::message(container, code, &file, &dir.join(name).join(format!("{attempt}.log"))).await
    }

    pub(super) fn probed(&mut self, report: Report) {
        let Report { container: name, id, kind, healthy } = report;
        let Some(seen) =
            self.observed.containers.get_mut(&name).filter(|c| c.running_id() == Some(id.as_str()))
        else {
            return;
        };
        match (kind, healthy) {
            (Kind::Readiness, ready) => seen.ready = ready,
            (Kind::Startup, true) => {
                seen.started = true;
                self.start_probes(&name, true, None);
            }
            (Kind::Liveness, true) => {}
            (Kind::Startup | Kind::Liveness, false) => {
                let probe = self.spec().and_then(|s| find(s, &name)).and_then(|c| kind.of(c));
                let grace = probe.and_then(|p| p.termination_grace_period_seconds);
                let kind = kind.as_str().to_lowercase();
                self.stop_container(
                    &name,
                    grace,
                    format!("Container {name} failed {kind} probe, will be restarted"),
                );
            }
        }
    }

    /// `started`: the startup probe has passed. `ready`: what readiness was before, for an adopted container.
    pub(super) fn start_probes(&mut self, name: &str, started: bool, ready: Option<bool>) {
        let Some(container) = self.spec().and_then(|s| find(s, name)).cloned() else { return };
        let Some(State::Running { id, started_at }) =
            self.observed.containers.get(name).map(|c| c.state.clone())
        else {
            return;
        };
        let target = Target {
            id: ContainerId(id.as_str().into()),
            ip: self.pod_ip(),
            runtime: self.shared.runtime.clone(),
            started_at: probing::begun(clock::now() - started_at),
            container: container.clone(),
        };
        let kinds = [
            (Kind::Startup, Some(false)),
            (Kind::Liveness, Some(true)),
            (Kind::Readiness, Some(ready.unwrap_or(false))),
        ];
        for (kind, initial) in kinds {
            let due = match kind {
                Kind::Startup => !started,
                _ => started,
            };
            if due && kind.of(&container).is_some() {
                // A startup probe decides about failure too, so nothing holds before its first outcome.
                let initial = initial.filter(|_| kind != Kind::Startup);
                self.probing.start(
                    &self.shared,
                    &self.pod,
                    target.clone(),
                    kind,
                    initial,
                    self.outbox.clone(),
                );
            }
        }
    }

    pub(super) fn probe_new(&mut self, name: &str) {
        let Some(container) = self.spec().and_then(|s| find(s, name)).cloned() else { return };
        let started = container.startup_probe.is_none();
        if let Some(seen) = self.observed.containers.get_mut(name) {
            seen.started = started;
            seen.ready = false;
            if container.readiness_probe.is_none() {
                seen.settles(clock::now());
            }
        }
        self.start_probes(name, started, None);
    }

    pub(super) fn probe_adopted(&mut self, name: &str) {
        let Some(seen) = self.observed.containers.get(name) else { return };
        if seen.is_running() {
            let (started, ready) = (seen.started, seen.ready);
            self.start_probes(name, started, Some(ready));
        }
    }
}
