//! Which pods could not go without breaking a PodDisruptionBudget. Pure.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/ (PodDisruptionBudget)

use std::sync::Arc;

use coracle_client::selector::Selector;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};

/// Of each pod, whether it breaks a budget when it goes and those before it have gone.
pub fn violations(pods: &[Arc<Pod>], budgets: &[Arc<PodDisruptionBudget>]) -> Vec<bool> {
    let mut budgets: Vec<Budget> = budgets.iter().filter_map(|budget| Budget::of(budget)).collect();
    // Each budget is charged, also after one was found broken.
    let breaks =
        |pod: &Arc<Pod>| budgets.iter_mut().filter_map(|budget| budget.charge(pod).then_some(())).count() > 0;
    pods.iter().map(breaks).collect()
}

struct Budget<'a> {
    budget: &'a PodDisruptionBudget,
    selector: Selector,
    left: i32,
}

impl<'a> Budget<'a> {
    fn of(budget: &'a PodDisruptionBudget) -> Option<Budget<'a>> {
        let selector = Selector::compile(budget.spec.as_ref()?.selector.as_ref()?).ok()?;
        // As upstream: here an empty selector covers nothing, unlike in evictions.
        if selector.is_empty() {
            return None;
        }
        let left = budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0);
        Some(Budget { budget, selector, left })
    }

    fn charge(&mut self, pod: &Pod) -> bool {
        let disrupted = self.budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
        let counted = disrupted
            .is_some_and(|pods| pod.metadata.name.as_ref().is_some_and(|name| pods.contains_key(name)));
        let covers = self.budget.metadata.namespace == pod.metadata.namespace
            && pod.metadata.labels.as_ref().is_some_and(|labels| !labels.is_empty())
            && self.selector.matches(&pod.metadata.labels);
        if !covers || counted {
            return false;
        }
        self.left -= 1;
        self.left < 0
    }
}
