//! Joins what the runtime found running with what the API remembers, after a start of this process.
//!
//! Invariant: pure; the newest attempt of a container is its current one.

use coracle_runtime::{ContainerInfo, ContainerState, SandboxInfo};
use k8s_openapi::api::core::v1::Pod;

use super::exit;
use super::observed::{Observed, Sandbox, Stage, State};
use crate::clock::Millis;
use crate::resources::all_containers;

/// What the runtime says of a container whose end nobody saw.
const LOST_CODE: i32 = 255;

fn adopt_container(observed: &mut Observed, info: &ContainerInfo, lost: bool) {
    let Some(seen) = observed.containers.get_mut(&info.name) else { return };
    if info.state == ContainerState::Created {
        // Made but never started: as if it were not there.
        return;
    }
    let before = match &seen.state {
        State::Exited(ended) => Some(ended.clone()),
        _ => None,
    };
    // A start that the API never heard of makes what it remembers the last state.
    if before.as_ref().is_some_and(|b| b.id != *info.id.0) {
        seen.last = before.clone();
    }
    seen.created = true;
    // The API may not have heard of this start yet.
    if seen.image_id.as_deref().unwrap_or_default().is_empty() {
        (seen.image, seen.image_id) = (Some(info.image.clone()), Some(info.image_id.clone()));
    }
    seen.user = Some(info.user.clone());
    seen.restart_count = i32::try_from(info.attempt).unwrap_or(i32::MAX).max(seen.restart_count);
    seen.state = match &info.state {
        ContainerState::Running { started_at, .. } => {
            State::Running { id: info.id.0.to_string(), started_at: *started_at }
        }
        ContainerState::Exited(exit) => {
            let mut ended = exit::terminated(&info.id.0, exit);
            if lost && ended.code == LOST_CODE {
                ended.reason = "Unknown".to_owned();
            }
            if let Some(known) = before.filter(|b| b.id == ended.id) {
                ended.message = known.message.or(ended.message);
            }
            State::Exited(ended)
        }
        ContainerState::Created => return,
    };
    if !seen.is_running() {
        (seen.started, seen.ready) = (false, false);
    }
}

/// What no probe decides holds of a running container: the API may have it from before its start was done.
fn take_unprobed(observed: &mut Observed, pod: &Pod) {
    for container in pod.spec.iter().flat_map(all_containers) {
        let Some(seen) = observed.containers.get_mut(&container.name).filter(|c| c.is_running()) else {
            continue;
        };
        seen.started |= container.startup_probe.is_none();
        seen.ready |= container.readiness_probe.is_none();
    }
}

/// What is the case for a pod that is still wanted. The address of a living sandbox comes from the network later.
pub fn observe(pod: &Pod, found: Option<&SandboxInfo>, now: Millis) -> Observed {
    let mut observed = Observed::from_api(pod);
    observed.start_time = observed.start_time.or(Some(now));
    let Some(sandbox) = found else {
        // What the API calls running is gone with its sandbox.
        let status = pod.status.clone().unwrap_or_default();
        let known = status
            .container_statuses
            .into_iter()
            .flatten()
            .chain(status.init_container_statuses.into_iter().flatten());
        for status in known {
            let running = status.state.and_then(|s| s.running);
            if let (Some(running), Some(seen)) = (running, observed.containers.get_mut(&status.name)) {
                let id = super::observed::bare_id(status.container_id.as_deref());
                let started_at = running.started_at.as_ref().map_or(0, crate::clock::from_time);
                seen.state = State::Running { id, started_at };
            }
        }
        observed.sandbox_lost(now);
        return observed;
    };
    let mut containers: Vec<&ContainerInfo> = sandbox.containers.iter().collect();
    containers.sort_by_key(|c| c.attempt);
    for info in containers {
        adopt_container(&mut observed, info, !sandbox.alive);
    }
    take_unprobed(&mut observed, pod);
    if sandbox.alive {
        observed.sandbox = Sandbox::Ready { ip: None };
        observed.volumes = Stage::Done;
        observed.refresh_volumes_at = Some(now);
    } else {
        observed.sandbox_lost(now);
    }
    observed
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::{ContainerId, PodUid, Resources, SandboxSpec, User};
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [{"name": "a"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 1, "ready": true, "started": true,
                "image": "i", "imageID": "d", "containerID": "containerd://old", "state": {"running": {"startedAt": "2026-11-23T07:00:00Z"}}}]}
        }))
        .unwrap()
    }

    fn sandbox(alive: bool, state: ContainerState) -> SandboxInfo {
        SandboxInfo {
            spec: SandboxSpec {
                pod_uid: "u".into(),
                namespace: "ns".into(),
                name: "p".into(),
                hostname: "p".into(),
                private_network: true,
                host_pid: false,
                host_ipc: false,
                share_process_namespace: false,
                sysctls: Default::default(),
                cgroup: String::new(),
                resources: Resources::default(),
                log_dir: "/".into(),
            },
            alive,
            netns: None,
            containers: vec![ContainerInfo {
                id: ContainerId("old".into()),
                pod_uid: PodUid("u".into()),
                name: "a".into(),
                attempt: 1,
                image: "i".into(),
                image_id: "d".into(),
                user: Default::default(),
                state,
                log_path: "/".into(),
            }],
        }
    }

    #[test]
    fn a_running_container_is_adopted_as_it_was() {
        let found = sandbox(true, ContainerState::Running { pid: 1, started_at: 5 });
        let observed = observe(&pod(), Some(&found), 100);
        let a = &observed.containers["a"];
        assert_eq!(a.state, State::Running { id: "old".into(), started_at: 5 });
        assert!(a.ready && a.started && a.restart_count == 1);
        assert_eq!((observed.sandbox, observed.volumes), (Sandbox::Ready { ip: None }, Stage::Done));
    }

    #[test]
    fn a_container_whose_start_was_not_told_is_started_and_ready_unless_a_probe_says_so() {
        let found = sandbox(true, ContainerState::Running { pid: 1, started_at: 5 });
        let probe = json!({"exec": {"command": ["x"]}});
        for (container, started, ready) in [
            (json!({"name": "a"}), true, true),
            (json!({"name": "a", "startupProbe": probe}), false, true),
            (json!({"name": "a", "readinessProbe": probe}), true, false),
        ] {
            let mut pod = pod();
            pod.status = None;
            pod.spec = serde_json::from_value(json!({"containers": [container]})).unwrap();
            let a = &observe(&pod, Some(&found), 100).containers["a"];
            assert_eq!((a.image.as_deref(), a.image_id.as_deref()), (Some("i"), Some("d")));
            assert_eq!(a.user, Some(User { uid: 0, gid: 0, additional_gids: Vec::new() }));
            assert_eq!((a.started, a.ready), (started, ready), "{container}");
        }
    }

    #[test]
    fn after_a_reboot_containers_have_ended_and_will_be_restarted() {
        let lost = sandbox(false, ContainerState::Running { pid: 1, started_at: 5 });
        for found in [Some(&lost), None] {
            let observed = observe(&pod(), found, 100);
            let a = &observed.containers["a"];
            let State::Exited(ended) = &a.state else { panic!("{:?}", a.state) };
            assert_eq!((ended.code, ended.reason.as_str(), ended.id.as_str()), (255, "Unknown", "old"));
            assert!(!a.ready && a.created && a.restart_count == 1);
            assert_eq!(observed.sandbox, Sandbox::Absent);
        }
    }
}
