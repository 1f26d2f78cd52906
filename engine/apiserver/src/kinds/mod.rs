//! The strategies, one small file per kind, and the lookup.

pub mod config_map;
pub mod checks;
pub mod namespace;
pub mod pod;
pub mod pod_spec;
pub mod rbac;
pub mod secret;
pub mod service;

use crate::strategy::{Generic, Strategy};

/// A kind without a file of its own has nothing special.
pub fn strategy(group: &str, plural: &str) -> &'static dyn Strategy {
    match (group, plural) {
        ("", "configmaps") => &config_map::ConfigMap,
        ("", "secrets") => &secret::Secret,
        ("", "namespaces") => &namespace::Namespace,
        ("", "pods") => &pod::Pod,
        ("", "services") => &service::Service,
        ("rbac.authorization.k8s.io", _) => &rbac::Rbac,
        _ => &Generic,
    }
}

/// The resources whose `metadata.generation` counts changes of the spec.
const GENERATION: [(&str, &str); 18] = [
    ("", "pods"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("discovery.k8s.io", "endpointslices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
];

pub fn counts_generation(group: &str, plural: &str) -> bool {
    GENERATION.contains(&(group, plural))
}
