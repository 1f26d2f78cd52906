//! The cluster's certificate authority: one ECDSA P-256 key, valid ten years, signs the server and its clients.
//!
//! A second one vouches for the proxy before aggregated API servers: who holds a certificate of the first must not pass
//! for it.
//!
//! Reads:  `ca.crt`, `ca.key`, `front-proxy-ca.crt`, `front-proxy-ca.key`. Writes: the same at first start.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{PkiError, files};

const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Clocks differ: certificates begin a little in the past.
const SKEW: Duration = Duration::from_secs(300);

pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Loads the authority, or makes it when there is none.
    pub fn open(dir: &Path) -> Result<Authority, PkiError> {
        Authority::open_as(dir, "ca", "kubernetes")
    }

    /// The one that vouches for the front proxy.
    pub fn open_front_proxy(dir: &Path) -> Result<Authority, PkiError> {
        Authority::open_as(dir, "front-proxy-ca", "front-proxy-ca")
    }

    fn open_as(dir: &Path, file: &str, common_name: &str) -> Result<Authority, PkiError> {
        files::ensure_directory(dir)?;
        let path = dir.join(format!("{file}.crt"));
        if !path.exists() {
            let key = files::key(&dir.join(format!("{file}.key")))?;
            let certificate = certificate(&key, common_name)?;
            files::write(&path, &certificate.pem())?;
        }
        Authority::load_as(dir, file)
    }

    /// Only loads; an error when there is none.
    pub fn load(dir: &Path) -> Result<Authority, PkiError> {
        Authority::load_as(dir, "ca")
    }

    fn load_as(dir: &Path, file: &str) -> Result<Authority, PkiError> {
        let path = dir.join(format!("{file}.crt"));
        let malformed = || PkiError::Malformed { path: path.display().to_string() };
        let pem = files::read(&path)?;
        let key = dir.join(format!("{file}.key"));
        if !key.exists() {
            return Err(PkiError::MissingKey { path: key.display().to_string() });
        }
        let key = files::load_key(&key)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| malformed())?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| malformed())?;
        Ok(Authority { pem, der, issuer })
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// `name` becomes the user, `groups` its groups. Returns certificate and key as PEM.
    pub fn sign_client(
        &self,
        name: &str,
        groups: &[&str],
        validity: Duration,
    ) -> Result<(String, String), PkiError> {
        let mut params = params(name, validity);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = files::generate()?;
        Ok((self.sign(&params, &key, name)?.pem(), key.serialize_pem()))
    }

    pub fn sign_server(
        &self,
        names: &[String],
        key: &KeyPair,
        validity: Duration,
    ) -> Result<Certificate, PkiError> {
        let mut params = params("kube-apiserver", validity);
        params.subject_alt_names = CertificateParams::new(names)
            .map_err(|source| PkiError::Certificate { subject: names.join(", "), source })?
            .subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params, key, "kube-apiserver")
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
        subject: &str,
    ) -> Result<Certificate, PkiError> {
        params
            .signed_by(key, &self.issuer)
            .map_err(|source| PkiError::Certificate { subject: subject.into(), source })
    }
}

fn certificate(key: &KeyPair, common_name: &str) -> Result<Certificate, PkiError> {
    let mut params = params(common_name, VALIDITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key).map_err(|source| PkiError::Certificate { subject: common_name.into(), source })
}

fn params(common_name: &str, validity: Duration) -> CertificateParams {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + since_epoch;
    let mut params = CertificateParams::default();
    params.not_before = now - SKEW;
    params.not_after = now + validity;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}
