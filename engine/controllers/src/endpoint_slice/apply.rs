//! The writes of a plan for the slices of one Service.

use coracle_client::Api;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Client,
    api::{DeleteParams, PostParams},
};

use super::plan::Plan;
use crate::{
    error::{ControllerError, absent_is_fine},
    freshness::Freshness,
    key::ObjectKey,
};

pub async fn apply(
    client: &Client,
    freshness: &Freshness,
    key: &ObjectKey,
    plan: Plan,
) -> Result<(), ControllerError> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &key.namespace);
    for slice in plan.create {
        let created = slices.create(&PostParams::default(), &slice).await.map_err(ControllerError::api(
            "create slice of",
            "Service",
            key.to_string(),
        ))?;
        freshness.wrote(key, created.metadata.resource_version.as_deref());
    }
    for slice in plan.update {
        let name = slice.metadata.name.clone().unwrap_or_default();
        let updated = slices
            .replace(&name, &PostParams::default(), &slice)
            .await
            .map_err(ControllerError::api("update", "EndpointSlice", name))?;
        freshness.wrote(key, updated.metadata.resource_version.as_deref());
    }
    for name in plan.delete {
        absent_is_fine(slices.delete(&name, &DeleteParams::default()).await)
            .map_err(ControllerError::api("delete", "EndpointSlice", name))?;
    }
    Ok(())
}
