//! Sandboxes and containers: the daemon's side of the shims.
//!
//! Kept true: what this process knows can be found again on disk and from the shims; nothing here is the only copy.
//! Reads:     `<state_dir>/pods`, the shims' answers.
//! Writes:    records, cgroups; starts shims. Tells ends of containers and losses of shims as `RuntimeEvent`s.

mod link;
mod pods;
mod sandboxes;
mod sessions;
mod terminal;
mod watch;

use std::{collections::HashMap, ffi::OsString, path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::*;
use crate::cgroup::Cgroups;
use crate::images::{ImageError, ImageStore};
use crate::protocol::{Reply, Request};
pub use crate::record::users_of_image;
use crate::record::{ContainerRecord, PodDirectory, SandboxRecord, container_cgroup, now_unix_ms};
use pods::{Container, Pod};

#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Durable state: bundles, exit codes, overlay upper directories.
    pub state_dir: PathBuf,
    /// Sockets and pinned namespaces; emptied by a reboot (`/run/coracle`).
    pub run_dir: PathBuf,
    /// The cgroup below which all pods live: `/coracle` gives `/coracle/burstable/pod<uid>/<container>`.
    pub cgroup_root: String,
    /// Log files are rotated at this size, and this many are kept.
    pub log_max_bytes: u64,
    pub log_max_files: usize,
    /// The program that is started as `… shim` and calls `dispatch`: this one, `/proc/self/exe`.
    pub executable: PathBuf,
}

/// Where a container's root file system comes from.
pub trait Layers: Send + Sync {
    /// Unpacked layer directories, lowest first.
    fn layers(&self, image_id: String) -> BoxFuture<'_, Result<Vec<PathBuf>, ImageError>>;
}

impl Layers for ImageStore {
    fn layers(&self, image_id: String) -> BoxFuture<'_, Result<Vec<PathBuf>, ImageError>> {
        Box::pin(async move { ImageStore::layers(self, &image_id).await })
    }
}

#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

pub(crate) struct Inner {
    config: RuntimeConfig,
    layers: Box<dyn Layers>,
    cgroups: Cgroups,
    events: mpsc::Sender<RuntimeEvent>,
    pods: Mutex<HashMap<PodUid, Pod>>,
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Runtime {
    /// Opens the state, reconnects to the shims that still live and collects what ended meanwhile.
    /// Events go to `events` from then on.
    pub async fn open(
        config: RuntimeConfig,
        images: ImageStore,
        events: mpsc::Sender<RuntimeEvent>,
    ) -> Result<Runtime, RuntimeError> {
        Self::open_with_layers(config, Box::new(images), events).await
    }

    /// As `open`, with layers from elsewhere than an image store.
    pub async fn open_with_layers(
        config: RuntimeConfig,
        layers: Box<dyn Layers>,
        events: mpsc::Sender<RuntimeEvent>,
    ) -> Result<Runtime, RuntimeError> {
        let cgroups = Cgroups::detect().map_err(failed("find cgroups of", "this machine"))?;
        let stop = CancellationToken::new();
        let runtime = Runtime(Arc::new(Inner {
            config,
            layers,
            cgroups,
            events,
            pods: Mutex::default(),
            tasks: Mutex::default(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }));
        runtime.recover().await?;
        Ok(runtime)
    }

    pub async fn sandboxes(&self) -> Result<Vec<SandboxInfo>, RuntimeError> {
        Ok(self.0.pods.lock().values().map(Pod::info).collect())
    }

    /// Updates the pod's cgroup, e.g. when its containers' limits are known or changed.
    pub async fn update_resources(&self, pod: &PodUid, resources: &Resources) -> Result<(), RuntimeError> {
        let path = self.with_pod(pod, |pod| pod.record.cgroup.clone())?;
        let result = self.0.cgroups.apply(&path, resources);
        result.map_err(failed("update resources of", &pod.0))
    }

    /// Mounts the root file system and creates the container, not started.
    /// What is wrong with its program or mounts is told by `start_container`, as on a stock node.
    pub async fn create_container(&self, spec: ContainerSpec) -> Result<ContainerInfo, RuntimeError> {
        let uid = PodUid(spec.pod_uid.as_str().into());
        let (directory, sandbox) = self.with_pod(&uid, |pod| (pod.directory.clone(), pod.record.clone()))?;
        let layers = self.0.layers.layers(spec.image_id.clone()).await;
        let layers = layers.map_err(|error| RuntimeError::Refused { message: error.to_string() })?;
        check_seccomp(&spec)?;
        let id = ContainerId(random_id().into());
        let log = sandbox.spec.log_dir.join(&spec.name).join(format!("{}.log", spec.attempt));
        let created_at_unix_ms = now_unix_ms();
        let record = ContainerRecord { id: id.0.to_string(), spec, layers, log, created_at_unix_ms };
        let cgroup = container_cgroup(&sandbox.cgroup, &id.0);
        self.prepare_container(&directory, &record, &cgroup)
            .map_err(failed("prepare container", &record.spec.name))?;
        match link::request(&sandbox.run, &Request::Create { id: record.id.clone() }).await {
            Ok(Reply::Done) => {}
            Ok(Reply::Failed { message }) => {
                let _ = sandboxes::delete_container(&self.0.cgroups, &directory, &sandbox, &id.0);
                return Err(RuntimeError::Refused { message });
            }
            other => return Err(unexpected("create container", &record.spec.name, other)),
        }
        let container = Container { record, state: ContainerState::Created };
        let info = container.info(&uid);
        self.with_pod(&uid, |pod| pod.containers.insert(id, container))?;
        Ok(info)
    }

    fn prepare_container(
        &self,
        pod: &PodDirectory,
        record: &ContainerRecord,
        cgroup: &str,
    ) -> std::io::Result<()> {
        let directory = pod.container(&record.id);
        std::fs::create_dir_all(&directory.0)?;
        crate::record::write(&directory.0.join("container.json"), record)?;
        self.0.cgroups.create(cgroup)?;
        self.0.cgroups.apply(cgroup, &record.spec.resources)?;
        self.0.cgroups.kill_as_one(cgroup);
        Ok(())
    }

    pub async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let (uid, sandbox) = self.find(id)?;
        match link::request(&sandbox.run, &Request::Start { id: id.0.to_string() }).await {
            Ok(Reply::Started { pid, started_at_unix_ms }) => self.with_pod(&uid, |pod| {
                // Its end may have been told already.
                if let Some(container) = pod.containers.get_mut(id)
                    && container.state == ContainerState::Created
                {
                    container.state = ContainerState::Running { pid, started_at: started_at_unix_ms };
                }
            }),
            Ok(Reply::Failed { message }) => {
                self.with_pod(&uid, |pod| pod.refresh(id))?;
                Err(RuntimeError::Refused { message })
            }
            other => Err(unexpected("start container", &id.0, other)),
        }
    }

    /// To the container's first process; SIGKILL to all of its processes.
    pub async fn signal_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let (_, sandbox) = self.find(id)?;
        match link::request(&sandbox.run, &Request::Signal { id: id.0.to_string(), signal }).await {
            Ok(Reply::Done | Reply::NoSuchContainer) => Ok(()),
            other => Err(unexpected("signal container", &id.0, other)),
        }
    }

    /// Of a stopped (or never started) container: unmounts and forgets it. Logs stay.
    pub async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok((uid, sandbox)) = self.find(id) else { return Ok(()) };
        let (directory, alive) = self.with_pod(&uid, |pod| (pod.directory.clone(), pod.alive))?;
        if alive {
            for request in [
                Request::Signal { id: id.0.to_string(), signal: libc::SIGKILL },
                Request::Remove { id: id.0.to_string() },
            ] {
                match link::request(&sandbox.run, &request).await {
                    Ok(Reply::Done | Reply::NoSuchContainer) => {}
                    other => return Err(unexpected("remove container", &id.0, other)),
                }
            }
        }
        let (inner, name) = (self.0.clone(), id.clone());
        blocking(move || sandboxes::delete_container(&inner.cgroups, &directory, &sandbox, &name.0))
            .await
            .map_err(failed("remove container", &id.0))?;
        self.with_pod(&uid, |pod| pod.containers.remove(id)).map(|_| ())
    }

    pub async fn container_usage(&self, id: &ContainerId) -> Result<Usage, RuntimeError> {
        let (_, sandbox) = self.find(id)?;
        let usage = self.0.cgroups.usage(&container_cgroup(&sandbox.cgroup, &id.0));
        usage.map_err(failed("read usage of container", &id.0))
    }

    pub async fn pod_usage(&self, pod: &PodUid) -> Result<Usage, RuntimeError> {
        let path = self.with_pod(pod, |pod| pod.record.cgroup.clone())?;
        self.0.cgroups.usage(&path).map_err(failed("read usage of pod", &pod.0))
    }

    fn with_pod<T>(&self, uid: &PodUid, action: impl FnOnce(&mut Pod) -> T) -> Result<T, RuntimeError> {
        let mut pods = self.0.pods.lock();
        pods.get_mut(uid).map(action).ok_or_else(|| RuntimeError::NoSuchSandbox(uid.0.to_string()))
    }

    fn find(&self, id: &ContainerId) -> Result<(PodUid, SandboxRecord), RuntimeError> {
        let pods = self.0.pods.lock();
        let found = pods.iter().find(|(_, pod)| pod.containers.contains_key(id));
        found
            .map(|(uid, pod)| (uid.clone(), pod.record.clone()))
            .ok_or_else(|| RuntimeError::NoSuchContainer(id.0.to_string()))
    }

    /// A task that ends with this runtime.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        let mut tasks = self.0.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

fn failed(action: &'static str, subject: &str) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let subject = subject.to_owned();
    move |source| RuntimeError::Failed { action, subject, source }
}

fn unexpected(action: &'static str, subject: &str, result: std::io::Result<Reply>) -> RuntimeError {
    match result {
        Err(source) => failed(action, subject)(source),
        Ok(Reply::Failed { message }) => RuntimeError::Refused { message },
        Ok(Reply::NoSuchContainer) => RuntimeError::NoSuchContainer(subject.to_owned()),
        Ok(reply) => failed(action, subject)(std::io::Error::other(format!("the shim answered {reply:?}"))),
    }
}

/// A profile that cannot be used is told when the container is made, as on a stock node.
fn check_seccomp(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    if !matches!(spec.seccomp, Seccomp::Localhost(_)) {
        return Ok(());
    }
    let message = |error| format!("failed to generate seccomp spec opts: {error}");
    crate::seccomp::Filters::compile(&spec.seccomp, Default::default())
        .map(|_| ())
        .map_err(|error| RuntimeError::Refused { message: message(error) })
}

/// For the file and process work that would hold up the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// 64 hexadecimal digits.
fn random_id() -> String {
    let bytes: [u8; 32] = ring::rand::generate(&ring::rand::SystemRandom::new())
        .map(|random| random.expose())
        .unwrap_or_else(|_| {
            // The kernel's generator does not fail; two UUIDs are as unique.
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&now_unix_ms().to_le_bytes());
            bytes
        });
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Entry points of the re-executed binary, called first thing in `main` before any other initialisation:
/// returns `Some(exit code)` when the arguments are those of `coracle shim …` or `coracle create …`.
/// `args` are all of the process's arguments, its name first.
pub fn dispatch(args: &[OsString]) -> Option<i32> {
    match args.get(1)?.to_str()? {
        "shim" => Some(crate::shim::main(&args[2..])),
        "create" if matches!(args.get(2)?.to_str()?, "container" | "exec" | "pause") => {
            Some(crate::create::main(&args[2..]))
        }
        _ => None,
    }
}
