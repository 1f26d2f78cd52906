//! PKCS#10 certificate requests: what they ask for, and the certificates that our authority makes of them.
//!
//! Kept true: a certificate has the request's subject and key byte for byte. `rcgen` keeps one value of each attribute of
//!            a subject, takes the kind of a key from the request's signature, and knows few extensions; so it makes the
//!            certificate for a key of ours, and both are put in.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/certificates/authority/policies.go and
//!         https://www.rfc-editor.org/rfc/rfc5280#section-4.1

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SigningKey,
};
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate, X509CertificationRequest},
};

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

fn malformed(error: impl std::fmt::Display) -> RequestError {
    RequestError::Malformed(error.to_string())
}

fn parsed(der: &[u8]) -> Result<X509CertificationRequest<'_>, RequestError> {
    let (_, request) = X509CertificationRequest::from_der(der).map_err(malformed)?;
    request.verify_signature().map_err(malformed)?;
    Ok(request)
}

/// Reads a request and checks its signature.
pub fn inspect(pem: &[u8]) -> Result<Requested, RequestError> {
    let der = der(pem)?;
    let request = parsed(&der)?;
    let subject = &request.certification_request_info.subject;
    let names = names(&request);
    let count = |fits: fn(&SanType) -> bool| names.iter().filter(|name| fits(name)).count();
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

/// The names beside the subject that certificates may have; others are passed over.
fn names(request: &X509CertificationRequest<'_>) -> Vec<SanType> {
    let name = |name: &GeneralName<'_>| {
        Some(match name {
            GeneralName::DNSName(name) => SanType::DnsName((*name).try_into().ok()?),
            GeneralName::RFC822Name(name) => SanType::Rfc822Name((*name).try_into().ok()?),
            GeneralName::URI(name) => SanType::URI((*name).try_into().ok()?),
            GeneralName::IPAddress(bytes) => SanType::IpAddress(match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
            }),
            _ => return None,
        })
    };
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(list) = extension {
            names.extend(list.general_names.iter().filter_map(name));
        }
    }
    names
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
        let der = der(request)?;
        let request = parsed(&der)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = names(&request);
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
        params.is_ca = IsCa::NoCa;
        // Basic constraints, of which all are the default: no authority.
        let mut no_authority = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![SEQUENCE, 0]);
        no_authority.set_criticality(true);
        params.custom_extensions.push(no_authority);
        params.use_authority_key_identifier_extension = true;
        let key = self.issuer().key();
        let made = params.signed_by(key, self.issuer()).map_err(RequestError::Sign)?;
        let info = &request.certification_request_info;
        let whole = replaced(made.der(), &[info.subject.as_raw(), info.subject_pki.raw], key)?;
        Ok(pem("CERTIFICATE", &whole))
    }
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 3;

/// The certificate with another subject and key, which stand beside each other, signed again.
fn replaced(der: &[u8], subject_and_key: &[&[u8]], key: &impl SigningKey) -> Result<Vec<u8>, RequestError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(malformed)?;
    let body: &[u8] = certificate.tbs_certificate.as_ref();
    let subject = certificate.tbs_certificate.subject.as_raw();
    let spki = certificate.tbs_certificate.subject_pki.raw;
    let at = |part: &[u8]| part.as_ptr() as usize - body.as_ptr() as usize;
    let mut parts = vec![&body[head(body)..at(subject)]];
    parts.extend(subject_and_key);
    parts.push(&body[at(spki) + spki.len()..]);
    let body_now = wrapped(SEQUENCE, &parts);
    let rest = &der[head(der) + body.len()..];
    let algorithm = &rest[..head(rest) + usize::from(rest[1])];
    let signature = key.sign(&body_now).map_err(RequestError::Sign)?;
    Ok(wrapped(SEQUENCE, &[&body_now, algorithm, &wrapped(BIT_STRING, &[&[0], &signature])]))
}

/// How long tag and length of an encoded value are.
fn head(der: &[u8]) -> usize {
    2 + if der[1] < 0x80 { 0 } else { usize::from(der[1] & 0x7f) }
}

/// A value of these parts.
fn wrapped(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        out.push(0x80 | length.len() as u8);
        out.extend_from_slice(length);
    }
    out.extend(content);
    out
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// By OpenSSL, of a P-384 key: subject `O=devs, O=ops, CN=first, CN=ursula`; alternative names `DNS:a.b`,
    /// `IP:10.0.0.9` and one of a kind of its own; an extension of a kind of its own.
    const REQUEST: &[u8] = include_bytes!("request.pem");

    #[test]
    fn a_certificate_has_subject_names_and_key_of_its_request() {
        let asked = inspect(REQUEST).expect("reads");
        let expected = Requested {
            common_name: "ursula".into(),
            organizations: vec!["devs".into(), "ops".into()],
            dns_names: 1,
            ip_addresses: 1,
            ..Requested::default()
        };
        assert_eq!(asked, expected);
        let dir = tempfile::tempdir().expect("directory");
        let authority = Authority::open(dir.path()).expect("opens");
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        let hour = Duration::from_secs(3600);
        let made = authority.sign_request(REQUEST, &usages, hour).expect("signs");
        let (_, made) = x509_parser::pem::parse_x509_pem(made.as_bytes()).expect("PEM");
        let made = made.parse_x509().expect("certificate");
        let (_, own) = X509Certificate::from_der(authority.der()).expect("certificate");
        made.verify_signature(Some(own.public_key())).expect("signed by the authority");
        let der = der(REQUEST).expect("PEM");
        let request = parsed(&der).expect("request");
        let info = &request.certification_request_info;
        assert_eq!(made.subject().as_raw(), info.subject.as_raw());
        assert_eq!(made.public_key().raw, info.subject_pki.raw);
        assert!(!made.is_ca() && made.validity().is_valid());
        let names = made.subject_alternative_name().expect("well-formed").expect("there");
        assert_eq!(names.value.general_names.len(), 2);
    }
}
