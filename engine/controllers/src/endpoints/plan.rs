//! The Endpoints object that a Service should have. Pure.
//!
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1/

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{
        EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{pods, service_ports};

pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MAX_ADDRESSES: usize = 1000;

/// `None`: `existing` is right as it is.
pub fn plan(service: &Service, selected: &[Arc<Pod>], existing: Option<&Endpoints>) -> Option<Endpoints> {
    let mut subsets = subsets(service, selected);
    let truncated = truncate(&mut subsets);
    let labels = labels(service);
    if let Some(existing) = existing {
        let over = existing.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(OVER_CAPACITY));
        let same = existing.subsets.clone().unwrap_or_default() == subsets
            && existing.metadata.labels.as_ref() == Some(&labels)
            && over == truncated;
        if same {
            return None;
        }
    }
    let mut metadata = existing.map(|existing| existing.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        ..Default::default()
    });
    metadata.labels = Some(labels);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    if let Some(time) = service_ports::trigger_time(service, selected) {
        annotations.insert(TRIGGER_TIME.to_owned(), time);
    }
    Some(Endpoints { metadata, subsets: Some(subsets) })
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if service_ports::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PortKey(Option<String>, i32, Option<String>, Option<String>);

/// Addresses with equal ports share a subset.
fn subsets(service: &Service, selected: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let tolerates_unready = service_ports::publishes_not_ready(service);
    let mut groups: BTreeMap<Vec<PortKey>, EndpointSubset> = BTreeMap::new();
    for pod in selected {
        let Some(address) = address(service, pod) else { continue };
        if pods::is_terminating(pod) && !tolerates_unready {
            continue;
        }
        let ready = tolerates_unready || pods::is_ready(pod);
        if !ready && !may_become_ready(pod) || pods::is_finished(pod) {
            continue;
        }
        let mut ports = ports(service, pod);
        ports.sort_by_key(port_key);
        // A Service with ports leads nowhere on a pod that has none of them.
        if ports.is_empty() && !(service_ports::is_headless(service) && has_no_ports(service)) {
            continue;
        }
        let subset = groups.entry(ports.iter().map(port_key).collect()).or_default();
        subset.ports = (!ports.is_empty()).then_some(ports);
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    for subset in groups.values_mut() {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
    }
    groups.into_values().collect()
}

fn has_no_ports(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty)
}

fn may_become_ready(pod: &Pod) -> bool {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    match policy {
        Some("Never") => !pods::is_finished(pod),
        Some("OnFailure") => pods::phase(pod) != "Succeeded",
        _ => true,
    }
}

/// Of the Service's first address family.
fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let family = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()?.first().cloned());
    let six = family.as_deref() == Some("IPv6");
    let status = pod.status.as_ref()?;
    let addresses = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let ip = addresses.into_iter().find(|ip| !ip.is_empty() && ip.contains(':') == six)?;
    Some(EndpointAddress {
        ip: ip.clone(),
        hostname: service_ports::hostname(pod, service),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..Default::default()
        }),
    })
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: service_ports::target_port(pod, port)?,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.into_iter().flatten().filter_map(port).collect()
}

fn port_key(port: &EndpointPort) -> PortKey {
    PortKey(port.name.clone(), port.port, port.protocol.clone(), port.app_protocol.clone())
}

/// Ready addresses go before others; what exceeds the limit is cut.
fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let mut room = MAX_ADDRESSES;
    let mut cut = false;
    for ready in [true, false] {
        for subset in subsets.iter_mut() {
            let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
            if let Some(list) = list {
                cut |= list.len() > room;
                list.truncate(room);
                room -= list.len();
            }
        }
    }
    cut
}
