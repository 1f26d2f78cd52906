//! One task per pod listens to its shim: ends of containers, and the end of the shim itself.
//!
//! Kept true: a container's state here changes before its event is told.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Inner, Runtime, blocking, link::Link};
use crate::api::*;
use crate::protocol::{Reply, Request};

/// A shim that does not answer for so long is as good as gone.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Runtime {
    /// Subscribes, takes over what the shim says now, and goes on listening.
    pub(super) async fn watch(&self, uid: &PodUid) -> std::io::Result<()> {
        let (run, removing) = self
            .with_pod(uid, |pod| (pod.record.run.clone(), pod.removing.clone()))
            .map_err(std::io::Error::other)?;
        let mut link = Link::connect(&run)?;
        link.send(&Request::Watch, &[]).await?;
        let answer = tokio::time::timeout(TIMEOUT, link.receive()).await;
        let Ok(Ok(Some(Reply::Containers { containers }))) = answer else {
            return Err(std::io::Error::other("the shim does not answer"));
        };
        let _ = self.with_pod(uid, |pod| {
            pod.alive = true;
            for summary in containers {
                let id = ContainerId(summary.id.as_str().into());
                let Some(container) = pod.containers.get_mut(&id) else { continue };
                container.state = match (summary.exit, summary.pid) {
                    (Some(exit), _) => ContainerState::Exited(exit),
                    (None, Some(pid)) => {
                        ContainerState::Running { pid, started_at: summary.started_at_unix_ms }
                    }
                    (None, None) => ContainerState::Created,
                };
            }
        });
        self.spawn(listen(Arc::downgrade(&self.0), uid.clone(), link, removing));
        Ok(())
    }
}

async fn listen(runtime: Weak<Inner>, uid: PodUid, mut link: Link, removing: Arc<AtomicBool>) {
    while let Ok(Some(reply)) = link.receive().await {
        let Reply::Exited { id, exit } = reply else { continue };
        let Some(runtime) = runtime.upgrade().map(Runtime) else { return };
        let container = ContainerId(id.as_str().into());
        let known = runtime.with_pod(&uid, |pod| {
            let known = pod.containers.get_mut(&container);
            known.map(|container| container.state = ContainerState::Exited(exit.clone())).is_some()
        });
        if known.unwrap_or(false) {
            let event = RuntimeEvent::Exited { pod_uid: uid.clone(), container, exit };
            let _ = runtime.0.events.send(event).await;
        }
    }
    let Some(runtime) = runtime.upgrade().map(Runtime) else { return };
    if !removing.load(Ordering::Acquire) {
        runtime.lose(&uid).await;
    }
}

impl Runtime {
    /// The shim is gone: nobody reaps its containers or writes their logs any more, so they end.
    async fn lose(&self, uid: &PodUid) {
        let Ok(cgroup) = self.with_pod(uid, |pod| pod.record.cgroup.clone()) else { return };
        tracing::warn!(pod = %uid.0, "the shim of a pod is gone, its containers are ended");
        let cgroups = self.0.cgroups.clone();
        let _ = blocking(move || {
            cgroups.kill(&cgroup);
            Ok(())
        })
        .await;
        let _ = self.with_pod(uid, |pod| pod.end_all());
        let _ = self.0.events.send(RuntimeEvent::SandboxLost { pod_uid: uid.clone() }).await;
    }
}
