//! The conditions of a pod that its node writes.
//!
//! Source:    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::PodCondition;

use super::{Sandbox, Writer};
use crate::clock::{Millis, to_time};
use crate::resources::is_sidecar;

/// The conditions that this node writes.
pub const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

impl Writer<'_> {
    fn unready(&self, init: &[core::ContainerStatus], containers: &[core::ContainerStatus]) -> Vec<String> {
        let sidecars = init.iter().filter(|c| {
            self.spec.init_containers.iter().flatten().any(|s| s.name == c.name && is_sidecar(s))
        });
        sidecars.chain(containers).filter(|c| !c.ready).map(|c| c.name.clone()).collect()
    }

    fn gates(&self) -> Vec<String> {
        let conditions = self.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let gates = self.spec.readiness_gates.iter().flatten().map(|g| g.condition_type.as_str());
        gates
            .filter_map(|gate| match conditions.iter().find(|c| c.type_ == gate) {
                None => {
                    Some(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist."))
                }
                Some(c) if c.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
                    c.status
                )),
                Some(_) => None,
            })
            .collect()
    }

    pub fn conditions(
        &self,
        phase: &str,
        init: &[core::ContainerStatus],
        containers: &[core::ContainerStatus],
    ) -> Vec<PodCondition> {
        let condition = |type_: &str, holds: bool, reason: &str, message: String| PodCondition {
            type_: type_.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()).filter(|r| !r.is_empty()),
            message: Some(message).filter(|m| !m.is_empty()),
            observed_generation: self.pod.metadata.generation,
            ..Default::default()
        };
        let sandbox = matches!(self.observed.sandbox, Sandbox::Ready { .. });
        let incomplete = self.incomplete();
        let initialized = match (phase, self.initialized()) {
            ("Succeeded", _) => condition("Initialized", true, "PodCompleted", String::new()),
            (_, true) => condition("Initialized", true, "", String::new()),
            (_, false) => condition(
                "Initialized",
                false,
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{}]", incomplete.join(" ")),
            ),
        };
        let unready = self.unready(init, containers);
        let not_ready = format!("containers with unready status: [{}]", unready.join(" "));
        let containers_ready = |type_: &str| match phase {
            "Succeeded" => condition(type_, false, "PodCompleted", String::new()),
            "Failed" => condition(type_, false, "PodFailed", String::new()),
            _ if !unready.is_empty() => condition(type_, false, "ContainersNotReady", not_ready.clone()),
            _ => condition(type_, true, "", String::new()),
        };
        let gates = self.gates();
        let mut ready = containers_ready("Ready");
        if ready.status == "True" && !gates.is_empty() {
            ready = condition("Ready", false, "ReadinessGatesNotReady", gates.join(", "));
        }
        vec![
            condition("PodReadyToStartContainers", sandbox, "", String::new()),
            initialized,
            ready,
            containers_ready("ContainersReady"),
            condition("PodScheduled", true, "", String::new()),
        ]
    }
}

/// Conditions keep the time of their last change.
pub fn keep_transition_times(conditions: &mut [PodCondition], before: &[PodCondition], now: Millis) {
    for condition in conditions {
        let old = before.iter().find(|c| c.type_ == condition.type_);
        condition.last_transition_time = match old {
            Some(old) if old.status == condition.status => old.last_transition_time.clone(),
            _ => None,
        }
        .or_else(|| Some(to_time(now)));
    }
}
