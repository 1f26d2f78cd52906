//! The kinds of change that a pod without a node may wait for.
//!
//! A pod is tried again after those alone that may help it: every attempt that fails makes the next one later.
//! Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4247-queueinghint

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    NodeCame,
    NodeGone,
    /// Labels of a node are others.
    NodeLabels,
    /// A node's taints are others, or it was cordoned or uncordoned.
    NodeTaints,
    /// A node can take more of something.
    NodeRoom,
    /// A pod left its node, or its labels are others.
    PodGone,
    /// A pod came to its node, or its labels are others.
    PodCame,
    /// Claims, volumes or their classes.
    Claims,
    /// Labels of namespaces.
    Namespaces,
}
