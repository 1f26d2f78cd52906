//! A pod (or a template of one) as the controls see it.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/pod-security-admission/policy/visitor.go

use std::collections::BTreeSet;

use serde_json::Value;

use crate::kinds::checks::{items, text};

/// In this order names appear in messages.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    LISTS.iter().flat_map(|list| items(&pod["spec"][*list]))
}

pub fn annotations(pod: &Value) -> impl Iterator<Item = (&str, &str)> {
    let map = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), text(value)))
}

pub fn is_windows(pod: &Value) -> bool {
    pod["spec"]["os"]["name"] == "windows"
}

/// Root inside of such a pod is nobody outside.
pub fn has_own_users(pod: &Value) -> bool {
    pod["spec"]["hostUsers"] == false
}

/// `"a", "b"`
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!("\"{}\"", names.join("\", \"")) }
}

pub fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`
pub fn named(containers: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", containers.len()), quoted(containers.iter().copied()))
}

/// Who sets something that is not allowed: the pod, containers, annotations; and the values that were set.
#[derive(Default)]
pub struct Setters<'a> {
    pub pod: bool,
    pub containers: Vec<&'a str>,
    pub values: BTreeSet<&'a str>,
}

impl<'a> Setters<'a> {
    /// Looks at a part of the pod's and every container's security context; `bad` gives the values that may not be.
    pub fn of(pod: &'a Value, field: &str, bad: impl Fn(&'a Value) -> Option<&'a str>) -> Setters<'a> {
        let mut setters = Setters::default();
        if let Some(value) = bad(&pod["spec"]["securityContext"][field]) {
            setters.pod = true;
            setters.values.insert(value);
        }
        for container in containers(pod) {
            if let Some(value) = bad(&container["securityContext"][field]) {
                setters.containers.push(text(&container["name"]));
                setters.values.insert(value);
            }
        }
        setters
    }

    pub fn is_empty(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod and containers "a", "b"`
    pub fn names(&self) -> Vec<String> {
        let pod = self.pod.then(|| "pod".to_owned());
        let containers = (!self.containers.is_empty()).then(|| named(&self.containers));
        pod.into_iter().chain(containers).collect()
    }
}

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Whether an update changes anything that a control could look at: images, added containers, old annotations.
pub fn is_significant_change(pod: &Value, old: &Value) -> bool {
    let seccomp = |pod: &Value| -> Vec<(String, String)> {
        let ours = |key: &str| key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER);
        annotations(pod).filter(|(key, _)| ours(key)).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let images = |pod: &Value| -> Vec<(String, String)> {
        containers(pod).map(|one| (text(&one["name"]).to_owned(), text(&one["image"]).to_owned())).collect()
    };
    images(pod) != images(old) || seccomp(pod) != seccomp(old)
}
