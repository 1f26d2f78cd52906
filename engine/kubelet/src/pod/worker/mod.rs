//! The worker of one pod: takes what happened, plans, starts what the plan asks for, writes the status.
//!
//! Reads:     its inbox (updates of the pod, ends of containers, probe outcomes), outcomes of its own operations.
//! Writes:    the pod's sandbox, volumes and containers; `pods/status`; at the end the pod's deletion.
//! Invariant: this task alone changes what is observed; operations run beside it and report back.

mod actions;
mod messages;
mod outcomes;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::{Exit, SandboxInfo};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodSpec, PodStatus};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::observed::{Observed, Sandbox};
use super::plan::plan;
use super::probing::Probing;
use super::start::Started;
use super::status::{NodeFacts, is_terminal, pod_status};
use super::writer::{self, StatusWriter, Written};
use super::{adopt, sandbox, view};
use crate::clock::{self, Millis};
use crate::logs::links;
use crate::node::classes;
use crate::probes::Report;
use crate::security::pod_full_name;
use crate::shared::Shared;
use crate::volumes::{self, References, Tokens, VolumeError};
use crate::{admission, resources};

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
    Volumes(Result<Option<Millis>, Vec<VolumeError>>),
    Sandbox(Result<Option<String>, String>),
    Started { name: String, image: String, attempt: i32, result: Box<Started> },
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
    /// By sidecar of a pod that ends: set when it may be asked to end.
    turns: HashMap<String, CancellationToken>,
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
    volume_failures: u32,
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
    resources::all_containers(spec).find(|c| c.name == name)
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
            turns: HashMap::new(),
            early: HashMap::new(),
            images: HashMap::new(),
            deletion: Deletion::NotYet,
            deletion_failures: 0,
            retry_at: None,
            starting: CancellationToken::new(),
            tokens: Arc::default(),
            refreshing: false,
            volume_failures: 0,
            refresh_again: false,
            images_changed,
        };
        worker.adopt_running(found.as_ref());
        worker
    }

    fn adopt_running(&mut self, found: Option<&SandboxInfo>) {
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
            // The pod's image may have changed since. An older record does not say.
            let info = found.iter().flat_map(|f| &f.containers).find(|info| *info.id.0 == *id);
            let recorded = info.map(|info| info.image.clone()).filter(|image| !image.is_empty());
            let current = || self.spec().and_then(|s| find(s, &name)).and_then(|c| c.image.clone());
            if let Some(image) = recorded.or_else(current) {
                self.images.insert(name, image);
            }
            self.ended.insert(id, CancellationToken::new());
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
        self.shared.bookings.lock().release(&self.uid);
        classes::weigh(&self.shared).await;
        let meta = &self.pod.metadata;
        let name = |n: &Option<String>| n.clone().unwrap_or_default();
        let logs = self.shared.pod_log_dir(&name(&meta.namespace), &name(&meta.name), &self.uid);
        links::remove(&self.shared.config.log_dir, &logs).await;
        let _ = tokio::fs::remove_dir_all(logs).await;
        if let Err(error) = volumes::tear_down(self.pod_dir()).await {
            tracing::warn!(pod = self.uid, %error, "directory of a former pod was not removed");
        }
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
        self.read_missed_messages().await;
        self.admit(adopted);
        classes::weigh(&self.shared).await;
    }

    fn admit(&mut self, adopted: bool) {
        let begun = adopted || self.observed.containers.values().any(|c| c.created);
        if self.observed.finished || self.stopping() && !begun {
            return;
        }
        let Some(spec) = self.pod.spec.clone() else { return };
        let mut bookings = self.shared.bookings.lock();
        if begun {
            bookings.book(&self.uid, resources::qos_class(&spec), resources::pod_requests(&spec));
            return;
        }
        let (used, pods) = bookings.held();
        let node = crate::node::register::current(&self.shared);
        let labels = node.as_ref().and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
        let status = node.as_ref().and_then(|n| n.status.as_ref());
        let allocatable = self.shared.capacity.allocatable_amounts(status);
        // Absent where the kernel has no AppArmor.
        let app_armor =
            std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|it| it.starts_with(b"Y"));
        let limits = admission::Limits {
            labels: &labels,
            allocatable: &allocatable,
            max_pods: self.shared.config.max_pods,
            app_armor,
            own_ports: &self.shared.config.own_ports,
        };
        match admission::admit(&spec, &limits, &used, pods) {
            Ok(requests) => bookings.book(&self.uid, resources::qos_class(&spec), requests),
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
        for seen in self.observed.containers.values_mut() {
            seen.settled(now);
        }
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
            self.shared.bookings.lock().release(&self.uid);
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
        let settled = self.observed.containers.values().filter_map(|seen| seen.ready_at).min();
        let retries = [self.retry_at, Some(self.writer.retry_at), self.pull_display_due(), settled];
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
        is_terminal(self.wanted.phase.as_deref())
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
}
