//! Which container of a Pod is meant, and whether it has logs.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/pod/strategy.go (`LogLocation`) and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet_pods.go (`validateContainerLogStatus`)

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::status::Status;

/// The named container, or the only one there is.
pub fn choose(pod: &Pod, asked: Option<&str>) -> Result<String, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let regular: Vec<&str> =
        spec.map(|spec| spec.containers.iter().map(|one| one.name.as_str()).collect()).unwrap_or_default();
    let init: Vec<&str> = spec
        .and_then(|spec| spec.init_containers.as_ref())
        .map(|list| list.iter().map(|one| one.name.as_str()).collect())
        .unwrap_or_default();
    let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref());
    match asked {
        Some(asked) => {
            let known = regular.contains(&asked)
                || init.contains(&asked)
                || ephemeral.is_some_and(|list| list.iter().any(|one| one.name == asked));
            if known {
                Ok(asked.to_owned())
            } else {
                Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")))
            }
        }
        None => match &regular[..] {
            [only] => Ok((*only).to_owned()),
            [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
            several => {
                let mut text = format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    several.join(" ")
                );
                if !init.is_empty() {
                    text = format!("{text} or one of the init containers: [{}]", init.join(" "));
                }
                Err(Status::bad_request(text))
            }
        },
    }
}

/// Whether there can be logs of the container: a running or ended one, or with `previous` the one before it.
pub fn has_logs(pod: &Pod, container: &str, previous: bool) -> Result<(), Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let refuse =
        |why: String| Err(Status::bad_request(format!("container {container:?} in pod {name:?} {why}")));
    let Some(status) = container_status(pod, container) else { return refuse("is not available".into()) };
    let ended_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    if previous {
        let text = format!("previous terminated container {container:?} in pod {name:?} not found");
        return if ended_before { Ok(()) } else { Err(Status::bad_request(text)) };
    }
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() || state.terminated.is_some() || ended_before {
        return Ok(());
    }
    match state.waiting.and_then(|waiting| waiting.reason).as_deref() {
        Some("ErrImagePull") => refuse("is waiting to start: image can't be pulled".into()),
        Some("ImagePullBackOff") => refuse("is waiting to start: trying and failing to pull image".into()),
        Some(reason) => refuse(format!("is waiting to start: {reason}")),
        None => refuse("is waiting to start - no logs yet".into()),
    }
}

fn container_status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .find(|status| status.name == container)
}
