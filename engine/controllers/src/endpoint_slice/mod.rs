//! Keeps the EndpointSlices of every Service with a selector equal to the pods that it selects.
//!
//! Reads:     Services; Pods of their namespace by label; Nodes for the zone; EndpointSlices that it manages.
//! Writes:    EndpointSlice create, update and delete.
//! Invariant: never touches a slice that another manager made.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/

pub mod apply;
pub mod plan;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use coracle_client::selector::Labels;
use coracle_store::{Event, Object, Reader};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::Client;

use crate::{
    error::ControllerError,
    freshness::Freshness,
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
    service_ports,
};

const SLICES: &str = "endpointslices.discovery.k8s.io";

pub struct EndpointSliceController {
    reader: Reader,
    client: Client,
    freshness: Freshness,
}

impl EndpointSliceController {
    pub fn new(reader: Reader, client: Client) -> EndpointSliceController {
        EndpointSliceController { reader, client, freshness: Freshness::default() }
    }
}

fn is_managed(object: &Object) -> bool {
    object.meta.labels.label(plan::MANAGED_BY) == Some(plan::MANAGER)
}

fn service_of_slice(event: &Event) -> Vec<ObjectKey> {
    let versions = [Some(&event.object), event.previous.as_ref()];
    let managed = versions.into_iter().flatten().filter(|object| is_managed(object));
    let names = managed.filter_map(|object| object.meta.labels.label(plan::SERVICE_NAME));
    let mut keys: Vec<ObjectKey> =
        names.map(|name| ObjectKey::new(&event.object.key.namespace, name)).collect();
    keys.dedup();
    keys
}

impl Controller for EndpointSliceController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpointslice-controller";

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        vec![
            Source::primary("services"),
            Source::new("pods", move |event| service_ports::services_of_pod(&reader, event)),
            Source::new(SLICES, service_of_slice),
        ]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, "services")
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        if !self.freshness.is_fresh(key, &self.reader) {
            return Ok(Requeue::After(Duration::from_millis(1)));
        }
        let service = read::get::<Service>(&self.reader, "services", "Service", key)?;
        let Some(service) = service.filter(|service| service.metadata.deletion_timestamp.is_none()) else {
            return Ok(Requeue::OnChange);
        };
        let Some(selector) = service_ports::selector(&service) else { return Ok(Requeue::OnChange) };
        let snapshot = self.reader.snapshot();
        let pods = service_ports::pods(&snapshot, &key.namespace, &selector)?;
        let nodes: BTreeMap<String, Arc<Node>> =
            read::list::<Node>(&snapshot, "nodes", "Node", None, |_| true)?
                .into_iter()
                .filter_map(|node| Some((node.metadata.name.clone()?, node)))
                .collect();
        let existing = read::list(&snapshot, SLICES, "EndpointSlice", Some(&key.namespace), |object| {
            is_managed(object) && object.meta.labels.label(plan::SERVICE_NAME) == Some(&key.name)
        })?;
        let plan = plan::plan(&service, &pods, &nodes, &existing);
        apply::apply(&self.client, &self.freshness, key, plan).await?;
        Ok(Requeue::OnChange)
    }
}
