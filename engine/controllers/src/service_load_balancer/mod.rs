//! Gives Services of type LoadBalancer the node's address; takes it from those that are no longer.
//!
//! Reads:     Services.
//! Writes:    Service `status.loadBalancer`.
//! Invariant: a Service with a `loadBalancerClass` belongs to another implementation and is left alone.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer

use std::net::IpAddr;

use coracle_client::{Api, EventRecorder, EventType, object_reference};
use coracle_store::Reader;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service};
use kube::{Client, api::PostParams};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

pub struct ServiceLoadBalancerController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    node_ip: IpAddr,
}

impl ServiceLoadBalancerController {
    pub fn new(reader: Reader, client: Client, node_ip: IpAddr) -> ServiceLoadBalancerController {
        let events = EventRecorder::new(client.clone(), "service-controller", None);
        ServiceLoadBalancerController { reader, client, events, node_ip }
    }
}

/// The addresses that the Service should show; `None`: it is not ours to say.
fn plan(service: &Service, node_ip: IpAddr) -> Option<Vec<LoadBalancerIngress>> {
    let spec = service.spec.as_ref()?;
    let wanted =
        spec.type_.as_deref() == Some("LoadBalancer") && service.metadata.deletion_timestamp.is_none();
    if !wanted {
        return Some(Vec::new());
    }
    if spec.load_balancer_class.is_some() {
        return None;
    }
    let ingress = LoadBalancerIngress {
        ip: Some(node_ip.to_string()),
        ip_mode: Some("VIP".to_owned()),
        ..Default::default()
    };
    Some(vec![ingress])
}

impl Controller for ServiceLoadBalancerController {
    type Key = ObjectKey;
    const NAME: &'static str = "service-lb-controller";

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary("services")]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let service = read::get::<Service>(&self.reader, "services", "Service", key)?;
        let Some(service) = service else { return Ok(Requeue::OnChange) };
        let Some(wanted) = plan(&service, self.node_ip) else { return Ok(Requeue::OnChange) };
        let status = service.status.clone().unwrap_or_default();
        let shown = status.load_balancer.as_ref().and_then(|it| it.ingress.clone()).unwrap_or_default();
        if shown == wanted {
            return Ok(Requeue::OnChange);
        }
        let arrived = !wanted.is_empty();
        let record = |reason: &str, message: &str| {
            let about = object_reference(&*service);
            self.events.event(&about, EventType::Normal, reason, message.to_owned());
        };
        if arrived {
            record("EnsuringLoadBalancer", "Ensuring load balancer");
        }
        let mut object = Service::clone(&service);
        let ingress = arrived.then_some(wanted);
        object.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress });
        let services: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
        absent_is_fine(services.replace_status(&key.name, &PostParams::default(), &object).await)
            .map_err(ControllerError::api("write status of", "Service", key.to_string()))?;
        if arrived {
            record("EnsuredLoadBalancer", "Ensured load balancer");
        }
        Ok(Requeue::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_load_balancers_without_a_class_get_the_address() {
        let cases = [
            (json!({ "type": "LoadBalancer" }), Some(1)),
            (json!({ "type": "ClusterIP" }), Some(0)),
            (json!({ "type": "LoadBalancer", "loadBalancerClass": "example.com/lb" }), None),
        ];
        for (spec, expected) in cases {
            let service = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
            let addresses = plan(&service, "192.0.2.1".parse().unwrap());
            assert_eq!(addresses.map(|addresses| addresses.len()), expected, "{spec}");
        }
    }
}
