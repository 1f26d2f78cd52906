//! What one object is charged with: a count always; more for pods, Services and claims.
//!
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/quota/v1/evaluator/core

use std::sync::Arc;

use coracle_schema::Quantity;
use jiff::Timestamp;
use serde_json::Value;

use crate::{Amounts, pod, scope::Facts};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    amounts: Amounts,
    pub(crate) facts: Facts,
}

type Measure = fn(&Value) -> (Amounts, Facts);

/// The resources whose objects are charged with more than their number.
const MEASURED: [(&str, Measure); 3] =
    [("pods", pod::charge), ("services", service), ("persistentvolumeclaims", claim)];

/// Counted under their plain name too.
const COUNTED_BY_NAME: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

fn measure(resource: &str) -> Option<Measure> {
    MEASURED.iter().find(|(name, _)| *name == resource).map(|(_, measure)| *measure)
}

/// Whether all objects of the resource are charged alike.
pub fn is_uniform(resource: &str) -> bool {
    measure(resource).is_none()
}

impl Charge {
    /// `resource` is the store's name, e.g. `deployments.apps`.
    pub fn of(resource: &str, object: &Value) -> Charge {
        match measure(resource) {
            Some(measure) => {
                let (amounts, facts) = measure(object);
                Charge { amounts, facts }
            }
            None => Charge::of_one(resource),
        }
    }

    pub(crate) fn of_one(resource: &str) -> Charge {
        let mut amounts = Amounts::default();
        amounts.set(format!("count/{resource}"), Quantity::whole(1));
        if COUNTED_BY_NAME.contains(&resource) {
            amounts.set(resource, Quantity::whole(1));
        }
        Charge { amounts, facts: Facts::default() }
    }

    /// What counts now.
    pub fn amounts(&self, now: Timestamp) -> impl Iterator<Item = (&str, Quantity)> {
        let given_up = self.facts.given_up.is_some_and(|at| now > at);
        self.amounts.iter().filter(move |(name, _)| !given_up || name.starts_with("count/"))
    }

    pub fn growth_since(&self, old: &Charge) -> Amounts {
        self.amounts.growth_since(&old.amounts)
    }

    /// Of an object that becomes another: the larger of each.
    pub(crate) fn larger(self: &Arc<Charge>, other: &Charge) -> Arc<Charge> {
        let mut amounts = self.amounts.clone();
        amounts.cover(&other.amounts);
        Arc::new(Charge { amounts, facts: other.facts.clone() })
    }
}

fn counted(plain: &str) -> Amounts {
    let mut amounts = Amounts::default();
    amounts.set(plain, Quantity::whole(1));
    amounts.set(format!("count/{plain}"), Quantity::whole(1));
    amounts
}

fn service(service: &Value) -> (Amounts, Facts) {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] != false => (1, ports.len()),
        Some("LoadBalancer") => {
            (1, ports.iter().filter(|port| port["nodePort"].as_i64().is_some_and(|own| own != 0)).count())
        }
        _ => (0, 0),
    };
    let mut amounts = counted("services");
    amounts.set("services.loadbalancers", Quantity::whole(balancers));
    amounts.set("services.nodeports", Quantity::whole(node_ports as i64));
    (amounts, Facts::default())
}

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// What stands between a StorageClass and what is limited of it.
pub const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";

fn claim(claim: &Value) -> (Amounts, Facts) {
    let spec = &claim["spec"];
    let class = claim["metadata"]["annotations"][CLASS_ANNOTATION]
        .as_str()
        .or(spec["storageClassName"].as_str())
        .unwrap_or_default();
    let asked = Quantity::from_value(&spec["resources"]["requests"]["storage"]);
    let allocated = Quantity::from_value(&claim["status"]["allocatedResources"]["storage"]);
    let size = asked.map(|asked| asked.max(allocated.unwrap_or_default()).round_up());
    let mut amounts = counted("persistentvolumeclaims");
    if let Some(size) = size {
        amounts.set("requests.storage", size);
    }
    if !class.is_empty() {
        amounts.set(format!("{class}{CLASS_SUFFIX}persistentvolumeclaims"), Quantity::whole(1));
        if let Some(size) = size {
            amounts.set(format!("{class}{CLASS_SUFFIX}requests.storage"), size);
        }
    }
    let classes = [&spec["volumeAttributesClassName"], &claim["status"]["currentVolumeAttributesClassName"]];
    let attributes_classes =
        classes.iter().filter_map(|one| one.as_str()).filter(|one| !one.is_empty()).map(String::from);
    (amounts, Facts { is_claim: true, attributes_classes: attributes_classes.collect(), ..Facts::default() })
}
