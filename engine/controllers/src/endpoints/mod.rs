//! Keeps the Endpoints object of every Service with a selector equal to the pods that it selects.
//!
//! Reads:     Services; Pods of their namespace by label; Endpoints.
//! Writes:    Endpoints create, update and delete.
//! Invariant: deletes only Endpoints that carry its own managed-by label; those of a Service without selector stay.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/service/#endpoints

mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use coracle_client::Api;
use coracle_client::selector::Labels;
use coracle_store::Reader;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::{
    Client,
    api::{DeleteParams, PostParams},
};

pub use plan::{MANAGED_BY, MANAGER};

use crate::{
    error::{ControllerError, absent_is_fine},
    freshness::Freshness,
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
    service_ports,
};

pub struct EndpointsController {
    reader: Reader,
    client: Client,
    freshness: Freshness,
}

impl EndpointsController {
    pub fn new(reader: Reader, client: Client) -> EndpointsController {
        EndpointsController { reader, client, freshness: Freshness::default() }
    }

    /// The Service is gone: so are its Endpoints, when they are ours.
    async fn remove(&self, key: &ObjectKey) -> Result<(), ControllerError> {
        let Some(object) = self.reader.get(&key.in_resource("endpoints")) else { return Ok(()) };
        if object.meta.labels.label(plan::MANAGED_BY) != Some(plan::MANAGER) {
            return Ok(());
        }
        let endpoints: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        absent_is_fine(endpoints.delete(&key.name, &DeleteParams::default()).await)
            .map_err(ControllerError::api("delete", "Endpoints", key.to_string()))?;
        Ok(())
    }

    async fn write(&self, key: &ObjectKey, wanted: Endpoints) -> Result<(), ControllerError> {
        let endpoints: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = if wanted.metadata.uid.is_some() {
            endpoints.replace(&key.name, &PostParams::default(), &wanted).await
        } else {
            endpoints.create(&PostParams::default(), &wanted).await
        };
        let written = written.map_err(ControllerError::api("write", "Endpoints", key.to_string()))?;
        self.freshness.wrote(key, written.metadata.resource_version.as_deref());
        Ok(())
    }
}

impl Controller for EndpointsController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpoint-controller";

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        vec![
            Source::primary("services"),
            Source::new("pods", move |event| service_ports::services_of_pod(&reader, event)),
            Source::primary("endpoints"),
        ]
    }

    /// A deletion may have been missed: look at all Services, and at all Endpoints for Services that are gone.
    fn relisted(&self) -> Vec<ObjectKey> {
        let mut keys = read::all_keys(&self.reader, "services");
        keys.extend(read::all_keys(&self.reader, "endpoints"));
        keys
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        if !self.freshness.is_fresh(key, &self.reader) {
            return Ok(Requeue::After(Duration::from_millis(1)));
        }
        let Some(service) = read::get::<Service>(&self.reader, "services", "Service", key)? else {
            self.remove(key).await?;
            return Ok(Requeue::OnChange);
        };
        let Some(selector) = service_ports::selector(&service) else { return Ok(Requeue::OnChange) };
        let snapshot = self.reader.snapshot();
        let pods = service_ports::pods(&snapshot, &key.namespace, &selector)?;
        let existing = read::get::<Endpoints>(&self.reader, "endpoints", "Endpoints", key)?;
        if let Some(wanted) = plan::plan(&service, &pods, existing.as_deref()) {
            self.write(key, wanted).await?;
        }
        Ok(Requeue::OnChange)
    }
}
