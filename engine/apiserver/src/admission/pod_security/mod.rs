//! PodSecurity: a namespace's labels say which Pod Security Standard its pods must keep (`enforce`), and which one their
//! authors are warned about (`warn`) or the audit log tells of (`audit`), templates of workloads included.
//!
//! Reads:     the Namespace's labels; when its `enforce` becomes stricter, its pods.
//! Invariant: a namespace without such labels costs one look at its labels. There are no exemptions.
//! Source:    https://kubernetes.io/docs/concepts/security/pod-security-admission/ and
//! https://github.com/kubernetes/kubernetes/tree/master/staging/src/k8s.io/pod-security-admission

mod controls;
mod pod;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use coracle_store::{Key, Resource, Scope};
use serde_json::Value;

use super::{Operation, Request};
use crate::{
    object,
    status::{Cause, Status},
};
use controls::Violation;
use policy::{Level, Policy, Standard};

/// Where workloads keep the template of their pods.
pub const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
    ("batch", "jobs", "/spec/template"),
];

/// Subresources of pods that leave the spec alone.
const APART: [&str; 8] = ["attach", "binding", "eviction", "exec", "log", "portforward", "proxy", "status"];

/// More pods than these are not looked at when a namespace's level changes.
const PODS_CHECKED_MAX: usize = 3000;

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(object) = object.filter(|_| matches!(request.operation, Operation::Create | Operation::Update))
    else {
        return Ok(());
    };
    let api = &request.target.served.api;
    let subresource = request.target.subresource.as_str();
    match (&*api.gvk.group, &*api.plural) {
        ("", "namespaces") if subresource.is_empty() => namespace(request, object),
        ("", "pods") if !APART.contains(&subresource) => pod(request, object),
        (group, plural) if subresource.is_empty() => {
            let place = TEMPLATES.iter().find(|(g, p, _)| (*g, *p) == (group, plural));
            if let Some(template) = place.and_then(|(_, _, pointer)| object.pointer(pointer)) {
                tell(request, &of_namespace(request).unwrap_or_default(), template);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What the labels of the request's namespace say; none when they say nothing.
fn of_namespace(request: &Request<'_>) -> Option<Policy> {
    let name = request.target.namespace.as_str();
    let key = Key { resource: Resource("namespaces".into()), namespace: "".into(), name: name.into() };
    let namespace = request.state.reader.get(&key)?;
    let labels = namespace.meta.labels.iter().map(|(key, value)| (&**key, &**value));
    Some(Policy::of(labels).0).filter(|policy| *policy != Policy::default())
}

fn pod(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    let Some(policy) = of_namespace(request) else { return Ok(()) };
    if request.old.is_some_and(|old| !pod::is_significant_change(pod, old)) {
        return Ok(());
    }
    request.annotate("pod-security.kubernetes.io/enforce-policy", policy.enforce.to_string());
    let violations = controls::evaluate(policy.enforce, pod);
    if !violations.is_empty() {
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&violations));
        return Err(request.forbid(pod, why));
    }
    tell(request, &policy, pod);
    Ok(())
}

/// Warns the author, and the readers of the audit log.
fn tell(request: &Request<'_>, policy: &Policy, pod: &Value) {
    let against = |standard: Standard| {
        let violations = controls::evaluate(standard, pod);
        let text = || format!("would violate PodSecurity \"{standard}\": {}", details(&violations));
        (!violations.is_empty()).then(text)
    };
    if let Some(text) = against(policy.audit) {
        request.annotate("pod-security.kubernetes.io/audit-violations", text);
    }
    if let Some(text) = against(policy.warn) {
        request.warn(text);
    }
}

fn details(violations: &[Violation]) -> String {
    let texts = violations.iter().map(|one| format!("{} ({})", one.reason, one.detail));
    texts.collect::<Vec<_>>().join(", ")
}

/// Labels must make sense; who makes `enforce` stricter hears which pods would be refused now.
fn namespace(request: &Request<'_>, namespace: &Value) -> Result<(), Status> {
    let (policy, wrong) = policy_of(namespace);
    let (before, wrong_before) = request.old.map(policy_of).unwrap_or_default();
    if !wrong.is_empty() && (request.old.is_none() || wrong != wrong_before) {
        let texts: Vec<String> = wrong.iter().map(Cause::to_string).collect();
        let why = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(", ")) };
        return Err(Status { code: 422, reason: "Invalid".into(), ..request.forbid(namespace, why) });
    }
    let (new, old) = (policy.enforce, before.enforce);
    let relaxed = new.version == old.version && new.level <= old.level;
    if request.old.is_some() && new.level != Level::Privileged && !relaxed {
        warn_of_pods(request, object::name(namespace), new);
    }
    Ok(())
}

fn policy_of(namespace: &Value) -> (Policy, Vec<Cause>) {
    let labels = namespace["metadata"]["labels"].as_object().into_iter().flatten();
    Policy::of(labels.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())))
}

fn warn_of_pods(request: &Request<'_>, namespace: &str, standard: Standard) {
    let snapshot = request.state.reader.snapshot();
    let scope = Scope { resource: Resource("pods".into()), namespace: Some(namespace.into()), name: None };
    let all = snapshot.count(&scope);
    if all > PODS_CHECKED_MAX {
        request.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS_CHECKED_MAX} of {all} existing pods"
        ));
    }
    // By what is wrong: the first pod's name, and how many there are.
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for object in snapshot.list(&scope).take(PODS_CHECKED_MAX) {
        let Ok(pod) = crate::verbs::decode(object) else { continue };
        let violations = controls::evaluate(standard, &pod);
        if violations.is_empty() {
            continue;
        }
        let reasons = violations.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>().join(", ");
        found.entry(reasons).or_insert_with(|| (object.key.name.to_string(), 0)).1 += 1;
    }
    if found.is_empty() {
        return;
    }
    request.warn(format!(
        "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
    ));
    let mut texts: Vec<String> = found
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            more => format!("{name} (and {} other pods): {reasons}", more - 1),
        })
        .collect();
    texts.sort();
    texts.into_iter().for_each(|text| request.warn(text));
}
