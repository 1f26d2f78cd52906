//! Which nodes can take a pod, and in the stock scheduler's words why the others cannot. Pure.
//!
//! Source: https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins

mod node;
mod ports;
mod spread;
mod terms;
mod volumes;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
pub use node::tolerates;
pub use terms::{node_term_matches, term_covers};
pub use volumes::claims_to_bind;

use crate::cluster::{Cluster, NodeState};

/// Why a node cannot take a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reasons: Vec<String>,
    /// Evicting other pods would not change it.
    pub unresolvable: bool,
}

impl Rejection {
    pub fn resolvable(reason: &str) -> Rejection {
        Rejection { reasons: vec![reason.to_owned()], unresolvable: false }
    }

    pub fn unresolvable(reason: &str) -> Rejection {
        Rejection { reasons: vec![reason.to_owned()], unresolvable: true }
    }
}

type Filter = fn(&Pod, &PodSpec, &NodeState, &Cluster) -> Result<(), Rejection>;

/// In the stock order: the first that rejects names the reason.
const FILTERS: &[Filter] = &[
    node::unschedulable,
    node::name,
    node::taints,
    node::affinity,
    ports::free,
    node::fits,
    volumes::reachable,
    spread::skew,
    terms::pod_affinity,
];

/// What makes a pod wait whatever the nodes look like.
pub fn precondition(pod: &Pod, cluster: &Cluster) -> Result<(), String> {
    volumes::claims_are_ready(pod, cluster)
}

pub fn check(pod: &Pod, node: &NodeState, cluster: &Cluster) -> Result<(), Rejection> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    FILTERS.iter().try_for_each(|filter| filter(pod, spec, node, cluster))
}
