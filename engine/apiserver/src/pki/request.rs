//! PKCS#10 certificate requests: what they ask for, and the certificates that our authority makes of them.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/certificates/authority/policies.go

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

use super::Authority;

/// Certificates begin this much in the past, as clocks differ.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Of a validity below this, the time in the past is not taken off the end.
const SHORT: Duration = Duration::from_secs(8 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    #[error("certificate request is malformed or its signature is wrong: {0}")]
    Malformed(String),
    #[error("unrecognized usage values: {0:?}")]
    Usage(String),
    #[error("sign the certificate")]
    Sign(#[source] rcgen::Error),
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: usize,
    pub ip_addresses: usize,
    pub emails: usize,
    pub uris: usize,
}

fn der(pem: &[u8]) -> Result<CertificateSigningRequestDer<'static>, RequestError> {
    CertificateSigningRequestDer::from_pem_slice(pem).map_err(|_| RequestError::Pem)
}

/// Reads a request and checks its signature.
pub fn inspect(pem: &[u8]) -> Result<Requested, RequestError> {
    let der = der(pem)?;
    let malformed = |error: &dyn std::fmt::Display| RequestError::Malformed(error.to_string());
    let params = CertificateSigningRequestParams::from_der(&der).map_err(|error| malformed(&error))?.params;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|error| malformed(&error))?;
    let subject = &request.certification_request_info.subject;
    let count =
        |fits: fn(&SanType) -> bool| params.subject_alt_names.iter().filter(|name| fits(name)).count();
    Ok(Requested {
        common_name: subject
            .iter_common_name()
            .last()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default()
            .into(),
        organizations: subject
            .iter_organization()
            .filter_map(|name| name.as_str().ok())
            .map(str::to_owned)
            .collect(),
        dns_names: count(|name| matches!(name, SanType::DnsName(_))),
        ip_addresses: count(|name| matches!(name, SanType::IpAddress(_))),
        emails: count(|name| matches!(name, SanType::Rfc822Name(_))),
        uris: count(|name| matches!(name, SanType::URI(_))),
    })
}

/// Why a PEM chain of certificates is none.
pub fn certificate_problem(pem: &[u8]) -> Option<String> {
    use rustls::pki_types::CertificateDer;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let Ok(certificate) = certificate else {
            return Some("could not decode PEM block".into());
        };
        if let Err(error) = X509Certificate::from_der(&certificate) {
            return Some(error.to_string());
        }
        count += 1;
    }
    (count == 0).then(|| "must contain at least one CERTIFICATE PEM block".into())
}

impl Authority {
    /// The certificate (PEM) for a request (PEM): its subject, names and key; our usages and validity.
    pub fn sign_request(
        &self,
        request: &[u8],
        usages: &[String],
        validity: Duration,
    ) -> Result<String, RequestError> {
        let mut request = CertificateSigningRequestParams::from_der(&der(request)?)
            .map_err(|error| RequestError::Malformed(error.to_string()))?;
        let params = &mut request.params;
        params.key_usages = Vec::new();
        params.extended_key_usages = Vec::new();
        for usage in usages {
            match (key_usage(usage), extended_usage(usage)) {
                (Some(usage), _) if params.key_usages.contains(&usage) => {}
                (Some(usage), _) => params.key_usages.push(usage),
                (None, Some(usage)) if params.extended_key_usages.contains(&usage) => {}
                (None, Some(usage)) => params.extended_key_usages.push(usage),
                (None, None) => return Err(RequestError::Usage(usage.clone())),
            }
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = rcgen::date_time_ymd(1970, 1, 1) + since_epoch;
        params.not_before = now - BACKDATE;
        params.not_after = if validity < SHORT { now + validity } else { now - BACKDATE + validity };
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        request.signed_by(self.issuer()).map(|certificate| certificate.pem()).map_err(RequestError::Sign)
    }
}

pub const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "cert sign" => KeyUsagePurpose::KeyCertSign,
        "crl sign" => KeyUsagePurpose::CrlSign,
        "encipher only" => KeyUsagePurpose::EncipherOnly,
        "decipher only" => KeyUsagePurpose::DecipherOnly,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    let other = |oid: &[u64]| ExtendedKeyUsagePurpose::Other(oid.to_vec());
    Some(match usage {
        "any" => ExtendedKeyUsagePurpose::Any,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" | "s/mime" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        "ipsec end system" => other(&[1, 3, 6, 1, 5, 5, 7, 3, 5]),
        "ipsec tunnel" => other(&[1, 3, 6, 1, 5, 5, 7, 3, 6]),
        "ipsec user" => other(&[1, 3, 6, 1, 5, 5, 7, 3, 7]),
        "microsoft sgc" => other(&[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => other(&[2, 16, 840, 1, 113730, 4, 1]),
        _ => return None,
    })
}

/// PEM of request and key.
#[cfg(test)]
pub fn new_request(common_name: &str, organizations: &[&str]) -> Result<(String, String), rcgen::Error> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    for organization in organizations {
        params.distinguished_name.push(rcgen::DnType::OrganizationName, *organization);
    }
    let key = rcgen::KeyPair::generate()?;
    Ok((params.serialize_request(&key)?.pem()?, key.serialize_pem()))
}
