//! What a pod asks for as a whole, and what a quota charges for it.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/quota/v1/evaluator/core/pods.go and
//! https://github.com/kubernetes/component-helpers/blob/master/resource/helpers.go

use std::collections::{BTreeMap, BTreeSet};

use coracle_schema::Quantity;
use serde_json::Value;

use crate::{Amounts, scope::Facts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPart {
    Requests,
    Limits,
}

impl PodPart {
    fn of(self, resources: &Value) -> Amounts {
        match self {
            PodPart::Requests => Amounts::of(&resources["requests"]),
            PodPart::Limits => Amounts::of(&resources["limits"]),
        }
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The sum of containers and sidecars, or the largest moment of initialisation; amounts of the pod as a whole take
/// their place; overhead comes on top (of limits only where there is one).
pub fn pod_amounts(spec: &Value, part: PodPart) -> Amounts {
    let mut sum = Amounts::default();
    for container in items(&spec["containers"]) {
        sum.add(&part.of(&container["resources"]));
    }
    let (mut sidecars, mut starting) = (Amounts::default(), Amounts::default());
    for container in items(&spec["initContainers"]) {
        let own = part.of(&container["resources"]);
        if container["restartPolicy"] == "Always" {
            sum.add(&own);
            sidecars.add(&own);
            starting.cover(&sidecars);
        } else {
            let mut moment = own;
            moment.add(&sidecars);
            starting.cover(&moment);
        }
    }
    sum.cover(&starting);
    for (name, amount) in part.of(&spec["resources"]).iter() {
        if matches!(name, "cpu" | "memory") || name.starts_with("hugepages-") {
            sum.set(name, amount);
        }
    }
    for (name, amount) in Amounts::of(&spec["overhead"]).iter() {
        let limited = sum.get(name).is_some_and(|own| !own.is_zero());
        if part == PodPart::Requests || limited {
            sum.add_one(name, amount);
        }
    }
    sum
}

const SHARED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// In the words of quotas: `cpu` is also `requests.cpu`; limits are `limits.cpu`; extended resources have requests only.
fn in_quota_words(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut out = Amounts::default();
    for (name, amount) in requests.iter() {
        let huge = name.starts_with("hugepages-");
        if SHARED.contains(&name) || huge {
            out.set(name, amount);
        }
        if SHARED.contains(&name) || huge || is_extended(name) {
            out.set(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| SHARED.contains(name)) {
        out.set(format!("limits.{name}"), amount);
    }
    out
}

pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

pub fn charge(pod: &Value) -> (Amounts, Facts) {
    let spec = &pod["spec"];
    let mut amounts = Amounts::default();
    amounts.set("count/pods", Quantity::whole(1));
    if !matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed") {
        amounts
            .add(&in_quota_words(&pod_amounts(spec, PodPart::Requests), &pod_amounts(spec, PodPart::Limits)));
        amounts.set("pods", Quantity::whole(1));
    }
    let metadata = &pod["metadata"];
    let given_up = metadata["deletionTimestamp"].as_str().and_then(|at| at.parse().ok()).and_then(
        |at: jiff::Timestamp| {
            let grace = metadata["deletionGracePeriodSeconds"].as_i64()?;
            at.checked_add(jiff::SignedDuration::from_secs(grace)).ok()
        },
    );
    let facts = Facts {
        is_pod: true,
        terminating: spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0),
        best_effort: is_best_effort(pod),
        priority_class: text(&spec["priorityClassName"]).to_owned(),
        crosses_namespaces: crosses_namespaces(&spec["affinity"]),
        given_up,
        ..Facts::default()
    };
    (amounts, facts)
}

/// No container asks for cpu or memory, nor does the pod.
fn is_best_effort(pod: &Value) -> bool {
    if let Some(class) = pod["status"]["qosClass"].as_str() {
        return class == "BestEffort";
    }
    let spec = &pod["spec"];
    let all = items(&spec["containers"]).iter().chain(items(&spec["initContainers"])).chain([spec]);
    let mut lists = all.flat_map(|one| [&one["resources"]["requests"], &one["resources"]["limits"]]);
    lists.all(|list| {
        let amounts = Amounts::of(list);
        ["cpu", "memory"].iter().all(|name| amounts.get(name).is_none_or(Quantity::is_zero))
    })
}

fn crosses_namespaces(affinity: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let rules = &affinity[*kind];
        let required = items(&rules["requiredDuringSchedulingIgnoredDuringExecution"]).iter();
        let preferred = items(&rules["preferredDuringSchedulingIgnoredDuringExecution"]).iter();
        let mut terms = required.chain(preferred.map(|weighted| &weighted["podAffinityTerm"]));
        terms.any(|term| !items(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null())
    })
}

/// What every container must name when the quota limits it.
const EXPLICIT: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// `must specify limits.cpu for: a,b; …` when containers leave out what `required` limits.
pub fn unspecified(pod: &Value, required: &[&str]) -> Option<String> {
    let spec = &pod["spec"];
    // Amounts of the pod as a whole speak for its containers.
    let pod_level = [PodPart::Requests, PodPart::Limits].iter().any(|part| {
        let amounts = part.of(&spec["resources"]);
        amounts.names().any(|name| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-"))
    });
    if pod_level {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in items(&spec["containers"]).iter().chain(items(&spec["initContainers"])) {
        let resources = &container["resources"];
        let named = in_quota_words(&PodPart::Requests.of(resources), &PodPart::Limits.of(resources));
        for name in required.iter().filter(|name| EXPLICIT.contains(name) && named.get(name).is_none()) {
            missing.entry(name).or_default().insert(text(&container["name"]));
        }
    }
    let texts: Vec<String> = missing
        .into_iter()
        .map(|(name, containers)| {
            format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
        })
        .collect();
    (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
}
