//! The APIServices of what this server serves itself, built in or by a CustomResourceDefinition.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/controlplane/apiserver/aggregator.go
//! (`DefaultGenericAPIServicePriorities`) and pkg/controlplane/controller/crdregistration

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::MANAGED;
use crate::registry::Resources;

type Versions = &'static [(&'static str, i64)];

/// Group, its `groupPriorityMinimum`, and the `versionPriority` of its versions.
const PRIORITIES: [(&str, i64, Versions); 21] = [
    ("", 18000, &[("v1", 1)]),
    ("apps", 17800, &[("v1", 15)]),
    ("events.k8s.io", 17750, &[("v1", 15)]),
    ("authentication.k8s.io", 17700, &[("v1", 15)]),
    ("authorization.k8s.io", 17600, &[("v1", 15)]),
    ("autoscaling", 17500, &[("v2", 30), ("v1", 15)]),
    ("batch", 17400, &[("v1", 15)]),
    ("certificates.k8s.io", 17300, &[("v1", 15)]),
    ("networking.k8s.io", 17200, &[("v1", 15)]),
    ("policy", 17100, &[("v1", 15)]),
    ("rbac.authorization.k8s.io", 17000, &[("v1", 15)]),
    ("storage.k8s.io", 16800, &[("v1", 15)]),
    ("apiextensions.k8s.io", 16700, &[("v1", 15)]),
    ("admissionregistration.k8s.io", 16700, &[("v1", 15)]),
    ("scheduling.k8s.io", 16600, &[("v1", 15)]),
    ("coordination.k8s.io", 16500, &[("v1", 15)]),
    ("node.k8s.io", 16300, &[("v1", 15)]),
    ("discovery.k8s.io", 16200, &[("v1", 15)]),
    ("flowcontrol.apiserver.k8s.io", 16100, &[("v1", 21)]),
    ("resource.k8s.io", 15900, &[("v1", 20)]),
    ("storagemigration.k8s.io", 16800, &[("v1beta1", 9)]),
];

/// Of custom resources.
pub const CUSTOM: (i64, i64) = (1000, 100);
/// Kept by the registration of what is built in.
const BUILTIN_LABEL: &str = "onstart";
/// Kept as long as a definition serves the group version.
pub const CUSTOM_LABEL: &str = "true";

/// The objects that should be there, by name.
pub fn wanted(resources: &Resources) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for served in resources.all().iter() {
        let (group, version) = (&*served.api.gvk.group, &*served.api.gvk.version);
        let (priority, label) = match (served.custom.is_some(), builtin(group, version)) {
            (true, _) => (CUSTOM, CUSTOM_LABEL),
            (false, Some(priority)) => (priority, BUILTIN_LABEL),
            // The group of the APIServices themselves.
            (false, None) => continue,
        };
        let name = format!("{version}.{group}");
        out.entry(name.clone()).or_insert_with(|| object(&name, group, version, priority, label));
    }
    out
}

fn builtin(group: &str, version: &str) -> Option<(i64, i64)> {
    let (_, priority, versions) = PRIORITIES.iter().find(|(own, ..)| *own == group)?;
    let own = versions.iter().find(|(own, _)| *own == version)?;
    Some((*priority, own.1))
}

fn object(name: &str, group: &str, version: &str, priority: (i64, i64), label: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name, "labels": {MANAGED: label}},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": priority.0,
            "versionPriority": priority.1,
        },
    })
}
