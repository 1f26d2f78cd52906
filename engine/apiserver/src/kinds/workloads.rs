//! Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/apps/validation/validation.go

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, at_most_all, count_or_percent, counters, immutable, indexed, is_set, label, non_negative,
        not_decremented, one_of, percent, require, same, text, workload_selector,
    },
    pod_spec::{validate_running_template, validate_template},
    pod_warnings, storage,
};
use crate::{
    metadata::validate_labels,
    object::remove,
    status::Cause,
    strategy::{Dependents, NameRule},
};

/// Deployments and the like name their pods after themselves.
fn warn_of_named(object: &Value, is_new: bool) -> Vec<String> {
    let mut out = if is_new { pod_warnings::of_workload_name(object) } else { Vec::new() };
    out.extend(warn_of_template(object, is_new));
    out
}

fn warn_of_template(object: &Value, _is_new: bool) -> Vec<String> {
    pod_warnings::of_template(&object["spec"]["template"], "spec.template")
}

pub static DEPLOYMENT: Checked =
    Checked::new(deployment).warning(warn_of_named).comparing(same_selector).checking_status(|new, old| {
        let mut out =
            status(new, &["updatedReplicas", "readyReplicas", "availableReplicas"], "readyReplicas");
        not_decremented(&mut out, new, old, "collisionCount");
        out
    });
pub static REPLICA_SET: Checked =
    Checked::new(replica_set).warning(warn_of_named).comparing(same_selector).checking_status(replica_status);
pub static DAEMON_SET: Checked = Checked::new(daemon_set)
    .warning(warn_of_template)
    .comparing(same_selector)
    .checking_status(|new, old| {
        let mut out = Vec::new();
        non_negative(&mut out, &new["status"], "status", &DAEMON_COUNTS);
        not_decremented(&mut out, new, old, "collisionCount");
        out
    });
pub static STATEFUL_SET: Checked = Checked::new(stateful_set)
    .warning(|set, _| pod_warnings::of_stateful_set(&set["spec"]))
    .comparing(compare_stateful_sets)
    .preparing(|set, old, _| {
        // Comes with the feature gate MaxUnavailableStatefulSet, which 1.36 leaves off.
        const ROLLING: &str = "/spec/updateStrategy/rollingUpdate";
        let in_use = |old: &Value| old.pointer(ROLLING).is_some_and(|own| !own["maxUnavailable"].is_null());
        if let Some(own) = set.pointer_mut(ROLLING).filter(|_| !old.is_some_and(in_use)) {
            remove(own, "maxUnavailable");
        }
    })
    .named(NameRule::Label)
    .checking_status(|new, old| {
        let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        let mut out = status(new, &parts, "status.readyReplicas");
        not_decremented(&mut out, new, old, "collisionCount");
        out
    });
pub static REPLICATION_CONTROLLER: Checked = Checked::new(replication_controller)
    .with_dependents(Dependents::Orphaned(None))
    .warning(warn_of_named)
    .preparing(|object, _, _| {
        // What the selector leaves open follows the template.
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        if !is_set(&object["spec"]["selector"]) && is_set(&labels) {
            object["spec"]["selector"] = labels;
        }
    })
    .checking_status(replica_status);
pub static POD_TEMPLATE: Checked = Checked::new(|object| validate_template(&object["template"], "template"))
    .warning(|object, _| pod_warnings::of_template(&object["template"], "template"));
pub static CONTROLLER_REVISION: Checked = Checked::new(|object| {
    let mut out = Vec::new();
    if object["data"].is_null() {
        out.push(Cause::required("data", "data is mandatory"));
    }
    if let Some(revision) = object["revision"].as_i64().filter(|revision| *revision < 0) {
        out.push(Cause::invalid("revision", revision, super::checks::NON_NEGATIVE));
    }
    out
})
.comparing(|new, old| {
    let mut out = Vec::new();
    immutable(&mut out, &new["data"], &old["data"], "data");
    out
});

const REPLICA_COUNTS: [&str; 9] = [
    "replicas",
    "fullyLabeledReplicas",
    "updatedReplicas",
    "readyReplicas",
    "currentReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "observedGeneration",
    "collisionCount",
];
const DAEMON_COUNTS: [&str; 9] = [
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
];

/// `ready` is how messages call the number of ready pods.
fn status(object: &Value, parts: &[&str], ready: &str) -> Causes {
    let (status, mut out) = (&object["status"], Vec::new());
    counters(&mut out, status, &REPLICA_COUNTS, parts);
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    if number("availableReplicas") > number("readyReplicas") {
        let why = format!("cannot be greater than {ready}");
        out.push(Cause::invalid("status.availableReplicas", number("availableReplicas"), &why));
    }
    out
}

fn replica_status(new: &Value, _old: &Value) -> Causes {
    status(new, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], "readyReplicas")
}

/// A strategy as upstream's own form of it is shown.
fn shown(strategy: &Value) -> Value {
    serde_json::json!({"Type": strategy["type"], "RollingUpdate": strategy["rollingUpdate"]})
}

fn same_selector(new: &Value, old: &Value) -> Causes {
    let mut out = Vec::new();
    immutable(&mut out, &new["spec"]["selector"], &old["spec"]["selector"], "spec.selector");
    out
}

fn deployment(object: &Value) -> Causes {
    let spec = &object["spec"];
    let mut out = Vec::new();
    non_negative(&mut out, spec, "spec", &["replicas"]);
    if workload_selector(&mut out, spec, "spec", "deployment") {
        out.extend(validate_running_template(&spec["template"], "spec.template", "ReplicaSet"));
    }
    strategy(&mut out, &spec["strategy"], "spec.strategy");
    non_negative(
        &mut out,
        spec,
        "spec",
        &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"],
    );
    let ready = spec["minReadySeconds"].as_i64().unwrap_or_default();
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64().filter(|deadline| *deadline <= ready) {
        let why = "must be greater than minReadySeconds";
        out.push(Cause::invalid("spec.progressDeadlineSeconds", deadline, why));
    }
    out
}

fn strategy(out: &mut Causes, strategy: &Value, path: &str) {
    let at = format!("{path}.rollingUpdate");
    match text(&strategy["type"]) {
        "Recreate" if !strategy["rollingUpdate"].is_null() => {
            out.push(Cause::forbidden(at, "may not be specified when strategy `type` is 'Recreate'"));
        }
        "RollingUpdate" if !strategy["rollingUpdate"].is_null() => {
            rolling_update(out, &strategy["rollingUpdate"], &at, "may not be 0 when `maxSurge` is 0");
        }
        "" | "Recreate" | "RollingUpdate" => {}
        _ => out.push(Cause::not_supported(path, shown(strategy), &["Recreate", "RollingUpdate"])),
    }
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

fn rolling_update(out: &mut Causes, update: &Value, path: &str, both_zero: &str) {
    let unavailable = format!("{path}.maxUnavailable");
    count_or_percent(out, &update["maxUnavailable"], &unavailable);
    count_or_percent(out, &update["maxSurge"], &format!("{path}.maxSurge"));
    if is_zero(&update["maxUnavailable"]) && is_zero(&update["maxSurge"]) {
        out.push(Cause::invalid(unavailable.as_str(), update["maxUnavailable"].clone(), both_zero));
    }
    at_most_all(out, &update["maxUnavailable"], &unavailable);
}

fn replica_set(object: &Value) -> Causes {
    let spec = &object["spec"];
    let mut out = Vec::new();
    non_negative(&mut out, spec, "spec", &["replicas", "minReadySeconds"]);
    if workload_selector(&mut out, spec, "spec", "deployment") {
        out.extend(validate_running_template(&spec["template"], "spec.template", "ReplicaSet"));
    }
    out
}

fn replication_controller(object: &Value) -> Causes {
    let spec = &object["spec"];
    let mut out = Vec::new();
    non_negative(&mut out, spec, "spec", &["minReadySeconds", "replicas"]);
    if require(&mut out, &spec["selector"], "spec.selector") {
        out.extend(validate_labels(&spec["selector"], "spec.selector"));
    }
    if require(&mut out, &spec["template"], "spec.template") {
        let labels = &spec["template"]["metadata"]["labels"];
        let chosen =
            spec["selector"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
        if is_set(&spec["selector"]) && !chosen {
            let why = "`selector` does not match template `labels`";
            out.push(Cause::invalid("spec.template.metadata.labels", labels.clone(), why));
        }
        out.extend(validate_running_template(&spec["template"], "spec.template", "ReplicationController"));
    }
    out
}

fn daemon_set(object: &Value) -> Causes {
    let spec = &object["spec"];
    let mut out = Vec::new();
    workload_selector(&mut out, spec, "spec", "daemonset");
    out.extend(validate_running_template(&spec["template"], "spec.template", "DaemonSet"));
    non_negative(&mut out, spec, "spec", &["minReadySeconds", "revisionHistoryLimit"]);
    let update = &spec["updateStrategy"];
    if !matches!(text(&update["type"]), "" | "RollingUpdate" | "OnDelete") {
        let allowed = ["RollingUpdate", "OnDelete"];
        out.push(Cause::not_supported("spec.updateStrategy", shown(update), &allowed));
    }
    if update["type"] == "RollingUpdate" && !update["rollingUpdate"].is_null() {
        let at = "spec.updateStrategy.rollingUpdate";
        let (surge, unavailable) =
            (&update["rollingUpdate"]["maxSurge"], &update["rollingUpdate"]["maxUnavailable"]);
        for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
            count_or_percent(&mut out, value, &format!("{at}.{field}"));
            at_most_all(&mut out, value, &format!("{at}.{field}"));
        }
        let (no_surge, no_gap) = (surge.is_null() || is_zero(surge), is_zero(unavailable));
        if !no_surge && !no_gap && !unavailable.is_null() {
            let why = "may not be set when maxUnavailable is non-zero";
            out.push(Cause::invalid(format!("{at}.maxSurge"), surge.clone(), why));
        } else if no_surge && no_gap {
            out.push(Cause::required(format!("{at}.maxUnavailable"), "cannot be 0 when maxSurge is 0"));
        }
    }
    out
}

fn stateful_set(object: &Value) -> Causes {
    let spec = &object["spec"];
    let mut out = Vec::new();
    let policy = &spec["podManagementPolicy"];
    if policy.as_str().is_some_and(|own| !matches!(own, "OrderedReady" | "Parallel")) {
        out.push(Cause::invalid(
            "spec.podManagementPolicy",
            policy.clone(),
            "must be 'OrderedReady' or 'Parallel'",
        ));
    }
    let update = &spec["updateStrategy"];
    match text(&update["type"]) {
        "OnDelete" if !update["rollingUpdate"].is_null() => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            let rolling = &update["rollingUpdate"];
            let own = serde_json::json!({"Partition": rolling["partition"], "MaxUnavailable": rolling["maxUnavailable"]});
            out.push(Cause::invalid("spec.updateStrategy.rollingUpdate", own, why));
        }
        "" | "OnDelete" | "RollingUpdate" => {}
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            out.push(Cause::invalid("spec.updateStrategy", shown(update), why));
        }
    }
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    non_negative(&mut out, &update["rollingUpdate"], ROLLING, &["partition"]);
    let unavailable = &update["rollingUpdate"]["maxUnavailable"];
    let at = format!("{ROLLING}.maxUnavailable");
    count_or_percent(&mut out, unavailable, &at);
    if is_zero(unavailable) {
        out.push(Cause::invalid(at.as_str(), unavailable.clone(), "cannot be 0"));
    }
    at_most_all(&mut out, unavailable, &at);
    for field in ["whenDeleted", "whenScaled"] {
        let at = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
        one_of(&mut out, &spec["persistentVolumeClaimRetentionPolicy"][field], &at, &["Retain", "Delete"]);
    }
    non_negative(&mut out, spec, "spec", &["replicas", "minReadySeconds"]);
    non_negative(&mut out, &spec["ordinals"], "spec.ordinals", &["start"]);
    non_negative(&mut out, spec, "spec", &["revisionHistoryLimit"]);
    // It becomes the subdomain of the pods.
    if is_set(&spec["serviceName"]) {
        label(&mut out, &spec["serviceName"], "spec.serviceName");
    }
    let is_readable = workload_selector(&mut out, spec, "spec", "statefulset");
    for (at, claim) in indexed(&spec["volumeClaimTemplates"], "spec.volumeClaimTemplates") {
        storage::claim_spec(&mut out, &claim["spec"], &format!("{at}.spec"));
    }
    // The claims bring volumes of their own.
    let mut template = spec["template"].clone();
    let claims =
        spec["volumeClaimTemplates"].as_array().into_iter().flatten().map(|claim| &claim["metadata"]["name"]);
    let added: Vec<Value> = claims
        .filter(|name| {
            let volumes = template["spec"]["volumes"].as_array().into_iter().flatten();
            name.is_string() && !volumes.into_iter().any(|volume| volume["name"] == **name)
        })
        .map(|name| serde_json::json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    if !added.is_empty() {
        match &mut template["spec"]["volumes"] {
            Value::Array(volumes) => volumes.extend(added),
            slot => *slot = added.into(),
        }
    }
    if is_readable {
        out.extend(validate_running_template(&template, "spec.template", "StatefulSet"));
    }
    out
}

const STATEFUL_FIELDS: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn compare_stateful_sets(new: &Value, old: &Value) -> Causes {
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        for field in STATEFUL_FIELDS {
            remove(&mut spec, field);
        }
        spec
    };
    if same(&fixed(new), &fixed(old)) {
        return Vec::new();
    }
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    vec![Cause::forbidden("spec", why)]
}

#[cfg(test)]
mod tests;
