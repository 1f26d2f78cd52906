//! The typed forms of kinds: read from JSON and written as JSON here, and nowhere else.
//!
//! Kept true: the code that reads and writes a kind is compiled once for the whole program. Derived (de)serializers are
//! generic: each crate that called them would get a copy of its own, and a Pod's alone is over 100 KiB.
//! Source:    the crate `k8s-openapi`, which has the kinds' fields.

use k8s_openapi::{
    api::{
        admissionregistration::v1 as admissionregistration, apps::v1 as apps,
        authorization::v1 as authorization, autoscaling::v2 as autoscaling, batch::v1 as batch,
        certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flowcontrol,
        networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
        scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
};
use serde_json::Value;

/// A type that stands for a kind of object in memory.
pub trait Kind: Send + Sync + Sized + 'static {
    /// `json` is one object. Errors name line and column.
    fn read(json: &[u8]) -> Result<Self, serde_json::Error>;

    fn write(&self) -> Result<Vec<u8>, serde_json::Error>;

    fn from_value(value: &Value) -> Result<Self, serde_json::Error> {
        Self::read(value.to_string().as_bytes())
    }
}

macro_rules! kinds {
    ($($kind:ty),* $(,)?) => {$(
        impl Kind for $kind {
            fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
                serde_json::from_slice(json)
            }

            fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
                serde_json::to_vec(self)
            }
        }
    )*};
}

kinds! {
    Value,
    admissionregistration::MutatingWebhookConfiguration,
    admissionregistration::ValidatingWebhookConfiguration,
    apiextensions::CustomResourceDefinition,
    apiregistration::APIService,
    apps::ControllerRevision,
    apps::DaemonSet,
    apps::Deployment,
    apps::ReplicaSet,
    apps::StatefulSet,
    authorization::SubjectAccessReview,
    autoscaling::HorizontalPodAutoscaler,
    batch::CronJob,
    batch::Job,
    certificates::CertificateSigningRequest,
    coordination::Lease,
    core::Binding,
    core::ConfigMap,
    core::Endpoints,
    core::Event,
    core::LimitRange,
    core::Namespace,
    core::Node,
    core::PersistentVolume,
    core::PersistentVolumeClaim,
    core::Pod,
    core::ReplicationController,
    core::ResourceQuota,
    core::Secret,
    core::Service,
    core::ServiceAccount,
    discovery::EndpointSlice,
    events::Event,
    flowcontrol::FlowSchema,
    flowcontrol::PriorityLevelConfiguration,
    networking::IPAddress,
    networking::Ingress,
    networking::IngressClass,
    networking::NetworkPolicy,
    networking::ServiceCIDR,
    node::RuntimeClass,
    policy::PodDisruptionBudget,
    rbac::ClusterRole,
    rbac::ClusterRoleBinding,
    rbac::Role,
    rbac::RoleBinding,
    scheduling::PriorityClass,
    storage::CSINode,
    storage::StorageClass,
    storage::VolumeAttachment,
}
