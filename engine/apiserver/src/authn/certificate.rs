//! A client certificate as a user: the common name is the name, each organization a group; there may be a uid.
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

/// The attribute of a subject that is the user's uid, at most once.
const UID: &str = "1.3.6.1.4.1.57683.2";

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
    /// Whose it is, and for how many seconds still. `None` when the certificate is not of our authority, out of date, or
    /// names nobody.
    pub fn user(&self, pki: &Pki, certificate: &CertificateDer<'_>) -> Option<(UserInfo, u64)> {
        let prove = || if pki.verifies_client(certificate) { read(certificate).ok_or(()) } else { Err(()) };
        let known = self.known.get_or_try(certificate, prove).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        known.not_after.checked_sub(now).map(|left| (known.user.clone(), left))
    }
}

fn read(der: &CertificateDer<'_>) -> Option<Known> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    // The last one, as signers judge it.
    let name = subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())?;
    let mut uids = subject.iter_attributes().filter(|part| part.attr_type().to_id_string() == UID);
    let uid = uids.next().map_or(Some(""), |uid| uid.as_str().ok())?;
    if uids.next().is_some() {
        return None;
    }
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    groups.push(AUTHENTICATED.into());
    let fingerprint: String = sha256(der).iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = [(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![format!("X509SHA256={fingerprint}")],
    )];
    let user = UserInfo { name: name.into(), uid: uid.into(), groups, extra: extra.into() };
    Some(Known { user, not_after: certificate.validity().not_after.timestamp().max(0) as u64 })
}
