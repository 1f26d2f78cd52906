//! The API server's own certificate: made anew when the names of this machine change, and, while the server runs,
//! when two thirds of its life are over. Connections that are open keep the certificate they began with.
//!
//! Reads:  `serving.crt`, `serving.key`. Writes: the same.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rcgen::KeyPair;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Authority, PkiError, files};
use crate::Config;

const VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Every name and address under which clients reach this server.
pub fn names(config: &Config) -> Vec<String> {
    let first_service_ip = config.service_cidr.hosts().next().unwrap_or(config.service_cidr.network());
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        config.node_name.clone(),
        config.node_ip.to_string(),
        first_service_ip.to_string(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{}", config.cluster_domain),
    ];
    names.extend(config.extra_sans.iter().cloned());
    let mut seen = BTreeSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

pub struct Serving {
    dir: PathBuf,
    names: Vec<String>,
    authority: Arc<Authority>,
    current: ArcSwap<Current>,
    /// Held by the one connection that makes the next certificate.
    renewing: Mutex<()>,
}

struct Current {
    key: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Serving {
    pub fn open(dir: &Path, names: Vec<String>, authority: Arc<Authority>) -> Result<Serving, PkiError> {
        let now = SystemTime::now();
        let current = match load(dir, &names, &authority)? {
            Some(current) if current.renew_at > now => current,
            _ => issue(dir, &names, &authority)?,
        };
        Ok(Serving {
            dir: dir.into(),
            names,
            authority,
            current: ArcSwap::from_pointee(current),
            renewing: Mutex::new(()),
        })
    }

    /// The certificate to use at `now`. One caller makes a new one when it is time; if that fails the old one serves on.
    pub(super) fn at(&self, now: SystemTime) -> Arc<CertifiedKey> {
        let current = self.current.load_full();
        if now < current.renew_at {
            return current.key.clone();
        }
        if let Some(_renewing) = self.renewing.try_lock() {
            match issue(&self.dir, &self.names, &self.authority) {
                Ok(next) => {
                    tracing::info!("serving certificate renewed");
                    self.current.store(Arc::new(next));
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "serving certificate not renewed"
                ),
            }
        }
        self.current.load().key.clone()
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.at(SystemTime::now()))
    }
}

fn issue(dir: &Path, names: &[String], authority: &Authority) -> Result<Current, PkiError> {
    let key = files::generate()?;
    let certificate = authority.sign_server(names, &key, VALIDITY)?;
    files::write(&dir.join("serving.key"), &key.serialize_pem())?;
    files::write(&dir.join("serving.crt"), &certificate.pem())?;
    current(certificate.der().clone(), &key, SystemTime::now() + VALIDITY)
}

/// What the files hold, when it is ours, matches its key and names this machine as it is now.
fn load(dir: &Path, names: &[String], authority: &Authority) -> Result<Option<Current>, PkiError> {
    let (certificate_path, key_path) = (dir.join("serving.crt"), dir.join("serving.key"));
    if !certificate_path.exists() || !key_path.exists() {
        return Ok(None);
    }
    let pem = files::read(&certificate_path)?;
    let (Ok(der), Ok(key)) = (CertificateDer::from_pem_slice(pem.as_bytes()), files::load_key(&key_path))
    else {
        return Ok(None);
    };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return Ok(None) };
    let ours = X509Certificate::from_der(authority.der()).is_ok_and(|(_, ca)| {
        parsed.issuer() == ca.subject() && parsed.verify_signature(Some(ca.public_key())).is_ok()
    });
    let matches = *parsed.public_key().subject_public_key.data == *key.public_key_raw();
    if !ours || !matches || !same_names(&parsed, names) {
        return Ok(None);
    }
    let not_after = UNIX_EPOCH + Duration::from_secs(parsed.validity().not_after.timestamp().max(0) as u64);
    Ok(Some(current(der.clone(), &key, not_after)?))
}

fn current(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    not_after: SystemTime,
) -> Result<Current, PkiError> {
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let signing = rustls::crypto::ring::sign::any_supported_type(&private)?;
    let key = Arc::new(CertifiedKey::new(vec![certificate], signing));
    Ok(Current { key, renew_at: not_after - VALIDITY / 3 })
}

fn same_names(certificate: &X509Certificate<'_>, names: &[String]) -> bool {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    let have: BTreeSet<String> = extension.value.general_names.iter().filter_map(shown).collect();
    have == names.iter().cloned().collect()
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}
