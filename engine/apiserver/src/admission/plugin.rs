//! The plugins of this server by their stock names, and what each is for.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/

use super::Operation::{self, Connect, Create, Delete, Update};

/// `Debug` gives the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    NamespaceLifecycle,
    LimitRanger,
    ServiceAccount,
    TaintNodesByCondition,
    Priority,
    DefaultTolerationSeconds,
    DefaultStorageClass,
    StorageObjectInUseProtection,
    RuntimeClass,
    DefaultIngressClass,
    PodTopologyLabels,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    NodeRestriction,
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    PodSecurity,
    EventRateLimit,
    PersistentVolumeClaimResize,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
    ResourceQuota,
}

impl Plugin {
    pub const ALL: [Plugin; 23] = [
        Plugin::NamespaceLifecycle,
        Plugin::LimitRanger,
        Plugin::ServiceAccount,
        Plugin::TaintNodesByCondition,
        Plugin::Priority,
        Plugin::DefaultTolerationSeconds,
        Plugin::DefaultStorageClass,
        Plugin::StorageObjectInUseProtection,
        Plugin::RuntimeClass,
        Plugin::DefaultIngressClass,
        Plugin::PodTopologyLabels,
        Plugin::MutatingAdmissionPolicy,
        Plugin::MutatingAdmissionWebhook,
        Plugin::NodeRestriction,
        Plugin::CertificateApproval,
        Plugin::CertificateSigning,
        Plugin::CertificateSubjectRestriction,
        Plugin::PodSecurity,
        Plugin::EventRateLimit,
        Plugin::PersistentVolumeClaimResize,
        Plugin::ValidatingAdmissionPolicy,
        Plugin::ValidatingAdmissionWebhook,
        Plugin::ResourceQuota,
    ];

    /// Whether the stock plugin looks at such requests; ours looks as well, but that is not told as its work.
    pub fn handles(self, operation: Operation) -> bool {
        let handled: &[Operation] = match self {
            Plugin::NamespaceLifecycle | Plugin::Priority | Plugin::NodeRestriction => {
                &[Create, Update, Delete]
            }
            Plugin::LimitRanger
            | Plugin::ServiceAccount
            | Plugin::DefaultTolerationSeconds
            | Plugin::PodSecurity
            | Plugin::EventRateLimit
            | Plugin::ResourceQuota => &[Create, Update],
            Plugin::TaintNodesByCondition
            | Plugin::DefaultStorageClass
            | Plugin::StorageObjectInUseProtection
            | Plugin::RuntimeClass
            | Plugin::DefaultIngressClass
            | Plugin::PodTopologyLabels
            | Plugin::CertificateSubjectRestriction => &[Create],
            Plugin::CertificateApproval
            | Plugin::CertificateSigning
            | Plugin::PersistentVolumeClaimResize => &[Update],
            Plugin::MutatingAdmissionPolicy => &[Create, Update, Connect],
            Plugin::MutatingAdmissionWebhook
            | Plugin::ValidatingAdmissionPolicy
            | Plugin::ValidatingAdmissionWebhook => &[Create, Update, Delete, Connect],
        };
        handled.contains(&operation)
    }
}
