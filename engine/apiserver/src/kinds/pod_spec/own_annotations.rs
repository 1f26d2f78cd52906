//! Annotations of pods that mean something to a node: AppArmor's profiles, from before there was a field for them, and
//! the mark of a static pod's mirror. A pod keeps them as they are.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//! (`ValidateAppArmorPodAnnotations`, `ValidatePodSpecificAnnotationUpdates`)

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::checks::{Causes, items, text};
use crate::status::{Cause, quote};

const MIRROR: &str = "kubernetes.io/config.mirror";
const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The keys, containers and profiles of a pod or a template.
fn profiles(pod: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let all = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    all.filter_map(|(key, profile)| Some((key.as_str(), key.strip_prefix(PREFIX)?, profile)))
}

/// `path` is that of the annotations.
pub fn validate(out: &mut Causes, pod: &Value, path: &str) {
    let mirrored = &pod["metadata"]["annotations"][MIRROR];
    if !mirrored.is_null() && text(&pod["spec"]["nodeName"]).is_empty() {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        out.push(Cause::invalid(format!("{path}[{MIRROR}]"), mirrored.clone(), why));
    }
    for (key, name, profile) in profiles(pod) {
        let is_own = |list: &&str| items(&pod["spec"][*list]).iter().any(|own| own["name"] == name);
        let at = format!("{path}[{key}]");
        if !["containers", "initContainers", "ephemeralContainers"].iter().any(is_own) {
            out.push(Cause::invalid(at.as_str(), name, "container not found"));
        }
        let profile = text(profile);
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            let why = format!("invalid AppArmor profile name: {}", quote(profile));
            out.push(Cause::invalid(at, profile, &why));
        }
    }
}

/// Of a pod that is there.
pub fn compare(out: &mut Causes, pod: &Value, old: &Value) {
    let (new, before) = (&pod["metadata"]["annotations"], &old["metadata"]["annotations"]);
    let all = [before, new].into_iter().flat_map(|own| own.as_object().into_iter().flatten());
    let keys: BTreeSet<&str> = all.map(|(key, _)| key.as_str()).collect();
    for key in keys.into_iter().filter(|key| new[*key] != before[*key]) {
        let whose = match key {
            MIRROR => "mirror pod annotation",
            _ if key.starts_with(PREFIX) => "AppArmor annotations",
            _ => continue,
        };
        let what = if before[key].is_null() { "add" } else { "remove or update" };
        out.push(Cause::forbidden(
            format!("metadata.annotations[{key}]"),
            &format!("may not {what} {whose}"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::checks::assert_cases, *};
    use serde_json::json;

    fn pod(annotations: Value) -> Value {
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "a"}]}})
    }

    #[test]
    fn annotations_name_containers_and_profiles() {
        assert_cases(
            pod(json!({"container.apparmor.security.beta.kubernetes.io/a": "localhost/x"})),
            |pod| {
                let mut out = Vec::new();
                validate(&mut out, pod, "metadata.annotations");
                out
            },
            &[
                (
                    pod(json!({"container.apparmor.security.beta.kubernetes.io/b": "unconfined"})),
                    &[
                        "metadata.annotations[container.apparmor.security.beta.kubernetes.io/b]: Invalid value: \"b\": container not found",
                    ],
                ),
                (
                    pod(json!({"kubernetes.io/config.mirror": "m"})),
                    &[
                        "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"m\": must set spec.nodeName if mirror pod annotation is set",
                    ],
                ),
                (
                    pod(json!({"container.apparmor.security.beta.kubernetes.io/a": "x"})),
                    &[
                        "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: Invalid value: \"x\": invalid AppArmor profile name: \"x\"",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn annotations_of_a_pod_that_is_there_stay() {
        let (none, one) =
            (pod(json!({})), pod(json!({"container.apparmor.security.beta.kubernetes.io/a": ""})));
        for (new, old, what) in [(&one, &none, "add"), (&none, &one, "remove or update")] {
            let mut out = Vec::new();
            compare(&mut out, new, old);
            let texts: Vec<String> = out.iter().map(Cause::to_string).collect();
            let at = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]";
            assert_eq!(texts, [format!("{at}: Forbidden: may not {what} AppArmor annotations")]);
        }
        let mut out = Vec::new();
        compare(&mut out, &one, &one);
        assert!(out.is_empty());
    }
}
