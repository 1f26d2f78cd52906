//! The worker of one pod: takes what happened, plans, starts what the plan asks for, writes the status.
//!
//! Reads:     its inbox (updates of the pod, ends of containers, probe outcomes), outcomes of its own operations.
//! Writes:    the pod's sandbox, volumes and containers; `pods/status`; at the end the pod's deletion.
//! Invariant: this task alone changes what is observed; operations run beside it and report back.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::{ContainerId, Exit, SandboxInfo};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodSpec, PodStatus};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::observed::{Busy, Observed, Rejection, Sandbox, Stage, State, Terminated};
use super::plan::{Action, plan};
use super::probing::{self, Probing};
use super::start::{self, Started};
use super::status::{NodeFacts, pod_status};
use super::writer::{self, StatusWriter, Written};
use super::{adopt, exit, mounts, sandbox, stop, view};
use crate::clock::{self, Millis};
use crate::probes::{Kind, Report, Target};
use crate::security::pod_full_name;
use crate::shared::{Shared, StoreSources};
use crate::volumes::{self, References, Tokens, VolumeError};
use crate::{admission, resources};

/// How long after a failure volumes, sandbox, configuration and teardown are tried again.
const RETRY_MS: Millis = 5_000;
const CONFIG_RETRY_MS: Millis = 10_000;
/// An image that could not be pulled shows ErrImagePull this long before ImagePullBackOff.
const SHOW_PULL_ERROR_MS: Millis = 2_000;

#[derive(Debug)]
pub enum Message {
    Update(Arc<Pod>),
    Removed,
    Exited {
        id: String,
        exit: Exit,
    },
    SandboxLost,
    Probe(Report),
    /// A ConfigMap or Secret changed that the pod's volumes show.
    ReferenceChanged,
}

enum Outcome {
    Volumes(Result<Option<Millis>, VolumeError>),
    Sandbox(Result<Option<String>, String>),
    Started { name: String, attempt: i32, result: Box<Started> },
    Stopped { name: String },
    TornDown(Result<(), String>),
    StatusWritten(Written),
    Deleted(Written),
}

#[derive(PartialEq)]
enum Deletion {
    NotYet,
    InFlight,
    /// The API server has it; finalizers may hold the object.
    Sent,
}

pub struct Worker {
    shared: Arc<Shared>,
    uid: String,
    pod: Arc<Pod>,
    removed: bool,
    observed: Observed,
    inbox: mpsc::UnboundedReceiver<Message>,
    outbox: mpsc::UnboundedSender<Message>,
    operations: JoinSet<Outcome>,
    probing: Probing,
    /// By container id: set when it ends.
    ended: HashMap<String, CancellationToken>,
    /// By container: when its SIGKILL is due.
    deadlines: HashMap<String, watch::Sender<Instant>>,
    /// Ends that were reported before the start was.
    early: HashMap<String, Exit>,
    /// The image each running container was started with: a change of the pod's spec restarts it.
    images: HashMap<String, String>,
    writer: StatusWriter,
    wanted: PodStatus,
    deletion: Deletion,
    deletion_failures: u32,
    retry_at: Option<Millis>,
    sandbox_lost: bool,
    starting: CancellationToken,
    tokens: Arc<Tokens>,
    references: References,
    refreshing: bool,
    refresh_again: bool,
    images_changed: Arc<Notify>,
}

pub struct Assignment {
    pub pod: Arc<Pod>,
    pub found: Option<SandboxInfo>,
    pub inbox: mpsc::UnboundedReceiver<Message>,
    pub outbox: mpsc::UnboundedSender<Message>,
    pub images_changed: Arc<Notify>,
}

fn find<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a ContainerSpec> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
}

impl Worker {
    pub fn new(shared: Arc<Shared>, assignment: Assignment) -> Worker {
        let Assignment { pod, found, inbox, outbox, images_changed } = assignment;
        let now = clock::now();
        let observed = adopt::observe(&pod, found.as_ref(), now);
        let writer = StatusWriter::new(&pod);
        let mut worker = Worker {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            removed: false,
            sandbox_lost: found.as_ref().is_some_and(|f| !f.alive),
            wanted: writer.written.clone(),
            references: References::of(&pod),
            writer,
            observed,
            pod,
            inbox,
            outbox,
            shared,
            operations: JoinSet::new(),
            probing: Probing::default(),
            ended: HashMap::new(),
            deadlines: HashMap::new(),
            early: HashMap::new(),
            images: HashMap::new(),
            deletion: Deletion::NotYet,
            deletion_failures: 0,
            retry_at: None,
            starting: CancellationToken::new(),
            tokens: Arc::default(),
            refreshing: false,
            refresh_again: false,
            images_changed,
        };
        worker.adopt_running();
        worker
    }

    fn adopt_running(&mut self) {
        if !self.references.any() {
            self.observed.refresh_volumes_at = None;
        }
        let running: Vec<(String, String)> = self
            .observed
            .containers
            .iter()
            .filter_map(|(n, c)| Some((n.clone(), c.running_id()?.to_owned())))
            .collect();
        for (name, id) in running {
            self.ended.insert(id, CancellationToken::new());
            if let Some(image) = self.spec().and_then(|s| find(s, &name)).and_then(|c| c.image.clone()) {
                self.images.insert(name, image);
            }
        }
    }

    /// Runs until nothing of the pod is left, or `stop` (then containers run on).
    pub async fn run(mut self, found: Option<SandboxInfo>, stop: CancellationToken) {
        self.begin(found).await;
        loop {
            let wake = self.step();
            if self.is_over() {
                break;
            }
            let sleep = async {
                match wake {
                    Some(at) => {
                        let wait = u64::try_from(at - clock::now()).unwrap_or(0);
                        tokio::time::sleep(Duration::from_millis(wait.max(1))).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                Some(done) = self.operations.join_next(), if !self.operations.is_empty() => match done {
                    Ok(outcome) => self.done(outcome).await,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = sleep => {}
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message).await;
            }
        }
        self.shared.views.write().remove(&self.uid);
        self.shared.bookings.lock().remove(&self.uid);
        let meta = &self.pod.metadata;
        let name = |n: &Option<String>| n.clone().unwrap_or_default();
        let logs = self.shared.pod_log_dir(&name(&meta.namespace), &name(&meta.name), &self.uid);
        let _ = tokio::fs::remove_dir_all(logs).await;
    }

    fn is_over(&self) -> bool {
        self.removed && self.observed.torn_down && self.operations.is_empty()
    }

    fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    fn stopping(&self) -> bool {
        self.removed || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn pod_dir(&self) -> PathBuf {
        volumes::pod_dir(&self.shared.config.state_dir, &self.uid)
    }

    fn pod_ip(&self) -> String {
        match &self.observed.sandbox {
            Sandbox::Ready { ip: Some(ip) } => ip.clone(),
            _ => self.shared.node_ip().to_string(),
        }
    }

    /// Admission, or for an adopted pod its address and its probes.
    async fn begin(&mut self, found: Option<SandboxInfo>) {
        let adopted = matches!(self.observed.sandbox, Sandbox::Ready { .. });
        if adopted {
            let netns = found.and_then(|f| f.netns);
            match sandbox::attach(&self.shared, &self.pod, netns.as_deref()).await {
                Ok(ip) => {
                    self.observed.last_ip = ip.clone().or(self.observed.last_ip.take());
                    self.observed.sandbox = Sandbox::Ready { ip };
                }
                Err(error) => {
                    tracing::warn!(pod = pod_full_name(&self.pod), error, "pod network was not restored")
                }
            }
            for name in self.observed.containers.keys().cloned().collect::<Vec<_>>() {
                self.probe_adopted(&name);
            }
        }
        self.admit(adopted);
    }

    fn probe_adopted(&mut self, name: &str) {
        let Some(seen) = self.observed.containers.get(name) else { return };
        if seen.is_running() {
            let (started, ready) = (seen.started, seen.ready);
            self.start_probes(name, started, Some(ready));
        }
    }

    fn admit(&mut self, adopted: bool) {
        let begun = adopted || self.observed.containers.values().any(|c| c.created);
        if self.observed.finished || self.stopping() && !begun {
            return;
        }
        let Some(spec) = self.pod.spec.clone() else { return };
        let mut bookings = self.shared.bookings.lock();
        if begun {
            bookings.insert(self.uid.clone(), resources::pod_requests(&spec));
            return;
        }
        let mut used = resources::Amounts::new();
        for (name, n) in bookings.values().flatten() {
            *used.entry(name.clone()).or_default() += n;
        }
        let node = crate::node::register::current(&self.shared);
        let labels = node.and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
        let allocatable = self.shared.capacity.allocatable_amounts();
        let pods = u32::try_from(bookings.len()).unwrap_or(u32::MAX);
        match admission::admit(&spec, &labels, &allocatable, &used, pods, self.shared.config.max_pods) {
            Ok(requests) => {
                bookings.insert(self.uid.clone(), requests);
            }
            Err(rejection) => {
                drop(bookings);
                let message = rejection.message.clone();
                self.shared.warning(&self.pod, None, &rejection.reason, message);
                self.observed.rejection = Some(rejection);
            }
        }
    }

    /// Plans and starts what is due, writes what changed. Gives the time to look again.
    fn step(&mut self) -> Option<Millis> {
        let now = clock::now();
        self.show_pull_back_off(now);
        let planned = plan(&self.pod, self.stopping(), &self.observed, now);
        for action in planned.actions {
            self.act(action, now);
        }
        self.restart_changed();
        let facts = NodeFacts { host_ip: &self.shared.node_ip().to_string() };
        let known = self.pod.status.as_ref().and_then(|s| s.conditions.clone());
        self.adopt_conditions(known);
        self.wanted = pod_status(&self.pod, &self.observed, &facts, &self.wanted, now);
        self.publish_view();
        if self.is_terminal() {
            self.shared.bookings.lock().remove(&self.uid);
        }
        if !self.removed {
            if let Some(patch) = self.writer.next(&self.uid, &self.wanted, now) {
                let (shared, pod) = (self.shared.clone(), self.pod.clone());
                self.operations
                    .spawn(async move { Outcome::StatusWritten(writer::send(shared, pod, patch).await) });
            }
            self.delete_when_done(now);
        }
        let mut wake = planned.wake_at;
        let retries = [self.retry_at, Some(self.writer.retry_at), self.pull_display_due()];
        for at in retries.into_iter().flatten().filter(|at| *at > now) {
            wake = Some(wake.map_or(at, |w| w.min(at)));
        }
        // An action was started: its outcome, or the retry it set, is planned with again.
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        wake
    }

    fn is_terminal(&self) -> bool {
        matches!(self.wanted.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Conditions that others write are part of what is compared.
    fn adopt_conditions(&mut self, known: Option<Vec<k8s_openapi::api::core::v1::PodCondition>>) {
        let own = super::status::OWN_CONDITIONS;
        let foreign: Vec<_> =
            known.into_iter().flatten().filter(|c| !own.contains(&c.type_.as_str())).collect();
        for status in [&mut self.wanted, &mut self.writer.written] {
            let list = status.conditions.get_or_insert_default();
            list.retain(|c| own.contains(&c.type_.as_str()));
            list.extend(foreign.iter().cloned());
        }
    }

    fn publish_view(&self) {
        let view = view::build(&self.pod, &self.observed, &self.wanted, &self.ended);
        self.shared.views.write().insert(self.uid.clone(), Arc::new(view));
    }

    fn delete_when_done(&mut self, now: Millis) {
        let wanted = self.pod.metadata.deletion_timestamp.is_some() && self.observed.torn_down;
        let due = self.deletion == Deletion::NotYet && self.retry_at.is_none_or(|at| at <= now);
        if wanted && due && self.writer.clean(&self.wanted) {
            self.deletion = Deletion::InFlight;
            let (shared, pod) = (self.shared.clone(), self.pod.clone());
            self.operations.spawn(async move { Outcome::Deleted(writer::delete(shared, pod).await) });
        }
    }

    /// An image of the running pod's spec was changed: its container is restarted with the new one.
    fn restart_changed(&mut self) {
        if self.stopping() {
            return;
        }
        let Some(spec) = self.pod.spec.clone() else { return };
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
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

    fn act(&mut self, action: Action, now: Millis) {
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
                self.stop_container(&name, None, message);
            }
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

    fn tear_down(&mut self, now: Millis) {
        if let Some(at) = self.retry_at.filter(|at| *at > now) {
            self.retry_at = Some(at);
            return;
        }
        self.observed.sandbox = Sandbox::Removing;
        let (shared, uid) = (self.shared.clone(), self.uid.clone());
        self.operations.spawn(async move { Outcome::TornDown(sandbox::tear_down(shared, uid).await) });
    }

    fn spawn_volumes(&mut self) {
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

    fn refresh_volumes(&mut self) {
        if self.observed.volumes != Stage::Done || self.stopping() {
            return;
        }
        if self.refreshing {
            self.refresh_again = true;
        } else {
            self.spawn_volumes();
        }
    }

    fn start_container(&mut self, name: &str, now: Millis) {
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
            Outcome::Started { name, attempt, result }
        });
    }

    /// How long a container may take to end.
    fn grace(&self) -> Duration {
        let spec = self.spec().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
        let seconds = match self.pod.metadata.deletion_grace_period_seconds {
            Some(seconds) if self.stopping() => seconds,
            _ => spec,
        };
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(u64::from(self.stopping())))
    }

    fn stop_container(&mut self, name: &str, grace: Option<i64>, message: String) {
        let Some(container) = self.spec().and_then(|s| find(s, name)).cloned() else { return };
        let own_grace = self.grace();
        let pod_ip = self.pod_ip();
        let Some(seen) = self.observed.containers.get_mut(name) else { return };
        let Some(id) = seen.running_id().map(str::to_owned) else { return };
        if seen.busy.is_some() {
            return;
        }
        seen.busy = Some(Busy::Stopping);
        let signal = seen.stop_signal.clone();
        let grace = grace.map_or(own_grace, |s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
        let (sender, deadline) = watch::channel(Instant::now() + grace);
        self.deadlines.insert(name.to_owned(), sender);
        self.probing.end(name, &[Kind::Startup, Kind::Liveness]);
        let ended = self.ended.entry(id.clone()).or_default().clone();
        let id = ContainerId(id.as_str().into());
        let request =
            stop::Request { pod: self.pod.clone(), container, id, pod_ip, deadline, message, signal, ended };
        let (shared, name) = (self.shared.clone(), name.to_owned());
        self.operations.spawn(async move {
            stop::stop(shared, request).await;
            Outcome::Stopped { name }
        });
    }

    /// A shorter grace period applies to what is being stopped already.
    fn shorten_deadlines(&mut self) {
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

    async fn take(&mut self, message: Message) {
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
            Message::ReferenceChanged => self.refresh_volumes(),
        }
    }

    fn update(&mut self, pod: Arc<Pod>) {
        let fields = |p: &Pod| (p.metadata.labels.clone(), p.metadata.annotations.clone());
        let fields_changed = self.references.pod_fields && fields(&self.pod) != fields(&pod);
        self.pod = pod;
        if fields_changed {
            self.refresh_volumes();
        }
        if self.stopping() {
            self.starting.cancel();
            self.shorten_deadlines();
        }
    }

    fn lose_sandbox(&mut self) {
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

    async fn exited(&mut self, id: &str, exit: Exit) {
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
            seen.state = State::Exited(ended);
            (seen.started, seen.ready) = (false, false);
            if seen.busy == Some(Busy::Stopping) {
                seen.busy = None;
            }
        }
        self.deadlines.remove(&name);
    }

    async fn termination_message(&self, name: &str, code: i32) -> Option<String> {
        let container = self.spec().and_then(|s| find(s, name))?;
        let attempt = u32::try_from(self.observed.containers.get(name)?.restart_count).unwrap_or_default();
        let file = mounts::termination_file(&self.pod_dir(), name, attempt);
        let meta = &self.pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let dir = self.shared.pod_log_dir(&text(&meta.namespace), &text(&meta.name), &self.uid);
        exit::message(container, code, &file, &dir.join(name).join(format!("{attempt}.log"))).await
    }

    fn probed(&mut self, report: Report) {
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
    fn start_probes(&mut self, name: &str, started: bool, ready: Option<bool>) {
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

    async fn done(&mut self, outcome: Outcome) {
        let now = clock::now();
        match outcome {
            Outcome::Volumes(result) => self.volumes_done(result, now),
            Outcome::Sandbox(Ok(ip)) => {
                self.sandbox_lost = false;
                self.observed.last_ip = ip.clone().or_else(|| Some(self.shared.node_ip().to_string()));
                self.observed.sandbox = Sandbox::Ready { ip };
            }
            Outcome::Sandbox(Err(error)) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.shared.warning(&self.pod, None, "FailedCreatePodSandBox", message);
                self.observed.sandbox = Sandbox::Failed { retry_at: now + RETRY_MS };
            }
            Outcome::Started { name, attempt, result } => self.started(&name, attempt, *result, now).await,
            Outcome::Stopped { name } => {
                if let Some(seen) = self.observed.containers.get_mut(&name)
                    && !seen.is_running()
                {
                    seen.busy = None;
                }
            }
            Outcome::TornDown(Ok(())) => {
                self.observed.sandbox = Sandbox::Absent;
                self.observed.torn_down = true;
                self.observed.finished = true;
                self.observed.volumes = Stage::Pending;
            }
            Outcome::TornDown(Err(error)) => {
                tracing::warn!(pod = pod_full_name(&self.pod), error, "pod was not torn down");
                self.shared.warning(&self.pod, None, "FailedKillPod", format!("error killing pod: {error}"));
                self.observed.sandbox = Sandbox::Absent;
                self.retry_at = Some(now + RETRY_MS);
            }
            Outcome::StatusWritten(written) => {
                match &written {
                    Written::Gone => self.removed = true,
                    Written::Failed(error) => {
                        tracing::warn!(pod = pod_full_name(&self.pod), error, "pod status was not written");
                    }
                    Written::Done => {}
                }
                self.writer.finished(&written, now);
            }
            Outcome::Deleted(written) => {
                self.deletion = match written {
                    Written::Done => Deletion::Sent,
                    Written::Gone => {
                        self.removed = true;
                        Deletion::Sent
                    }
                    Written::Failed(error) => {
                        tracing::warn!(pod = pod_full_name(&self.pod), error, "pod was not deleted");
                        self.deletion_failures += 1;
                        self.retry_at = Some(now + writer::retry_after(self.deletion_failures));
                        Deletion::NotYet
                    }
                };
            }
        }
    }

    fn volumes_done(&mut self, result: Result<Option<Millis>, VolumeError>, now: Millis) {
        self.refreshing = false;
        match result {
            Ok(refresh_at) => {
                self.observed.volumes = Stage::Done;
                self.observed.refresh_volumes_at = refresh_at;
                if std::mem::take(&mut self.refresh_again) {
                    self.refresh_volumes();
                }
            }
            Err(error) => {
                self.shared.warning(&self.pod, None, "FailedMount", error.to_string());
                if self.observed.volumes == Stage::Busy {
                    self.observed.volumes = Stage::Failed { retry_at: now + RETRY_MS };
                } else {
                    self.observed.refresh_volumes_at = Some(now + 12 * RETRY_MS);
                }
            }
        }
    }

    async fn started(&mut self, name: &str, attempt: i32, result: Started, now: Millis) {
        let Some(image) =
            self.spec().and_then(|s| find(s, name)).map(|c| c.image.clone().unwrap_or_default())
        else {
            return;
        };
        let stopping = self.stopping();
        let Some(seen) = self.observed.containers.get_mut(name) else { return };
        seen.busy = None;
        let into_history = |seen: &mut super::observed::Container| {
            if let State::Exited(ended) = &seen.state {
                seen.last = Some(ended.clone());
            }
        };
        match result {
            Started::Cancelled => {}
            Started::NotPulled { reason, message } => {
                into_history(seen);
                seen.pull = seen.pull.next(now, now);
                let retry_at = now + seen.pull.delay_ms;
                seen.state =
                    State::Waiting { reason: Some(reason.to_owned()), message: Some(message), retry_at };
            }
            Started::NotMade { reason, message } => {
                into_history(seen);
                let retry_at = now + CONFIG_RETRY_MS;
                seen.state =
                    State::Waiting { reason: Some(reason.to_owned()), message: Some(message), retry_at };
            }
            Started::NotStarted { running, message } => {
                into_history(seen);
                self.made(name, attempt, &running, image);
                let ended = Terminated {
                    id: running.id.clone(),
                    code: 128,
                    reason: "StartError".to_owned(),
                    message: Some(message),
                    started_at: 0,
                    finished_at: now,
                    signal: None,
                };
                self.early.remove(&running.id);
                if let Some(seen) = self.observed.containers.get_mut(name) {
                    seen.state = State::Exited(ended);
                }
            }
            Started::Running(running) => {
                into_history(seen);
                seen.state = State::Running { id: running.id.clone(), started_at: now };
                seen.pull = Default::default();
                self.ended.insert(running.id.clone(), CancellationToken::new());
                self.made(name, attempt, &running, image);
                self.images_changed.notify_one();
                if let Some(exit) = self.early.remove(&running.id) {
                    self.exited(&running.id, exit).await;
                } else if running.hook_error.is_some() {
                    self.stop_container(
                        name,
                        None,
                        format!("FailedPostStartHook: Container {name} will be stopped"),
                    );
                } else if !stopping {
                    self.probe_new(name);
                }
                self.prune_logs(name, attempt).await;
            }
        }
    }

    fn made(&mut self, name: &str, attempt: i32, running: &start::Running, spec_image: String) {
        self.images.insert(name.to_owned(), spec_image);
        if let Some(seen) = self.observed.containers.get_mut(name) {
            seen.created = true;
            seen.restart_count = attempt;
            seen.image = Some(running.image.clone());
            seen.image_id = Some(running.image_id.clone());
            seen.user = Some(running.user.clone());
            seen.stop_signal = running.stop_signal.clone();
            (seen.started, seen.ready) = (false, false);
        }
    }

    fn probe_new(&mut self, name: &str) {
        let Some(container) = self.spec().and_then(|s| find(s, name)).cloned() else { return };
        let started = container.startup_probe.is_none();
        if let Some(seen) = self.observed.containers.get_mut(name) {
            seen.started = started;
            seen.ready = container.readiness_probe.is_none();
        }
        self.start_probes(name, started, None);
    }

    /// The logs of the current attempt and of the one before it are kept.
    async fn prune_logs(&self, name: &str, attempt: i32) {
        let Some(old) = attempt.checked_sub(2).filter(|a| *a >= 0) else { return };
        let meta = &self.pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let dir = self.shared.pod_log_dir(&text(&meta.namespace), &text(&meta.name), &self.uid).join(name);
        let Ok(mut entries) = tokio::fs::read_dir(&dir).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file.split('.').next().and_then(|n| n.parse::<i32>().ok()).is_some_and(|n| n <= old) {
                let _ = tokio::fs::remove_file(entry.path()).await;
            }
        }
    }

    fn pull_display_due(&self) -> Option<Millis> {
        let due = self.observed.containers.values().filter_map(|c| match &c.state {
            State::Waiting { reason: Some(reason), retry_at, .. } if reason == "ErrImagePull" => {
                Some(retry_at - c.pull.delay_ms + SHOW_PULL_ERROR_MS)
            }
            _ => None,
        });
        due.min()
    }

    /// ErrImagePull becomes ImagePullBackOff while the container waits for its next try.
    fn show_pull_back_off(&mut self, now: Millis) {
        let Some(spec) = self.pod.spec.clone() else { return };
        for (name, seen) in &mut self.observed.containers {
            let State::Waiting { reason, message, retry_at } = &mut seen.state else { continue };
            let shown_at = *retry_at - seen.pull.delay_ms;
            if reason.as_deref() != Some("ErrImagePull")
                || now < shown_at + SHOW_PULL_ERROR_MS
                || now >= *retry_at
            {
                continue;
            }
            let image = find(&spec, name).and_then(|c| c.image.clone()).unwrap_or_default();
            let text = format!("Back-off pulling image \"{image}\"");
            self.shared.normal(&self.pod, Some(name), "BackOff", text.clone());
            self.shared.warning(&self.pod, Some(name), "Failed", "Error: ImagePullBackOff".to_owned());
            let cause = message.take().unwrap_or_default();
            *message = Some(format!("{text}: ErrImagePull: {cause}"));
            *reason = Some("ImagePullBackOff".to_owned());
        }
    }
}
