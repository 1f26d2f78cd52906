//! A client certificate as a user: the common name is the name, each organization a group.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    AUTHENTICATED,
    cache::{Cache, sha256},
};
use crate::{pki::Pki, types::UserInfo};

/// Certificates that were verified, with their users.
#[derive(Default)]
pub struct Certificates {
    known: Cache<Known>,
}

struct Known {
    user: UserInfo,
    not_after: u64,
}

impl Certificates {
    /// `None` when the certificate is not of our authority, out of date, or names nobody.
    pub fn user(&self, pki: &Pki, certificate: &CertificateDer<'_>) -> Option<UserInfo> {
        let prove = || if pki.verifies_client(certificate) { read(certificate).ok_or(()) } else { Err(()) };
        let known = self.known.get_or_try(certificate, prove).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (now <= known.not_after).then(|| known.user.clone())
    }
}

fn read(der: &CertificateDer<'_>) -> Option<Known> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok().filter(|name| !name.is_empty())?;
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    groups.push(AUTHENTICATED.into());
    let fingerprint: String = sha256(der).iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = [(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![format!("X509SHA256={fingerprint}")],
    )];
    let user = UserInfo { name: name.into(), uid: String::new(), groups, extra: extra.into() };
    Some(Known { user, not_after: certificate.validity().not_after.timestamp().max(0) as u64 })
}
