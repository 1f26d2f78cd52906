//! Pod: phase, quality of service, graceful deletion.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/pod/strategy.go

use serde_json::{Map, Value, json};

use super::{
    checked::news,
    checks::{Causes, add, indexed, is_set, needed, same, text},
    pod_spec, pod_status, pod_warnings,
};
use crate::{
    metadata::subdomain_problems,
    object,
    status::{Cause, Status, quote},
    strategy::{Context, Strategy},
};

pub struct Pod;

impl Strategy for Pod {
    fn prepare_create(&self, _context: Context<'_>, pod: &mut Value) -> Result<(), Status> {
        pod["status"] = json!({"phase": "Pending", "qosClass": qos_class(pod)});
        pod_spec::label_keys::merge(pod);
        // Schedulers leave such a pod alone: nobody else would say why it waits.
        if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            pod["status"]["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null,
                "lastTransitionTime": object::now(),
            }]);
        }
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, pod: &mut Value, old: &Value) -> Result<(), Status> {
        if context.subresource == "status" {
            pod_status::fill(pod, old);
        }
        Ok(())
    }

    fn validate(&self, _context: Context<'_>, pod: &Value) -> Causes {
        let mut out = validate(pod);
        if is_set(&pod["spec"]["ephemeralContainers"]) {
            out.push(Cause::forbidden("spec.ephemeralContainers", "cannot be set on create"));
        }
        out
    }

    fn validate_update(&self, context: Context<'_>, pod: &Value, old: &Value) -> Causes {
        match context.subresource {
            "" => {
                let mut out = news(validate(pod), || validate(old));
                pod_spec::own_annotations::compare(&mut out, pod, old);
                out.extend(pod_spec::validate_update(&pod["spec"], &old["spec"]));
                out
            }
            "ephemeralcontainers" => ephemeral_containers(&pod["spec"], &old["spec"]),
            "resize" => pod_spec::validate(&pod["spec"], "spec"),
            "status" => pod_status::validate(pod, old),
            _ => Vec::new(),
        }
    }

    /// Updates of pods are many and made by machines: the stock server says nothing to them.
    fn warnings(&self, _context: Context<'_>, pod: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_none() { pod_warnings::of_pod(pod) } else { Vec::new() }
    }

    /// A pod that no node runs, or that has ended, needs no grace.
    fn deletion_grace_seconds(&self, pod: &Value, asked: Option<i64>) -> i64 {
        let assigned = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if !assigned || ended {
            return 0;
        }
        match asked.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default() {
            ..0 => 1,
            seconds => seconds,
        }
    }
}

/// What of several pods of a workload is to be deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// As Go reads a number of 32 bits that has one way to be written.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || (digits.starts_with(|c: char| ('1'..='9').contains(&c)) && text.parse::<i32>().is_ok())
}

fn validate(pod: &Value) -> Causes {
    let (spec, mut out) = (&pod["spec"], Vec::new());
    if let Some(cost) = pod["metadata"]["annotations"][DELETION_COST].as_str().filter(|own| !is_cost(own)) {
        let at = format!("metadata.annotations[{DELETION_COST}]");
        out.push(Cause::invalid(at, cost, "must be a 32bit integer"));
    }
    pod_spec::own_annotations::validate(&mut out, pod, "metadata.annotations");
    out.extend(pod_spec::validate(spec, "spec"));
    // In a template, whoever makes pods of it may fill it in.
    for (at, volume) in indexed(&spec["volumes"], "spec.volumes") {
        if volume["image"].is_object() {
            needed(&mut out, &volume["image"], &format!("{at}.image"), "reference");
        }
        let (name, pod) = (text(&volume["name"]), object::name(pod));
        if volume["ephemeral"].is_object() && !name.is_empty() && !pod.is_empty() {
            let claim = format!("{pod}-{name}");
            for problem in subdomain_problems(&claim) {
                let why = format!("PVC name {}: {problem}", quote(&claim));
                out.push(Cause::invalid(format!("{at}.name"), name, &why));
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for (at, container) in indexed(&spec[list], &format!("spec.{list}")) {
            let image = text(&container["image"]);
            if image.trim() != image {
                add(
                    &mut out,
                    &format!("{at}.image"),
                    image,
                    vec!["must not have leading or trailing whitespace"],
                );
            }
        }
    }
    out
}

/// Those that are there stay as they are; new ones may come.
fn ephemeral_containers(spec: &Value, old: &Value) -> Causes {
    let mut out = pod_spec::validate(spec, "spec");
    let field = "spec.ephemeralContainers";
    for before in old["ephemeralContainers"].as_array().into_iter().flatten() {
        let name = text(&before["name"]);
        let now =
            spec["ephemeralContainers"].as_array().into_iter().flatten().find(|own| own["name"] == *name);
        match now {
            None => out.push(Cause::forbidden(
                field,
                &format!("existing ephemeral containers {} may not be removed\n", quote(name)),
            )),
            Some(now) if !same(now, before) => out.push(Cause::forbidden(
                field,
                &format!("existing ephemeral containers {} may not be changed\n", quote(name)),
            )),
            Some(_) => {}
        }
    }
    out
}

/// Guaranteed when every container limits cpu and memory to what it requests, BestEffort when none asks for anything.
pub fn qos_class(pod: &Value) -> &'static str {
    let resources: Vec<&Value> = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .map(|container| &container["resources"])
        .chain(pod["spec"].get("resources"))
        .collect();
    let asked =
        |part: &Value, name: &str| part[name].as_str().filter(|text| !is_zero(text)).map(String::from);
    let any = resources.iter().any(|own| {
        ["requests", "limits"]
            .iter()
            .any(|part| ["cpu", "memory"].iter().any(|name| asked(&own[*part], name).is_some()))
    });
    if !any {
        return "BestEffort";
    }
    let empty = Value::Object(Map::new());
    let guaranteed = resources.iter().all(|own| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = asked(own.get("limits").unwrap_or(&empty), name);
            let request = asked(own.get("requests").unwrap_or(&empty), name);
            limit.is_some() && (request.is_none() || request == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

fn is_zero(quantity: &str) -> bool {
    let digits: String = quantity.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    digits.parse::<f64>().is_ok_and(|number| number == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        let full = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, class) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"requests": full, "limits": full}), "Guaranteed"),
            (json!({"limits": full}), "Guaranteed"),
            (json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": full}), "Burstable"),
        ] {
            assert_eq!(qos_class(&pod(resources.clone())), class, "{resources}");
        }
    }
}
