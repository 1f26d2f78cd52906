//! Ends the pods of a node that is taken down, with no API left: preStop hooks and stop signals as at a node shutdown,
//! all pods at once.
//!
//! Reads:     events of the runtime; the stop signals of images.
//! Invariant: no container is killed here: what outlives its time is the caller's to remove.
//! Source:    https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/

use std::{collections::HashMap, time::Duration};

use coracle_runtime::{ContainerId, ContainerInfo, Runtime, RuntimeEvent, SandboxInfo, images::ImageStore};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    hooks,
    pod::stop::{MIN_AFTER_HOOK, stop_signal},
    resources::is_sidecar,
};

/// Of a pod that does not say.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A pod that runs here, and what the API knew of it; without that its containers get SIGTERM and the default grace.
pub struct Ending {
    pub sandbox: SandboxInfo,
    pub pod: Option<Pod>,
}

impl Ending {
    fn running(&self) -> impl Iterator<Item = &ContainerInfo> {
        self.sandbox.containers.iter().filter(|it| it.is_running())
    }

    fn grace(&self) -> Duration {
        let pod = self.pod.as_ref();
        let own = pod.and_then(|pod| pod.spec.as_ref()?.termination_grace_period_seconds);
        let seconds = pod.and_then(|pod| pod.metadata.deletion_grace_period_seconds).or(own);
        Duration::from_secs(u64::try_from(seconds.unwrap_or(DEFAULT_GRACE_SECONDS)).unwrap_or(0))
    }

    /// Containers that end at the same time, in turn: sidecars after those whom they serve, the last one first.
    fn turns(&self) -> Vec<Vec<(&ContainerInfo, Option<&Container>)>> {
        let spec = self.pod.as_ref().and_then(|pod| pod.spec.as_ref());
        let init: Vec<&Container> =
            spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten()).collect();
        let (mut first, mut sidecars) = (Vec::new(), Vec::new());
        for info in self.running() {
            let place = init.iter().position(|it| it.name == info.name);
            match place.filter(|place| is_sidecar(init[*place])) {
                Some(place) => sidecars.push((place, info)),
                None => {
                    let mut all = spec.into_iter().flat_map(|spec| &spec.containers);
                    first.push((info, all.find(|it| it.name == info.name)));
                }
            }
        }
        sidecars.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        let sidecars = sidecars.into_iter().map(|(place, info)| vec![(info, Some(init[place]))]);
        [first].into_iter().chain(sidecars).collect()
    }
}

/// Asks every container to end and waits, for each pod's grace period and at most for `limit`; a pod whose preStop hook
/// takes all of it gets two seconds more.
/// `events` are those of `runtime` since it was opened.
pub async fn end_pods(
    runtime: &Runtime,
    images: &ImageStore,
    pods: &[Ending],
    mut events: mpsc::Receiver<RuntimeEvent>,
    limit: Duration,
) {
    let names = pods.iter().flat_map(Ending::running).map(|info| (info.id.clone(), CancellationToken::new()));
    let ended: HashMap<ContainerId, CancellationToken> = names.collect();
    let listen = async {
        while let Some(event) = events.recv().await {
            match event {
                RuntimeEvent::Exited { container, .. } => {
                    ended.get(&container).inspect(|it| it.cancel());
                }
                RuntimeEvent::SandboxLost { pod_uid } => {
                    let lost = pods.iter().filter(|it| it.sandbox.spec.pod_uid == *pod_uid.0);
                    lost.flat_map(Ending::running).for_each(|info| ended[&info.id].cancel());
                }
            }
        }
        std::future::pending().await
    };
    let begun = Instant::now();
    let end_all = join_all(pods.iter().map(async |pod| {
        let deadline = begun + pod.grace().min(limit);
        for turn in pod.turns() {
            let ends = turn.into_iter().map(|(info, container)| {
                let ip = pod.pod.as_ref().and_then(|pod| pod.status.as_ref()?.pod_ip.as_deref());
                let one =
                    One { runtime, info, container, ip: ip.unwrap_or_default(), ended: &ended[&info.id] };
                one.end(images, deadline)
            });
            join_all(ends).await;
        }
    }));
    tokio::select! {
        _ = end_all => {}
        () = listen => {}
    }
}

struct One<'a> {
    runtime: &'a Runtime,
    info: &'a ContainerInfo,
    container: Option<&'a Container>,
    ip: &'a str,
    ended: &'a CancellationToken,
}

impl One<'_> {
    async fn end(self, images: &ImageStore, mut deadline: Instant) {
        let lifecycle = self.container.and_then(|it| it.lifecycle.as_ref());
        if let (Some(container), Some(hook)) = (self.container, lifecycle.and_then(|it| it.pre_stop.as_ref()))
        {
            let (id, limit) = (&self.info.id, Duration::MAX);
            let run = hooks::handle(self.runtime, id, self.ip, container, hook, limit);
            let outcome = tokio::select! {
                () = self.ended.cancelled() => return,
                outcome = timeout_at(deadline, run) => outcome.unwrap_or(Err("timed out".to_owned())),
            };
            if let Err(error) = outcome {
                tracing::warn!(container = self.info.name, error, "a preStop hook failed");
            }
            deadline = deadline.max(Instant::now() + MIN_AFTER_HOOK);
        }
        let signal = stop_signal(images, self.container, &self.info.image_id).await;
        let sent = self.runtime.signal_container(&self.info.id, signal).await;
        if let Err(error) = sent {
            tracing::warn!(container = self.info.name, error = crate::chain(&error), "no signal was sent");
            return;
        }
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = sleep_until(deadline) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::{ContainerState, PodUid, SandboxSpec};
    use serde_json::json;

    fn ending(pod: serde_json::Value, running: &str) -> Ending {
        let spec: SandboxSpec = serde_json::from_value(json!({
            "pod_uid": "u", "namespace": "n", "name": "p", "hostname": "p", "private_network": true,
            "host_pid": false, "host_ipc": false, "share_process_namespace": false, "sysctls": {},
            "cgroup": "c", "resources": {}, "log_dir": "/"
        }))
        .unwrap();
        let container = |name: &str| ContainerInfo {
            id: ContainerId(name.into()),
            pod_uid: PodUid("u".into()),
            name: name.to_owned(),
            attempt: 0,
            image: String::new(),
            image_id: String::new(),
            user: Default::default(),
            state: ContainerState::Running { pid: 1, started_at: 0 },
            log_path: "/".into(),
        };
        let containers = running.split(' ').map(container).collect();
        let sandbox = SandboxInfo { spec, alive: true, netns: None, containers };
        Ending { sandbox, pod: serde_json::from_value(pod).unwrap() }
    }

    #[test]
    fn sidecars_end_after_the_containers_that_they_serve() {
        let spec = json!({"spec": {
            "initContainers": [
                {"name": "i"}, {"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}
            ],
            "containers": [{"name": "a"}, {"name": "b"}]
        }});
        for (pod, running, expected) in [
            (spec.clone(), "s1 a s2 b", "a b, s2, s1"),
            (spec.clone(), "s1 i", "i, s1"),
            (json!(null), "s1 a", "s1 a"),
        ] {
            let ending = ending(pod, running);
            let turns = ending.turns();
            let names = |turn: &Vec<(&ContainerInfo, _)>| {
                turn.iter().map(|(info, _)| info.name.as_str()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(turns.iter().map(names).collect::<Vec<_>>().join(", "), expected, "{running}");
        }
    }

    #[test]
    fn a_pod_gets_its_own_grace_period() {
        for (pod, seconds) in [
            (json!(null), 30),
            (json!({"spec": {"containers": []}}), 30),
            (json!({"spec": {"containers": [], "terminationGracePeriodSeconds": 5}}), 5),
            (
                json!({"metadata": {"deletionGracePeriodSeconds": 2}, "spec": {"containers": [], "terminationGracePeriodSeconds": 5}}),
                2,
            ),
        ] {
            assert_eq!(ending(pod, "a").grace(), Duration::from_secs(seconds));
        }
    }
}
