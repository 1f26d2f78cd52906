//! What the daemon knows of pods and containers: a copy of what is on disk and in the shims.

use std::collections::BTreeMap;
use std::sync::{Arc, atomic::AtomicBool};

use crate::api::*;
use crate::record::{self, ContainerDirectory, ContainerRecord, PodDirectory, SandboxRecord};

pub struct Pod {
    pub directory: PodDirectory,
    pub record: SandboxRecord,
    pub alive: bool,
    /// Its shim's end is wanted. Shared with who listens to that shim: another sandbox may have the uid by then.
    pub removing: Arc<AtomicBool>,
    pub containers: BTreeMap<ContainerId, Container>,
}

pub struct Container {
    pub record: ContainerRecord,
    pub state: ContainerState,
}

impl Pod {
    pub fn info(&self) -> SandboxInfo {
        let uid = PodUid(self.record.spec.pod_uid.as_str().into());
        SandboxInfo {
            spec: self.record.spec.clone(),
            alive: self.alive,
            netns: self.record.spec.private_network.then(|| record::namespace(&self.record.run, "net")),
            containers: self.containers.values().map(|container| container.info(&uid)).collect(),
        }
    }

    /// Reads a container's state again from disk.
    pub fn refresh(&mut self, id: &ContainerId) {
        if let Some(container) = self.containers.get_mut(id) {
            container.state = state(&self.directory.container(&id.0));
        }
    }

    /// Ends every container that counts as live: their shim is gone and they with it.
    pub fn end_all(&mut self) {
        self.alive = false;
        for (id, container) in &mut self.containers {
            if matches!(container.state, ContainerState::Exited(_)) {
                continue;
            }
            let directory = self.directory.container(&id.0);
            let exit = lost(&directory);
            // Without the file the same is concluded at the next start.
            let _ = directory.write_exit(&exit);
            container.state = ContainerState::Exited(exit);
        }
    }
}

impl Container {
    pub fn info(&self, pod: &PodUid) -> ContainerInfo {
        ContainerInfo {
            id: ContainerId(self.record.id.as_str().into()),
            pod_uid: pod.clone(),
            name: self.record.spec.name.clone(),
            attempt: self.record.spec.attempt,
            image: self.record.spec.image.clone(),
            image_id: self.record.spec.image_id.clone(),
            user: self.record.spec.user.clone(),
            state: self.state.clone(),
            log_path: self.record.log.clone(),
        }
    }
}

pub fn state(directory: &ContainerDirectory) -> ContainerState {
    if let Some(exit) = directory.exit() {
        return ContainerState::Exited(exit);
    }
    match directory.running() {
        Some(running) => ContainerState::Running { pid: running.pid, started_at: running.started_at_unix_ms },
        None => ContainerState::Created,
    }
}

/// Nobody saw how it ended: containerd reports 255 (`Unknown`) then.
fn lost(directory: &ContainerDirectory) -> Exit {
    Exit {
        code: 255,
        signal: None,
        oom_killed: false,
        started_at_unix_ms: directory.running().map_or(0, |running| running.started_at_unix_ms),
        finished_at_unix_ms: record::now_unix_ms(),
        start_error: None,
    }
}
