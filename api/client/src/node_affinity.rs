//! Which nodes a pod's `nodeSelector` and required node affinity, or a volume's, let it onto.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::selector::Labels;

/// `nodeSelector`, and the required part of the node affinity.
pub fn admits<L: Labels + ?Sized>(spec: &PodSpec, name: &str, labels: &L) -> bool {
    let mut selector = spec.node_selector.iter().flatten();
    let required = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        required.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    selector.all(|(key, value)| labels.label(key) == Some(value))
        && required.is_none_or(|required| {
            required.node_selector_terms.iter().any(|term| term_matches(term, name, labels))
        })
}

/// An empty term matches no node.
pub fn term_matches<L: Labels + ?Sized>(term: &NodeSelectorTerm, name: &str, labels: &L) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |key: &str| (key == "metadata.name").then_some(name);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|each| holds(each, labels.label(&each.key)))
        && fields.iter().all(|each| holds(each, field(&each.key)))
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |actual: &str| values.iter().any(|value| value == actual);
    let numbers = || Some((actual?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => actual.is_some_and(listed),
        "NotIn" => !actual.is_some_and(listed),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(actual, bound)| actual > bound),
        "Lt" => numbers().is_some_and(|(actual, bound)| actual < bound),
        _ => false,
    }
}
