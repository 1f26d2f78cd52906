//! What may change in a pod that is there: images, a shorter deadline, more tolerations, fewer scheduling gates.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidatePodUpdate`)

use coracle_schema::UNKNOWN;
use serde_json::Value;

use super::super::checks::{Causes, indexed, is_set, items, same, text};
use crate::{object::remove, status::Cause};

const REFUSED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const GATES_ONLY_GO: &str = "only deletion is allowed, but found new scheduling gate";

/// Of the pod itself, not of its subresources.
pub fn validate_update(spec: &Value, old: &Value) -> Causes {
    let mut out = Vec::new();
    for list in ["containers", "initContainers"] {
        if items(&spec[list]).len() != items(&old[list]).len() {
            out.push(Cause::forbidden(
                format!("spec.{list}"),
                "pod updates may not add or remove containers",
            ));
            return out;
        }
    }
    if deadline(&mut out, spec, old) {
        return out;
    }
    tolerations(&mut out, spec, old);
    for (at, gate) in indexed(&spec["schedulingGates"], "spec.schedulingGates") {
        if !items(&old["schedulingGates"]).contains(gate) {
            let why = format!("{GATES_ONLY_GO} '{}'", text(&gate["name"]));
            out.push(Cause::forbidden(format!("{at}.name"), &why));
        }
    }
    let gated = !items(&old["schedulingGates"]).is_empty();
    if gated {
        narrower(&mut out, spec, old);
    }
    let changed = changed_fields(&fixed(spec, spec, gated), &fixed(old, spec, gated));
    if !changed.is_empty() {
        out.push(Cause::forbidden("spec", &format!("{REFUSED}\nchanged: {}", changed.join(", "))));
    }
    out
}

/// True when nothing else is to be looked at.
fn deadline(out: &mut Causes, spec: &Value, old: &Value) -> bool {
    let at = "spec.activeDeadlineSeconds";
    match (spec["activeDeadlineSeconds"].as_i64(), old["activeDeadlineSeconds"].as_i64()) {
        (Some(new), Some(before)) if new > before => {
            out.push(Cause::invalid(at, new, "must be less than or equal to previous value"));
            return true;
        }
        (None, Some(_)) => {
            out.push(Cause::invalid(at, Value::Null, "must not update from a positive integer to nil value"));
        }
        _ => {}
    }
    false
}

fn tolerations(out: &mut Causes, spec: &Value, old: &Value) {
    let plain = |toleration: &Value| {
        let mut plain = toleration.clone();
        remove(&mut plain, "tolerationSeconds");
        plain
    };
    let new: Vec<Value> = items(&spec["tolerations"]).iter().map(plain).collect();
    if items(&old["tolerations"]).iter().any(|before| !new.contains(&plain(before))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        out.push(Cause::forbidden("spec.tolerations", why));
    }
}

/// The spec without what may change. The rest of a gated pod's placement may still become narrower.
fn fixed(spec: &Value, new: &Value, gated: bool) -> Value {
    let mut fixed = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in fixed.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            remove(container, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        remove(&mut fixed, field);
    }
    let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or_default();
    if grace < 0 && new["terminationGracePeriodSeconds"] == 1 {
        fixed["terminationGracePeriodSeconds"] = 1.into();
    }
    if gated {
        remove(&mut fixed, "nodeSelector");
        let affinity = &mut fixed["affinity"];
        remove(affinity, "nodeAffinity");
        if !is_set(affinity) {
            remove(&mut fixed, "affinity");
        }
    }
    fixed
}

/// Where a gated pod may go only becomes less: more labels asked for, more of each required term, all else as before.
fn narrower(out: &mut Causes, spec: &Value, old: &Value) {
    let kept = old["nodeSelector"].as_object().into_iter().flatten();
    if kept.into_iter().any(|(key, value)| spec["nodeSelector"][key] != *value) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        out.push(Cause::invalid("spec.nodeSelector", spec["nodeSelector"].clone(), why));
    }
    const AT: &str = "spec.affinity.nodeAffinity";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let [new, old] = [spec, old].map(|spec| &spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]);
    let (new, old) = (items(new), items(old));
    if old.is_empty() {
        return;
    }
    let at = format!("{AT}.{REQUIRED}.nodeSelectorTerms");
    if new.len() != old.len() {
        let shown = Value::from(new.to_vec());
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return out.push(Cause::invalid(at, shown, why));
    }
    let begins = |new: &Value, old: &Value| items(new).starts_with(items(old));
    for (position, (new, old)) in new.iter().zip(old).enumerate() {
        let empty = !is_set(&old["matchExpressions"]) && !is_set(&old["matchFields"]);
        let grown =
            ["matchExpressions", "matchFields"].iter().all(|field| begins(&new[*field], &old[*field]));
        if !same(new, old) && (empty || !grown) {
            let why = "only additions are allowed (no mutations or deletions)";
            out.push(Cause::invalid(format!("{at}[{position}]"), new.clone(), why));
        }
    }
}

fn changed_fields(new: &Value, old: &Value) -> Vec<String> {
    let (Some(new_fields), Some(old_fields)) = (new.as_object(), old.as_object()) else { return Vec::new() };
    let added = old_fields.keys().filter(|field| !new_fields.contains_key(*field));
    let all = new_fields.keys().chain(added).filter(|field| *field != UNKNOWN);
    all.filter(|field| !same(&new[*field], &old[*field])).map(|field| format!("spec.{field}")).collect()
}
