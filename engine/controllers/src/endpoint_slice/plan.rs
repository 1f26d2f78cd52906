//! The EndpointSlices that a Service should have. Pure.
//!
//! Invariant: endpoints that stay keep their slice, so that a change of one pod touches one slice.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, ObjectReference, Pod, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{ownership, pods, service_ports};

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const ZONE: &str = "topology.kubernetes.io/zone";
const MAX_ENDPOINTS: usize = 100;

#[derive(Debug, Default)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    /// Names.
    pub delete: Vec<String>,
}

/// Slices differ in address type and in the ports that their endpoints have.
type Group = (String, Vec<PortKey>);
type PortKey = (String, Option<String>, Option<i32>, Option<String>);

pub fn plan(
    service: &Service,
    selected: &[Arc<Pod>],
    nodes: &BTreeMap<String, Arc<Node>>,
    existing: &[Arc<EndpointSlice>],
) -> Plan {
    let mut wanted = wanted(service, selected, nodes);
    let labels = labels(service);
    let mut plan = Plan::default();
    for slice in existing.iter().filter(|slice| slice.metadata.deletion_timestamp.is_none()) {
        let name = slice.metadata.name.clone().unwrap_or_default();
        let Some((_, endpoints)) = wanted.get_mut(&group_of(slice)) else {
            plan.delete.push(name);
            continue;
        };
        let kept = keep(slice, endpoints);
        let changed = slice.endpoints.clone().unwrap_or_default() != kept;
        let relabelled = slice.metadata.labels.as_ref() != Some(&labels);
        if changed || relabelled {
            let mut slice = EndpointSlice::clone(slice);
            slice.endpoints = Some(kept);
            slice.metadata.labels = Some(labels.clone());
            plan.update.push(slice);
        }
    }
    fill(&mut plan, existing, &mut wanted);
    drop_empty(&mut plan, existing);
    for (ports, endpoints) in wanted.into_values() {
        add_slices(&mut plan, service, &labels, ports, endpoints);
    }
    ensure_one(&mut plan, service, &labels, existing);
    if let Some(time) = service_ports::trigger_time(service, selected) {
        for slice in plan.create.iter_mut().chain(&mut plan.update) {
            let annotations = slice.metadata.annotations.get_or_insert_default();
            annotations.insert(TRIGGER_TIME.to_owned(), time.clone());
        }
    }
    plan
}

/// What a group's slices have in common, and its endpoints that have no slice yet.
type Wanted = BTreeMap<Group, ((String, Vec<EndpointPort>), Vec<Endpoint>)>;

fn wanted(service: &Service, selected: &[Arc<Pod>], nodes: &BTreeMap<String, Arc<Node>>) -> Wanted {
    let mut wanted = Wanted::new();
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone());
    for family in families.unwrap_or_else(|| vec!["IPv4".to_owned()]) {
        for pod in selected.iter().filter(|pod| !pods::is_finished(pod)) {
            let Some(address) = address(pod, &family) else { continue };
            let ports = ports(service, pod);
            let group = (family.clone(), ports.iter().map(port_key).collect());
            let entry = wanted.entry(group).or_insert_with(|| ((family.clone(), ports), Vec::new()));
            entry.1.push(endpoint(service, pod, address, nodes));
        }
    }
    wanted
}

fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let fits = |ip: &&String| ip.contains(':') == (family == "IPv6") && !ip.is_empty();
    let listed = status.pod_ips.iter().flatten().map(|ip| &ip.ip);
    listed.chain(&status.pod_ip).find(fits).cloned()
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(service_ports::target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.into_iter().flatten().filter_map(port).collect()
}

fn port_key(port: &EndpointPort) -> PortKey {
    (port.name.clone().unwrap_or_default(), port.protocol.clone(), port.port, port.app_protocol.clone())
}

fn group_of(slice: &EndpointSlice) -> Group {
    (slice.address_type.clone(), slice.ports.iter().flatten().map(port_key).collect())
}

fn endpoint(service: &Service, pod: &Pod, address: String, nodes: &BTreeMap<String, Arc<Node>>) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pods::is_terminating(pod);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let labels = node.as_ref().and_then(|name| nodes.get(name)?.metadata.labels.as_ref());
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(service_ports::publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: service_ports::hostname(pod, service),
        zone: labels.and_then(|labels| labels.get(ZONE)).cloned(),
        node_name: node,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The endpoints of `slice` that are still wanted, in their new form; they are taken out of `endpoints`.
fn keep(slice: &EndpointSlice, endpoints: &mut Vec<Endpoint>) -> Vec<Endpoint> {
    let before = slice.endpoints.iter().flatten();
    let same = |a: &Endpoint, b: &Endpoint| {
        let uid = |endpoint: &Endpoint| endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
        a.addresses == b.addresses && uid(a) == uid(b)
    };
    before
        .filter_map(|old| {
            endpoints.iter().position(|new| same(old, new)).map(|index| endpoints.remove(index))
        })
        .collect()
}

/// Puts new endpoints into slices that are changed anyway, then into others that have room.
fn fill(plan: &mut Plan, existing: &[Arc<EndpointSlice>], wanted: &mut Wanted) {
    for slice in &mut plan.update {
        if let Some((_, endpoints)) = wanted.get_mut(&group_of(slice)) {
            let room = MAX_ENDPOINTS.saturating_sub(slice.endpoints.as_ref().map_or(0, Vec::len));
            slice.endpoints.get_or_insert_default().extend(endpoints.drain(..room.min(endpoints.len())));
        }
    }
    for slice in existing.iter().filter(|slice| slice.metadata.deletion_timestamp.is_none()) {
        let touched = plan.update.iter().any(|other| other.metadata.name == slice.metadata.name);
        let room = MAX_ENDPOINTS.saturating_sub(slice.endpoints.as_ref().map_or(0, Vec::len));
        match wanted.get_mut(&group_of(slice)) {
            Some((_, endpoints)) if !touched && room > 0 && !endpoints.is_empty() => {
                let mut slice = EndpointSlice::clone(slice);
                slice.endpoints.get_or_insert_default().extend(endpoints.drain(..room.min(endpoints.len())));
                plan.update.push(slice);
            }
            _ => {}
        }
    }
}

/// Slices without endpoints go.
fn drop_empty(plan: &mut Plan, existing: &[Arc<EndpointSlice>]) {
    let is_empty = |slice: &EndpointSlice| slice.endpoints.as_ref().is_none_or(Vec::is_empty);
    let (empty, updated): (Vec<_>, Vec<_>) = plan.update.drain(..).partition(is_empty);
    let untouched = existing.iter().filter(|slice| {
        is_empty(slice) && !updated.iter().any(|other| other.metadata.name == slice.metadata.name)
    });
    let names = empty.iter().map(|slice| slice.metadata.name.clone());
    let names: Vec<String> =
        names.chain(untouched.map(|slice| slice.metadata.name.clone())).flatten().collect();
    names.into_iter().for_each(|name| {
        if !plan.delete.contains(&name) {
            plan.delete.push(name);
        }
    });
    plan.update = updated;
}

fn add_slices(
    plan: &mut Plan,
    service: &Service,
    labels: &BTreeMap<String, String>,
    (family, ports): (String, Vec<EndpointPort>),
    endpoints: Vec<Endpoint>,
) {
    for chunk in endpoints.chunks(MAX_ENDPOINTS) {
        plan.create.push(slice(service, labels, &family, ports.clone(), chunk.to_vec()));
    }
}

/// A Service without endpoints has one empty slice per address family, so that readers see that somebody looked.
fn ensure_one(
    plan: &mut Plan,
    service: &Service,
    labels: &BTreeMap<String, String>,
    existing: &[Arc<EndpointSlice>],
) {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone());
    for family in families.unwrap_or_else(|| vec!["IPv4".to_owned()]) {
        let of_family = |slice: &&Arc<EndpointSlice>| {
            slice.address_type == family && slice.metadata.deletion_timestamp.is_none()
        };
        let stays = |slice: &&Arc<EndpointSlice>| {
            of_family(slice) && slice.metadata.name.as_ref().is_none_or(|name| !plan.delete.contains(name))
        };
        let made = plan.create.iter().any(|slice| slice.address_type == family);
        if made || existing.iter().any(|slice| stays(&slice)) {
            continue;
        }
        let placeholder = slice(service, labels, &family, Vec::new(), Vec::new());
        // One that is empty already may stay as it is.
        let reusable = existing.iter().filter(of_family).find(|slice| {
            slice.endpoints.as_ref().is_none_or(Vec::is_empty)
                && slice.ports.as_ref().is_none_or(Vec::is_empty)
                && slice.metadata.labels == placeholder.metadata.labels
        });
        match reusable.and_then(|slice| slice.metadata.name.clone()) {
            Some(name) => plan.delete.retain(|other| *other != name),
            None => plan.create.push(placeholder),
        }
    }
}

fn slice(
    service: &Service,
    labels: &BTreeMap<String, String>,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.metadata.name.as_deref().unwrap_or_default())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![ownership::reference(service)]),
            ..Default::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if service_ports::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}
