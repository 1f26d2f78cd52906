//! Whether this node takes a pod that was assigned to it: node selector and resources are checked once more, since
//! pods can be assigned without the scheduler.
//!
//! Invariant: pure.
//! Source:    https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;

use crate::pod::observed::Rejection;
use crate::resources::{Amounts, pod_requests};

/// `used` is what the node's other pods request, `pods` how many they are.
pub fn admit(
    spec: &PodSpec,
    node_labels: &BTreeMap<String, String>,
    allocatable: &Amounts,
    used: &Amounts,
    pods: u32,
    max_pods: u32,
) -> Result<Amounts, Rejection> {
    let refuse = |reason: &str, message: String| Err(Rejection { reason: reason.to_owned(), message });
    for (key, value) in spec.node_selector.iter().flatten() {
        if node_labels.get(key) != Some(value) {
            return refuse("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".to_owned());
        }
    }
    if pods >= max_pods {
        return refuse(
            "OutOfpods",
            format!(
                "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: {pods}, capacity: {max_pods}"
            ),
        );
    }
    let requests = pod_requests(spec);
    for (name, wanted) in &requests {
        let has = allocatable.get(name).copied().unwrap_or(0);
        let taken = used.get(name).copied().unwrap_or(0);
        if *wanted > 0 && taken + wanted > has {
            // cpu is told in thousandths, everything else in whole units.
            let unit = if name == "cpu" { 1_000_000 } else { 1_000_000_000 };
            return refuse(
                &format!("OutOf{name}"),
                format!(
                    "Pod was rejected: Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
                    wanted / unit,
                    taken / unit,
                    has / unit
                ),
            );
        }
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NANO: i128 = 1_000_000_000;

    fn check(spec: serde_json::Value, used_cpu: i128, pods: u32) -> Result<Amounts, String> {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "a", "resources": spec["resources"]}]);
        spec.as_object_mut().unwrap().remove("resources");
        let allocatable = Amounts::from([("cpu".to_owned(), 2 * NANO), ("memory".to_owned(), NANO << 30)]);
        let used = Amounts::from([("cpu".to_owned(), used_cpu)]);
        let labels = BTreeMap::from([("os".to_owned(), "linux".to_owned())]);
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        admit(&spec, &labels, &allocatable, &used, pods, 110)
            .map_err(|r| format!("{}: {}", r.reason, r.message))
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_in_stock_words() {
        let cpu = json!({"resources": {"requests": {"cpu": "1500m"}}});
        assert!(check(cpu.clone(), 0, 0).is_ok());
        assert_eq!(
            check(cpu, NANO, 0).unwrap_err(),
            "OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
        );
        assert!(check(json!({}), 0, 110).unwrap_err().starts_with("OutOfpods: "));
        assert!(
            check(json!({"nodeSelector": {"os": "plan9"}}), 0, 0).unwrap_err().starts_with("NodeAffinity: ")
        );
    }
}
