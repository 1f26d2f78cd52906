//! Gives Services of type LoadBalancer the node's address; takes it from those that are no longer.
//!
//! Reads:     Services.
//! Writes:    Service `status.loadBalancer`.
//! Invariant: a Service with a `loadBalancerClass` belongs to another implementation and is left alone. A port of the
//!            node has one owner: what Coracle itself listens on is never taken from it, and of two Services the one
//!            that has the address keeps it. The other waits, and an Event says for what.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer

use std::{net::IpAddr, time::Duration};

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

/// How soon a Service that waits for a port looks again.
const WAIT: Duration = Duration::from_secs(10);

/// TCP ports of the node on which Coracle itself listens, and what for.
pub type OwnPorts = Vec<(u16, &'static str)>;

pub struct ServiceLoadBalancerController {
    reader: Reader,
    client: Client,
    events: EventRecorder,
    node_ip: IpAddr,
    own_ports: OwnPorts,
}

impl ServiceLoadBalancerController {
    pub fn new(
        reader: Reader,
        client: Client,
        node_ip: IpAddr,
        own_ports: OwnPorts,
    ) -> ServiceLoadBalancerController {
        let events = EventRecorder::new(client.clone(), "service-controller", None);
        ServiceLoadBalancerController { reader, client, events, node_ip, own_ports }
    }

    /// Why `service` cannot have its ports of the node.
    fn obstacle(&self, key: &ObjectKey, service: &Service) -> Result<Option<String>, ControllerError> {
        let own = |port: u16| self.own_ports.iter().find(|(taken, _)| *taken == port);
        let taken = ports(service).find_map(|(port, protocol)| {
            own(port)
                .filter(|_| protocol == "TCP")
                .map(|(_, by)| format!("port {port}/TCP of the node is {by}"))
        });
        if taken.is_some() {
            return Ok(taken);
        }
        let snapshot = self.reader.snapshot();
        let others = read::list::<Service>(&snapshot, "services", "Service", None, |object| {
            ObjectKey::of(&object.key) != *key
        })?;
        Ok(others.iter().filter(|other| holds(other, self.node_ip)).find_map(|other| {
            let (port, protocol) = ports(service).find(|wanted| ports(other).any(|has| has == *wanted))?;
            let of = ObjectKey {
                namespace: other.metadata.namespace.as_deref().unwrap_or_default().into(),
                name: other.metadata.name.as_deref().unwrap_or_default().into(),
            };
            Some(format!("port {port}/{protocol} of the node belongs to Service {of}"))
        }))
    }
}

fn ports(service: &Service) -> impl Iterator<Item = (u16, &str)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .map(|port| (u16::try_from(port.port).unwrap_or_default(), port.protocol.as_deref().unwrap_or("TCP")))
}

/// Whether `service` was given the node's address by this controller.
fn holds(service: &Service, node_ip: IpAddr) -> bool {
    let shown = service.status.iter().flat_map(|status| status.load_balancer.iter());
    plan(service, node_ip).is_some_and(|wanted| {
        !wanted.is_empty() && shown.flat_map(|it| it.ingress.iter()).any(|shown| *shown == wanted)
    })
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
    /// Two Services that want one port must not both find it free.
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary("services")]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let service = read::get::<Service>(&self.reader, "services", "Service", key)?;
        let Some(service) = service else { return Ok(Requeue::OnChange) };
        let Some(mut wanted) = plan(&service, self.node_ip) else { return Ok(Requeue::OnChange) };
        let mut again = Requeue::OnChange;
        if !wanted.is_empty()
            && let Some(why) = self.obstacle(key, &service)?
        {
            let message = format!("Error syncing load balancer: failed to ensure load balancer: {why}");
            let about = object_reference(&*service);
            self.events.event(&about, EventType::Warning, "SyncLoadBalancerFailed", message);
            wanted.clear();
            again = Requeue::After(WAIT);
        }
        let status = service.status.clone().unwrap_or_default();
        let shown = status.load_balancer.as_ref().and_then(|it| it.ingress.clone()).unwrap_or_default();
        if shown == wanted {
            return Ok(again);
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
        Ok(again)
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
