//! The port of a pod that a Service's port leads to, and the pods of a Service.

use std::sync::Arc;

use coracle_client::selector::Selector;
use coracle_store::{Event, Reader, Snapshot};
use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{error::ControllerError, key::ObjectKey, read};

/// `None`: the pod has no port of that name.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        Some(IntOrString::Int(0)) | None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_ref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|port| port.container_port)
}

/// `None`: endpoints of this Service are made by somebody else, or there are none.
pub fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then(|| Selector::from_map(selector))
}

pub fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    address.is_empty() || address == "None"
}

pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The pods that a Service selects, in the order of their names.
pub fn pods(
    snapshot: &Snapshot,
    namespace: &str,
    selector: &Selector,
) -> Result<Vec<Arc<Pod>>, ControllerError> {
    read::list::<Pod>(snapshot, "pods", "Pod", Some(namespace), |object| {
        selector.matches(&*object.meta.labels)
    })
}

/// The Services that select the pod, now or before the change.
pub fn services_of_pod(reader: &Reader, event: &Event) -> Vec<ObjectKey> {
    if is_no_news(event) {
        return Vec::new();
    }
    let versions = [Some(&event.object), event.previous.as_ref()];
    read::keys::<Service>(reader, "services", &event.object.key.namespace, |service| {
        selector(service).is_some_and(|selector| {
            versions.iter().flatten().any(|object| selector.matches(&*object.meta.labels))
        })
    })
}

/// Nothing that an endpoint shows has changed.
fn is_no_news(event: &Event) -> bool {
    let Some(previous) = &event.previous else { return false };
    let (Ok(now), Ok(before)) = (event.object.decode::<Pod>(), previous.decode::<Pod>()) else {
        return false;
    };
    let shown = |pod: &Pod| {
        let ips = pod.status.as_ref().map(|status| (status.pod_ip.clone(), status.pod_ips.clone()));
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        (ips, node, crate::pods::is_ready(pod), crate::pods::is_finished(pod))
    };
    event.kind == coracle_store::EventKind::Modified
        && event.object.meta.labels == previous.meta.labels
        && now.metadata.deletion_timestamp == before.metadata.deletion_timestamp
        && shown(&now) == shown(&before)
}

/// The host name under which a headless Service knows the pod.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain == service.metadata.name && pod.metadata.namespace == service.metadata.namespace)
        .then_some(hostname)
}

/// Since when the endpoints should be as they are: the last change of a pod's readiness, or the Service's creation.
pub fn trigger_time(service: &Service, pods: &[Arc<Pod>]) -> Option<String> {
    let times =
        pods.iter().filter_map(|pod| crate::pods::condition(pod, "Ready")?.last_transition_time.clone());
    let created = service.metadata.creation_timestamp.clone();
    times.chain(created).map(|time| time.0).max().map(|time| time.to_string())
}
