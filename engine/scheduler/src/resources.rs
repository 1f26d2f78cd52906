//! What pods ask for and what nodes offer.
//!
//! Source: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity::thousandths;

/// Thousandths by resource name; `pods` among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(pub BTreeMap<String, i128>);

impl Resources {
    pub fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Resources {
        let pairs = quantities.into_iter().flatten();
        Resources(pairs.map(|(name, quantity)| (name.clone(), thousandths(&quantity.0))).collect())
    }

    pub fn get(&self, name: &str) -> i128 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Resources) {
        other.0.iter().for_each(|(name, value)| *self.0.entry(name.clone()).or_default() += value);
    }

    pub fn subtract(&mut self, other: &Resources) {
        other.0.iter().for_each(|(name, value)| *self.0.entry(name.clone()).or_default() -= value);
    }

    /// Whether there is more of anything.
    pub fn exceeds(&self, other: &Resources) -> bool {
        self.0.iter().any(|(name, value)| *value > other.get(name))
    }

    /// The larger of each.
    fn cover(&mut self, other: &Resources) {
        for (name, value) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*value);
        }
    }
}

pub fn allocatable(node: &Node) -> Resources {
    Resources::of(node.status.as_ref().and_then(|status| status.allocatable.as_ref()))
}

/// What `pod` needs of its node, one of `pods` included.
pub fn requests(pod: &Pod) -> Resources {
    let mut total = pod.spec.as_ref().map(spec_requests).unwrap_or_default();
    total.0.insert("pods".to_owned(), 1000);
    total
}

fn spec_requests(spec: &PodSpec) -> Resources {
    let mut total = Resources::default();
    spec.containers.iter().for_each(|container| total.add(&container_requests(container)));
    // Init containers run one after the other; sidecars stay and add to what comes after them.
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let own = container_requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&own);
            starting.cover(&sidecars);
        } else {
            let mut together = own;
            together.add(&sidecars);
            starting.cover(&together);
        }
    }
    total.add(&sidecars);
    total.cover(&starting);
    // Requests of the pod as a whole take the place of its containers' sum.
    let pod_level = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    total.0.extend(Resources::of(pod_level).0);
    total.add(&Resources::of(spec.overhead.as_ref()));
    total
}

fn container_requests(container: &Container) -> Resources {
    Resources::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}
