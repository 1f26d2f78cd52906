//! CertificateSigningRequests of the built-in signers: a node's own are approved, approved ones are signed, old ones go.
//!
//! Reads:     CertificateSigningRequests.
//! Writes:    their conditions and certificates; deletes them; SubjectAccessReviews.
//! Invariant: a certificate is only made of an approved request that its signer's rules allow.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/

mod approving;
mod cleaning;
mod plan;
mod signing;

use std::{sync::Arc, time::Duration};

use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::{
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

pub use self::{
    approving::ApprovingController, cleaning::CleaningController, plan::Requested, signing::SigningController,
};
use crate::{error::ControllerError, key::ObjectKey, read};

const RESOURCE: &str = "certificatesigningrequests.certificates.k8s.io";
const KIND: &str = "CertificateSigningRequest";

/// The cluster's certificate authority, as far as these controllers use it. Errors are for the request's owner.
pub trait CertificateAuthority: Send + Sync {
    /// What a PKCS#10 request (PEM) asks for; its signature is right.
    fn inspect(&self, request: &[u8]) -> Result<Requested, String>;
    /// The certificate (PEM) for it.
    fn sign(&self, request: &[u8], usages: &[String], validity: Duration) -> Result<String, String>;
}

fn get(reader: &Reader, key: &ObjectKey) -> Result<Option<Arc<CertificateSigningRequest>>, ControllerError> {
    read::get(reader, RESOURCE, KIND, key)
}

fn condition(kind: &str, reason: &str, message: &str) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(Timestamp::now())),
        last_transition_time: None,
    }
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}
