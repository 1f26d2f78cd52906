//! Says of the cluster's own ServiceCIDR that it is ready.
//!
//! Reads:     ServiceCIDRs.
//! Writes:    ServiceCIDR `status.conditions`.
//! Invariant: only `kubernetes`, from which addresses are given, is ready; another one is not, and says why.
//! Source:    https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/

use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::ServiceCIDR,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{Api, Client, api::PostParams};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const RESOURCE: &str = "servicecidrs.networking.k8s.io";
const OWN: &str = "kubernetes";

pub struct ServiceCidrController {
    reader: Reader,
    client: Client,
}

impl ServiceCidrController {
    pub fn new(reader: Reader, client: Client) -> ServiceCidrController {
        ServiceCidrController { reader, client }
    }
}

/// Status, reason and message of the condition Ready.
fn plan(name: &str) -> (&'static str, &'static str, &'static str) {
    match name {
        OWN => ("True", "", "Kubernetes Service CIDR is ready"),
        _ => ("False", "NotSupported", "This server gives addresses from the ServiceCIDR kubernetes only"),
    }
}

impl Controller for ServiceCidrController {
    type Key = ObjectKey;
    const NAME: &'static str = "service-cidr-controller";

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(RESOURCE)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let range = read::get::<ServiceCIDR>(&self.reader, RESOURCE, "ServiceCIDR", key)?;
        let Some(range) = range else { return Ok(Requeue::OnChange) };
        let (status, reason, message) = plan(&key.name);
        let conditions = range.status.as_ref().and_then(|status| status.conditions.as_ref());
        if conditions.is_some_and(|all| {
            all.iter().any(|condition| condition.type_ == "Ready" && condition.status == status)
        }) {
            return Ok(Requeue::OnChange);
        }
        let mut object = ServiceCIDR::clone(&range);
        object.status.get_or_insert_default().conditions = Some(vec![Condition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(Timestamp::now()),
            observed_generation: None,
        }]);
        let api: Api<ServiceCIDR> = Api::all(self.client.clone());
        absent_is_fine(api.replace_status(&key.name, &PostParams::default(), &object).await)
            .map_err(ControllerError::api("write status of", "ServiceCIDR", key.to_string()))?;
        Ok(Requeue::OnChange)
    }
}
