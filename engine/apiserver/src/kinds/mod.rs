//! The strategies, one small file per kind, and the lookup.

mod address;
pub mod admission_rules;
mod api_service;
mod autoscaler;
mod batch;
mod certificates;
mod checked;
pub use checked::Checked;
pub mod checks;
mod conditions;
pub use conditions::conditions;
pub use policy::is_system_class;
mod config_data;
mod cron;
mod csi;
mod devices;
mod endpoints;
mod event;
mod flow_control;
pub mod gates;
pub mod ip;
mod job_policy;
mod job_status;
mod key_pair;
mod lease;
pub mod namespace;
mod network;
mod node;
pub mod pod;
pub mod pod_spec;
mod pod_status;
mod pod_warnings;
mod policy;
mod quota;
mod rbac;
pub mod service;
mod service_account;
mod storage;
mod storage_migration;
mod warnings;
mod webhook_client;
mod webhooks;
mod workloads;

use crate::strategy::{Generic, Strategy};

/// A kind without a file of its own has nothing special.
pub fn strategy(group: &str, plural: &str) -> &'static dyn Strategy {
    match (group, plural) {
        ("", "configmaps") => &config_data::CONFIG_MAP,
        ("", "endpoints") => &endpoints::ENDPOINTS,
        ("" | "events.k8s.io", "events") => &event::EVENT,
        ("", "limitranges") => &quota::LIMIT_RANGE,
        ("", "namespaces") => &namespace::Namespace,
        ("", "nodes") => &node::NODE,
        ("", "persistentvolumeclaims") => &storage::CLAIM,
        ("", "persistentvolumes") => &storage::VOLUME,
        ("", "pods") => &pod::Pod,
        ("", "podtemplates") => &workloads::POD_TEMPLATE,
        ("", "replicationcontrollers") => &workloads::REPLICATION_CONTROLLER,
        ("", "resourcequotas") => &quota::QUOTA,
        ("", "secrets") => &config_data::SECRET,
        ("", "serviceaccounts") => &service_account::SERVICE_ACCOUNT,
        ("", "services") => &service::Service,
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => &webhooks::WEBHOOKS,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => &crate::admission::policy::MUTATING,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            &crate::admission::policy::VALIDATING
        }
        (
            "admissionregistration.k8s.io",
            "mutatingadmissionpolicybindings" | "validatingadmissionpolicybindings",
        ) => &crate::admission::policy::BINDING,
        ("apiextensions.k8s.io", "customresourcedefinitions") => &crate::crd::definition::Definition,
        ("apiregistration.k8s.io", "apiservices") => &api_service::API_SERVICE,
        ("apps", "controllerrevisions") => &workloads::CONTROLLER_REVISION,
        ("apps", "daemonsets") => &workloads::DAEMON_SET,
        ("apps", "deployments") => &workloads::DEPLOYMENT,
        ("apps", "replicasets") => &workloads::REPLICA_SET,
        ("apps", "statefulsets") => &workloads::STATEFUL_SET,
        ("autoscaling", "horizontalpodautoscalers") => &autoscaler::AUTOSCALER,
        ("batch", "cronjobs") => &batch::CRON_JOB,
        ("batch", "jobs") => &batch::JOB,
        ("certificates.k8s.io", "certificatesigningrequests") => &certificates::SigningRequest,
        ("coordination.k8s.io", "leases") => &lease::LEASE,
        ("discovery.k8s.io", "endpointslices") => &endpoints::ENDPOINT_SLICE,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => &flow_control::SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => &flow_control::LEVEL,
        ("networking.k8s.io", "ingressclasses") => &network::INGRESS_CLASS,
        ("networking.k8s.io", "ingresses") => &network::INGRESS,
        ("networking.k8s.io", "ipaddresses") => &address::IP_ADDRESS,
        ("networking.k8s.io", "networkpolicies") => &network::NETWORK_POLICY,
        ("networking.k8s.io", "servicecidrs") => &address::SERVICE_CIDR,
        ("node.k8s.io", "runtimeclasses") => &node::RUNTIME_CLASS,
        ("policy", "poddisruptionbudgets") => &policy::BUDGET,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => &rbac::CLUSTER_ROLE_BINDING,
        ("rbac.authorization.k8s.io", "clusterroles") => &rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "rolebindings") => &rbac::ROLE_BINDING,
        ("rbac.authorization.k8s.io", "roles") => &rbac::ROLE,
        ("resource.k8s.io", "deviceclasses") => &devices::CLASS,
        ("resource.k8s.io", "resourceclaims") => &devices::CLAIM,
        ("resource.k8s.io", "resourceclaimtemplates") => &devices::CLAIM_TEMPLATE,
        ("resource.k8s.io", "resourceslices") => &devices::SLICE,
        ("scheduling.k8s.io", "priorityclasses") => &policy::PRIORITY_CLASS,
        ("storage.k8s.io", "csidrivers") => &csi::DRIVER,
        ("storage.k8s.io", "csinodes") => &csi::NODE,
        ("storage.k8s.io", "csistoragecapacities") => &csi::CAPACITY,
        ("storage.k8s.io", "storageclasses") => &storage::CLASS,
        ("storage.k8s.io", "volumeattachments") => &csi::ATTACHMENT,
        ("storage.k8s.io", "volumeattributesclasses") => &csi::ATTRIBUTES,
        ("storagemigration.k8s.io", "storageversionmigrations") => &storage_migration::Migration,
        _ => &Generic,
    }
}

pub use webhook_client::{authorities, client as webhook_client, review_versions};

/// The resources whose `metadata.generation` counts changes of the spec.
const GENERATION: [(&str, &str); 26] = [
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
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
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"),
];

pub fn counts_generation(group: &str, plural: &str) -> bool {
    GENERATION.contains(&(group, plural))
}

/// What a PUT without resourceVersion does not replace.
const CONDITIONAL: [(&str, &str); 16] = [
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

/// Whose status may come along when they are made: `PrepareForCreate` of all other stock strategies clears or sets it.
pub fn keeps_posted_status(group: &str, plural: &str) -> bool {
    matches!((group, plural), ("", "nodes") | ("networking.k8s.io", "servicecidrs"))
}

/// `AllowUnconditionalUpdate` of the stock strategies.
pub fn updates_unconditionally(group: &str, plural: &str) -> bool {
    !CONDITIONAL.contains(&(group, plural))
}
