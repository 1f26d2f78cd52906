//! Mirrors Endpoints that somebody wrote by hand into EndpointSlices, which is all that the service network reads.
//!
//! Reads:     Endpoints; the Service of the same name; EndpointSlices that it manages.
//! Writes:    EndpointSlice create, update and delete.
//! Invariant: never touches a slice that another manager made.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring

mod plan;

use std::time::Duration;

use coracle_client::selector::Labels;
use coracle_store::{Object, Reader};
use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use kube::Client;

use crate::{
    endpoint_slice::{
        apply,
        plan::{MANAGED_BY, SERVICE_NAME},
    },
    error::ControllerError,
    freshness::Freshness,
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const SLICES: &str = "endpointslices.discovery.k8s.io";

pub struct EndpointSliceMirroringController {
    reader: Reader,
    client: Client,
    freshness: Freshness,
}

impl EndpointSliceMirroringController {
    pub fn new(reader: Reader, client: Client) -> EndpointSliceMirroringController {
        EndpointSliceMirroringController { reader, client, freshness: Freshness::default() }
    }
}

fn is_managed(object: &Object) -> bool {
    object.meta.labels.label(MANAGED_BY) == Some(plan::MANAGER)
}

impl Controller for EndpointSliceMirroringController {
    type Key = ObjectKey;
    const NAME: &'static str = "endpointslice-mirroring-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let of_slice = Source::new(SLICES, |event| {
            let name = event.object.meta.labels.label(SERVICE_NAME).filter(|_| is_managed(&event.object));
            name.map(|name| ObjectKey::new(&event.object.key.namespace, name)).into_iter().collect()
        });
        vec![Source::primary("endpoints"), Source::primary("services"), of_slice]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, "endpoints")
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        if !self.freshness.is_fresh(key, &self.reader) {
            return Ok(Requeue::After(Duration::from_millis(1)));
        }
        let endpoints = read::get::<Endpoints>(&self.reader, "endpoints", "Endpoints", key)?;
        let service = read::get::<Service>(&self.reader, "services", "Service", key)?;
        let mirrored = match (&endpoints, &service) {
            (Some(endpoints), Some(service)) if plan::is_mirrored(endpoints, service) => Some(&**endpoints),
            _ => None,
        };
        let snapshot = self.reader.snapshot();
        let existing = read::list::<EndpointSlice>(
            &snapshot,
            SLICES,
            "EndpointSlice",
            Some(&key.namespace),
            |object| is_managed(object) && object.meta.labels.label(SERVICE_NAME) == Some(&key.name),
        )?;
        apply::apply(&self.client, &self.freshness, key, plan::plan(mirrored, &existing)).await?;
        Ok(Requeue::OnChange)
    }
}
