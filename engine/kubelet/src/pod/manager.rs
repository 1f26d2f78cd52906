//! Gives every pod of this node its worker, and every worker what concerns it.
//!
//! Reads:     Pods, ConfigMaps and Secrets in the store; events of the runtime.
//! Invariant: a pod that is on this node has exactly one worker, by uid; a worker that panics is replaced.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use coracle_runtime::{PodUid, RuntimeEvent, SandboxInfo};
use coracle_store::{EventKind, Object, Resource, Scope, Watch, WatchError};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::sandbox;
use super::worker::{Assignment, Message, Worker};
use crate::logs::links;
use crate::shared::Shared;
use crate::volumes::References;

struct Handle {
    namespace: String,
    references: References,
    /// Unbounded: its messages are few (one per change of the pod or end of a container) and none may be lost.
    inbox: mpsc::UnboundedSender<Message>,
}

pub struct Manager {
    shared: Arc<Shared>,
    handles: HashMap<String, Handle>,
    workers: JoinSet<()>,
    tasks: HashMap<Id, String>,
    stop: CancellationToken,
    images_changed: Arc<Notify>,
}

fn scope(resource: &str) -> Scope {
    Scope { resource: Resource(resource.into()), namespace: None, name: None }
}

impl Manager {
    pub fn new(shared: Arc<Shared>, images_changed: Arc<Notify>, stop: CancellationToken) -> Manager {
        let (handles, workers, tasks) = (HashMap::new(), JoinSet::new(), HashMap::new());
        Manager { shared, handles, workers, tasks, stop, images_changed }
    }

    /// Until `stop`; workers end with it, their containers run on.
    pub async fn run(mut self, found: Vec<SandboxInfo>, mut runtime: mpsc::Receiver<RuntimeEvent>) {
        let (snapshot, mut pods) = self.shared.store.list_watch(scope("pods"));
        let (_, mut config_maps) = self.shared.store.list_watch(scope("configmaps"));
        let (_, mut secrets) = self.shared.store.list_watch(scope("secrets"));
        self.adopt(snapshot.list(&scope("pods")).cloned().collect(), found).await;
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = pods.next() => match event {
                    Ok(event) => self.pod_event(event.kind, &event.object),
                    Err(WatchError::Closed) => break,
                    Err(WatchError::Compacted(_)) => pods = self.list_again(),
                },
                event = config_maps.next() => match event {
                    Ok(event) => self.reference_changed(&event.object, |r| &r.config_maps),
                    Err(WatchError::Closed) => break,
                    Err(WatchError::Compacted(_)) => config_maps = self.all_changed("configmaps"),
                },
                event = secrets.next() => match event {
                    Ok(event) => self.reference_changed(&event.object, |r| &r.secrets),
                    Err(WatchError::Closed) => break,
                    Err(WatchError::Compacted(_)) => secrets = self.all_changed("secrets"),
                },
                Some(event) = runtime.recv() => self.runtime_event(event),
                Some(ended) = self.workers.join_next_with_id(), if !self.workers.is_empty() => self.worker_ended(ended).await,
            }
        }
        while self.workers.join_next().await.is_some() {}
    }

    /// Workers for the pods that are wanted; what belongs to no pod is removed.
    async fn adopt(&mut self, objects: Vec<Arc<Object>>, found: Vec<SandboxInfo>) {
        let mut found: HashMap<String, SandboxInfo> =
            found.into_iter().map(|sandbox| (sandbox.spec.pod_uid.clone(), sandbox)).collect();
        let mut wanted = HashSet::new();
        for object in objects {
            if let Some(pod) = self.mine(&object) {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                wanted.insert(uid.clone());
                self.assign(pod, found.remove(&uid));
            }
        }
        if let Err(error) = self.shared.network.retain(wanted.clone()).await {
            tracing::warn!(error, "links of former pods were not removed");
        }
        let orphans: Vec<SandboxInfo> = found.into_values().collect();
        let shared = self.shared.clone();
        let task = self.workers.spawn(async move { remove_orphans(shared, orphans, wanted).await });
        self.tasks.insert(task.id(), String::new());
    }

    fn mine(&self, object: &Object) -> Option<Arc<Pod>> {
        let pod = match object.decode::<Pod>() {
            Ok(pod) => pod,
            Err(error) => {
                tracing::error!(pod = %object.key, %error, "pod in the store cannot be read");
                return None;
            }
        };
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        (node == Some(self.shared.config.node_name.as_str())).then_some(pod)
    }

    fn assign(&mut self, pod: Arc<Pod>, found: Option<SandboxInfo>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (sender, inbox) = mpsc::unbounded_channel();
        let handle = Handle {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            references: References::of(&pod),
            inbox: sender.clone(),
        };
        let assignment = Assignment {
            pod,
            found: found.clone(),
            inbox,
            outbox: sender,
            images_changed: self.images_changed.clone(),
        };
        self.shared.bookings.lock().expect(&uid);
        let worker = Worker::new(self.shared.clone(), assignment);
        let task = self.workers.spawn(worker.run(found, self.stop.clone()));
        self.tasks.insert(task.id(), uid.clone());
        self.handles.insert(uid, handle);
    }

    fn pod_event(&mut self, kind: EventKind, object: &Object) {
        let uid = object.meta.uid.to_string();
        match kind {
            EventKind::Deleted => {
                if let Some(handle) = self.handles.get(&uid) {
                    if let Some(pod) = self.mine(object) {
                        let _ = handle.inbox.send(Message::Update(pod));
                    }
                    self.remove(&uid, handle);
                }
            }
            EventKind::Added | EventKind::Modified => {
                let Some(pod) = self.mine(object) else { return };
                match self.handles.get(&uid) {
                    Some(handle) => {
                        let _ = handle.inbox.send(Message::Update(pod));
                    }
                    None => self.assign(pod, None),
                }
            }
        }
    }

    /// The pod no longer counts, before a pod that comes after it is looked at.
    fn remove(&self, uid: &str, handle: &Handle) {
        self.shared.bookings.lock().release(uid);
        let _ = handle.inbox.send(Message::Removed);
    }

    /// The watch fell behind: what it missed is the difference to what is there now.
    fn list_again(&mut self) -> Watch {
        let (snapshot, watch) = self.shared.store.list_watch(scope("pods"));
        let objects: Vec<Arc<Object>> = snapshot.list(&scope("pods")).cloned().collect();
        let present: HashSet<&str> = objects.iter().map(|o| &*o.meta.uid).collect();
        for (uid, handle) in &self.handles {
            if !present.contains(uid.as_str()) {
                self.remove(uid, handle);
            }
        }
        for object in &objects {
            self.pod_event(EventKind::Modified, object);
        }
        watch
    }

    fn reference_changed(&self, object: &Object, of: impl Fn(&References) -> &Vec<String>) {
        for handle in self.handles.values().filter(|h| *h.namespace == *object.key.namespace) {
            if of(&handle.references).iter().any(|name| **name == *object.key.name) {
                let _ = handle.inbox.send(Message::ReferenceChanged);
            }
        }
    }

    fn all_changed(&self, resource: &str) -> Watch {
        for handle in self.handles.values().filter(|h| h.references.any()) {
            let _ = handle.inbox.send(Message::ReferenceChanged);
        }
        self.shared.store.list_watch(scope(resource)).1
    }

    fn runtime_event(&self, event: RuntimeEvent) {
        let (PodUid(uid), message) = match event {
            RuntimeEvent::Exited { pod_uid, container, exit } => {
                (pod_uid, Message::Exited { id: container.0.to_string(), exit })
            }
            RuntimeEvent::SandboxLost { pod_uid } => (pod_uid, Message::SandboxLost),
        };
        if let Some(handle) = self.handles.get(&*uid) {
            let _ = handle.inbox.send(message);
        }
    }

    async fn worker_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(uid) = self.tasks.remove(&id) else { return };
        self.handles.remove(&uid);
        let Err(error) = ended else { return };
        tracing::error!(pod = uid, %error, "pod worker failed and is replaced");
        let sandboxes = self.shared.runtime.sandboxes().await.unwrap_or_default();
        let found = sandboxes.into_iter().find(|s| s.spec.pod_uid == uid);
        let snapshot = self.shared.store.snapshot();
        let object = snapshot.list(&scope("pods")).find(|o| *o.meta.uid == *uid).cloned();
        match object.and_then(|o| self.mine(&o)) {
            Some(pod) => self.assign(pod, found),
            None => remove_orphans(self.shared.clone(), found.into_iter().collect(), self.known()).await,
        }
    }

    fn known(&self) -> HashSet<String> {
        self.handles.keys().cloned().collect()
    }
}

/// Sandboxes, directories and logs of pods that are not wanted any more. Logs of pods that were never here (another
/// node agent may use the same directory) are left alone.
async fn remove_orphans(shared: Arc<Shared>, orphans: Vec<SandboxInfo>, wanted: HashSet<String>) {
    let pods = shared.config.state_dir.join("pods");
    let mut gone: HashSet<String> =
        names_in(&pods).await.into_iter().filter(|n| !wanted.contains(n)).collect();
    for orphan in orphans {
        let spec = orphan.spec;
        if let Err(error) = sandbox::tear_down(shared.clone(), spec.pod_uid.clone()).await {
            tracing::warn!(pod = spec.name, error, "former pod was not removed");
        }
        gone.insert(spec.pod_uid);
    }
    for name in names_in(&shared.config.log_dir).await {
        if name.rsplit('_').next().is_some_and(|uid| gone.contains(uid)) {
            let logs = shared.config.log_dir.join(&name);
            links::remove(&shared.config.log_dir, &logs).await;
            let _ = tokio::fs::remove_dir_all(logs).await;
        }
    }
    for uid in &gone {
        if let Err(error) = crate::volumes::tear_down(pods.join(uid)).await {
            tracing::warn!(pod = uid, %error, "directory of a former pod was not removed");
        }
    }
}

async fn names_in(dir: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return names };
    while let Ok(Some(entry)) = entries.next_entry().await {
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names
}
