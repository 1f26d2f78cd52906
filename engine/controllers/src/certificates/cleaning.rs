//! Deletes requests that are finished or that nobody decided about in time.

use std::time::Duration;

use coracle_client::Api;
use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::{
    Client,
    api::{DeleteParams, Preconditions},
};

use super::{KIND, RESOURCE, get, plan};
use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    runner::{Controller, Requeue, Source},
};

pub struct CleaningController {
    reader: Reader,
    client: Client,
}

impl CleaningController {
    pub fn new(reader: Reader, client: Client) -> CleaningController {
        CleaningController { reader, client }
    }
}

/// The last time that anything was decided, or the creation.
fn since(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    let decided =
        conditions.into_iter().flatten().filter_map(|condition| Some(condition.last_update_time.as_ref()?.0));
    decided.max().or(request.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

impl Controller for CleaningController {
    type Key = ObjectKey;
    const NAME: &'static str = "certificatesigningrequest-cleaner-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(RESOURCE)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(request) = get(&self.reader, key)? else { return Ok(Requeue::OnChange) };
        let (Some(since), Some(lifetime)) = (since(&request), plan::lifetime(&request)) else {
            return Ok(Requeue::OnChange);
        };
        let age = Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
        if let Some(left) = lifetime.checked_sub(age).filter(|left| !left.is_zero()) {
            return Ok(Requeue::After(left));
        }
        let requests: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let same = Preconditions {
            uid: request.metadata.uid.clone(),
            resource_version: request.metadata.resource_version.clone(),
        };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        absent_is_fine(requests.delete(&key.name, &params).await).map_err(ControllerError::api(
            "delete",
            KIND,
            key.to_string(),
        ))?;
        Ok(Requeue::OnChange)
    }
}
