//! The EndpointSlices that mirror an Endpoints object written by hand. Pure.
//!
//! Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    endpoint_slice::plan::{MANAGED_BY, Plan, SERVICE_NAME},
    endpoints, ownership,
};

pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const NOT_COPIED: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];
/// Addresses of a subset that are mirrored.
const MAX_ADDRESSES: usize = 1000;

/// Only Endpoints that somebody wrote by hand, for a Service without selector.
pub fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let metadata = &endpoints.metadata;
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let led = metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    let selects =
        service.spec.as_ref().is_some_and(|spec| spec.selector.as_ref().is_some_and(|it| !it.is_empty()));
    !selects
        && !led
        && label(SKIP) != Some("true")
        && label(endpoints::MANAGED_BY) != Some(endpoints::MANAGER)
}

/// `endpoints` is `None` when nothing is to be mirrored.
pub fn plan(endpoints: Option<&Endpoints>, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut wanted: Vec<EndpointSlice> = endpoints.map(slices).unwrap_or_default();
    let mut plan = Plan::default();
    for slice in existing {
        let alike =
            |other: &EndpointSlice| other.address_type == slice.address_type && other.ports == slice.ports;
        let Some(index) = wanted.iter().position(alike) else {
            plan.delete.extend(slice.metadata.name.clone());
            continue;
        };
        let new = wanted.remove(index);
        let same = slice.endpoints == new.endpoints
            && slice.metadata.labels == new.metadata.labels
            && slice.metadata.annotations.clone().unwrap_or_default()
                == new.metadata.annotations.clone().unwrap_or_default();
        if !same {
            let metadata = ObjectMeta {
                labels: new.metadata.labels,
                annotations: new.metadata.annotations,
                ..slice.metadata.clone()
            };
            plan.update.push(EndpointSlice {
                metadata,
                endpoints: new.endpoints,
                ..EndpointSlice::clone(slice)
            });
        }
    }
    plan.create = wanted;
    plan
}

/// One for each subset and address family.
fn slices(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets
        .flat_map(|subset| ["IPv4", "IPv6"].map(|family| (family, addresses(subset, family), ports(subset))))
        .filter(|(_, addresses, _)| !addresses.is_empty())
        .map(|(family, addresses, ports)| EndpointSlice {
            metadata: metadata(endpoints),
            address_type: family.to_owned(),
            endpoints: Some(addresses),
            ports: Some(ports),
        })
        .collect()
}

fn metadata(endpoints: &Endpoints) -> ObjectMeta {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations: BTreeMap<String, String> =
        endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: endpoints.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![ownership::reference(endpoints)]),
        ..Default::default()
    }
}

fn addresses(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let of_family = |address: &&EndpointAddress| address.ip.contains(':') == (family == "IPv6");
    let ready = subset.addresses.iter().flatten().filter(of_family).map(|address| endpoint(address, true));
    let others = subset.not_ready_addresses.iter().flatten().filter(of_family);
    ready.chain(others.map(|address| endpoint(address, false))).take(MAX_ADDRESSES).collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..Default::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Default::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten();
    ports
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoints(extra: Value) -> Endpoints {
        let mut endpoints = json!({
            "metadata": { "name": "db", "namespace": "default", "uid": "e" },
            "subsets": [{
                "addresses": [{ "ip": "192.0.2.7" }, { "ip": "2001:db8::7" }],
                "notReadyAddresses": [{ "ip": "192.0.2.8" }],
                "ports": [{ "port": 5432 }],
            }],
        });
        if let Value::Object(extra) = extra {
            extra.into_iter().for_each(|(key, value)| endpoints["metadata"][key] = value);
        }
        serde_json::from_value(endpoints).unwrap()
    }

    #[test]
    fn each_address_family_of_a_subset_has_its_slice_and_a_second_pass_changes_nothing() {
        let first = plan(Some(&endpoints(json!({}))), &[]);
        let shown: Vec<(String, usize)> = first
            .create
            .iter()
            .map(|slice| (slice.address_type.clone(), slice.endpoints.as_ref().unwrap().len()))
            .collect();
        assert_eq!(shown, [("IPv4".to_owned(), 2), ("IPv6".to_owned(), 1)]);
        let stored: Vec<Arc<EndpointSlice>> = first.create.into_iter().map(Arc::new).collect();
        let second = plan(Some(&endpoints(json!({}))), &stored);
        assert!(
            second.create.is_empty() && second.update.is_empty() && second.delete.is_empty(),
            "{second:?}"
        );
    }

    #[test]
    fn only_what_was_written_by_hand_is_mirrored() {
        let service = |selector: Value| {
            serde_json::from_value::<Service>(json!({ "metadata": {}, "spec": { "selector": selector } }))
                .unwrap()
        };
        let cases = [
            (json!({}), Value::Null, true),
            (json!({}), json!({ "app": "db" }), false),
            (json!({ "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } }), Value::Null, false),
            (
                json!({ "labels": { "endpoints.kubernetes.io/managed-by": "endpoint-controller" } }),
                Value::Null,
                false,
            ),
            (
                json!({ "annotations": { "control-plane.alpha.kubernetes.io/leader": "{}" } }),
                Value::Null,
                false,
            ),
        ];
        for (metadata, selector, expected) in cases {
            assert_eq!(
                is_mirrored(&endpoints(metadata.clone()), &service(selector.clone())),
                expected,
                "{metadata} {selector}"
            );
        }
    }
}
