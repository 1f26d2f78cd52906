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
pub use terms::term_covers;
pub use volumes::claims_to_bind;

use crate::{
    change::Change::{
        self, Claims, Namespaces, NodeCame, NodeGone, NodeLabels, NodeRoom, NodeTaints, PodCame, PodGone,
    },
    cluster::{Cluster, NodeState},
};

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

/// In the stock order: the first that rejects names the reason. Beside each, after what its answer may be another.
const FILTERS: &[(Filter, &[Change])] = &[
    (node::unschedulable, &[NodeCame, NodeTaints]),
    (node::name, &[NodeCame]),
    (node::taints, &[NodeCame, NodeTaints]),
    (node::affinity, &[NodeCame, NodeLabels]),
    (ports::free, &[NodeCame, PodGone]),
    (node::fits, &[NodeCame, NodeRoom, PodGone]),
    (volumes::reachable, &[NodeCame, NodeLabels, Claims]),
    (spread::skew, &[NodeCame, NodeGone, NodeLabels, NodeTaints, PodGone, PodCame]),
    (terms::pod_affinity, &[NodeCame, NodeLabels, PodGone, PodCame, Namespaces]),
];

/// What may help a pod that fails its [`precondition`].
pub const PRECONDITION: &[Change] = &[Claims];

/// What makes a pod wait whatever the nodes look like.
pub fn precondition(pod: &Pod, cluster: &Cluster) -> Result<(), String> {
    let devices = pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_ref());
    if devices.is_some_and(|claims| !claims.is_empty()) {
        return Err(
            "dynamic resource allocation is not supported, the pod's resourceClaims stay unallocated"
                .to_owned(),
        );
    }
    volumes::claims_are_ready(pod, cluster)
}

/// The rejection comes with what may change it.
pub fn check(pod: &Pod, node: &NodeState, cluster: &Cluster) -> Result<(), (Rejection, &'static [Change])> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    FILTERS.iter().try_for_each(|(filter, helped_by)| {
        filter(pod, spec, node, cluster).map_err(|rejection| (rejection, *helped_by))
    })
}
