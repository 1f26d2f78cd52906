//! Certificates by server name: from TLS Secrets, and a self-signed one until a Secret exists.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use k8s_openapi::api::{
    core::v1::Secret,
    networking::v1::{Ingress, IngressTLS},
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::warn;

use crate::{
    BuildError,
    notices::{Problem, uid_of},
    table::Table,
};

/// What makes a Secret one with a certificate, whatever its type, as for ingress-nginx.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

#[derive(Default)]
pub struct Certificates {
    hosts: HashMap<String, Arc<CertifiedKey>>,
    /// By the part behind `*.`.
    wildcards: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.hosts.get(name).or_else(|| self.wildcards.get(name.split_once('.')?.1))
    }

    fn add(&mut self, host: &str, key: Arc<CertifiedKey>) {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcards.entry(suffix.to_string()).or_insert(key),
            None => self.hosts.entry(host).or_insert(key),
        };
    }
}

/// Parsed Secrets by namespace and name, each with its resourceVersion: a Secret is parsed once a change.
#[derive(Default)]
pub struct CertificateCache(HashMap<(String, String), Parsed>);

/// Not usable: why.
type Parsed = (String, Result<Arc<CertifiedKey>, String>);

impl CertificateCache {
    /// The certificates of the Ingresses' `tls` entries. A Secret that is absent or unusable leaves its hosts to the
    /// self-signed certificate.
    pub fn load(
        &mut self,
        ingresses: &[Arc<Ingress>],
        secrets: &[Arc<Secret>],
        problems: &mut Vec<Problem>,
    ) -> Certificates {
        let by_name: HashMap<(&str, &str), &Secret> = secrets
            .iter()
            .map(|secret| {
                let metadata = &secret.metadata;
                let key = (
                    metadata.namespace.as_deref().unwrap_or_default(),
                    metadata.name.as_deref().unwrap_or_default(),
                );
                (key, secret.as_ref())
            })
            .collect();
        let mut certificates = Certificates::default();
        let mut used = HashMap::new();
        for ingress in ingresses {
            let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
            for tls in ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten()) {
                let Some(name) = tls.secret_name.as_deref() else { continue };
                let Some(secret) = by_name.get(&(namespace, name)) else {
                    let message = format!("Secret `{namespace}/{name}` does not exist");
                    problems.push(Problem { uid: uid_of(ingress).into(), reason: "SecretNotFound", message });
                    continue;
                };
                let key = (namespace.to_string(), name.to_string());
                let version = secret.metadata.resource_version.clone().unwrap_or_default();
                let parsed = match self.0.remove(&key) {
                    Some((known, parsed)) if known == version => parsed,
                    _ => used.get(&key).map_or_else(
                        || parse(secret, namespace, name),
                        |(_, parsed): &Parsed| parsed.clone(),
                    ),
                };
                match &parsed {
                    Ok(certified) => {
                        for host in hosts(ingress, tls) {
                            certificates.add(host, certified.clone());
                        }
                    }
                    Err(why) => {
                        let message = format!("Secret `{namespace}/{name}` is not usable: {why}");
                        problems.push(Problem {
                            uid: uid_of(ingress).into(),
                            reason: "SecretUnusable",
                            message,
                        });
                    }
                }
                used.insert(key, (version, parsed));
            }
        }
        self.0 = used;
        certificates
    }
}

/// Of a Secret, only what is read here stays in memory: the pair, where both are there.
pub fn keep_pair(secret: &mut Secret) {
    secret.metadata.annotations = None;
    let data = secret.data.take().unwrap_or_default();
    if data.contains_key(CERTIFICATE) && data.contains_key(KEY) {
        let pair = data.into_iter().filter(|(key, _)| [CERTIFICATE, KEY].contains(&key.as_str()));
        secret.data = Some(pair.collect());
    }
}

/// An entry without hosts is for those of the rules.
fn hosts<'a>(ingress: &'a Ingress, tls: &'a IngressTLS) -> Vec<&'a String> {
    let listed: Vec<&String> = tls.hosts.iter().flatten().collect();
    if !listed.is_empty() {
        return listed;
    }
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    rules.filter_map(|rule| rule.host.as_ref()).collect()
}

fn parse(secret: &Secret, namespace: &str, name: &str) -> Result<Arc<CertifiedKey>, String> {
    let field =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let certified = certified_key(field(CERTIFICATE).unwrap_or_default(), field(KEY).unwrap_or_default());
    certified
        .inspect_err(|reason| warn!(namespace, secret = name, reason, "TLS Secret is not usable"))
        .map(Arc::new)
}

fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls.crt: {error}"))?;
    if chain.is_empty() {
        return Err("tls.crt holds no certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("tls.key: {error}"))?;
    let signing = ring::sign::any_supported_type(&key).map_err(|error| format!("tls.key: {error}"))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        // Only version 3 is read (RFC 5280, 4.1.2.1); clients decide what they take.
        Err(rustls::Error::InvalidCertificate(_)) if has_own_key(&certified) => Ok(certified),
        Err(error) => Err(format!("tls.crt and tls.key do not belong together: {error}")),
    }
}

/// A certificate holds the encoded public key as it stands.
fn has_own_key(certified: &CertifiedKey) -> bool {
    let (Some(key), Some(certificate)) = (certified.key.public_key(), certified.cert.first()) else {
        return false;
    };
    certificate.windows(key.len()).any(|part| part == &*key)
}

/// TLS for the ingress: certificates by server name from the current table, ALPN for HTTP/2 and HTTP/1.1.
pub fn server_config(table: Arc<ArcSwap<Table>>) -> Result<Arc<ServerConfig>, BuildError> {
    let resolver = Arc::new(Resolver { table, self_signed: OnceLock::new() });
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

struct Resolver {
    table: Arc<ArcSwap<Table>>,
    /// Made when it is first asked for.
    self_signed: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.table.load().certificates.find(name).cloned());
        named.or_else(|| self.self_signed.get_or_init(self_signed).clone())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}

/// Named so that a browser's warning says what it is.
fn self_signed() -> Option<Arc<CertifiedKey>> {
    let make = || {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(vec!["ingress.local".to_string()])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Coracle Ingress Self-Signed Certificate");
        Ok::<_, rcgen::Error>((params.self_signed(&key)?, key))
    };
    let (certificate, key) = make()
        .inspect_err(|error| warn!(error = %error, "self-signed certificate could not be made"))
        .ok()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = ring::sign::any_supported_type(&key).ok()?;
    Some(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem_pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_string()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_needs_its_own_key() {
        let (chain, key) = pem_pair("a.example");
        let (_, other) = pem_pair("b.example");
        assert!(certified_key(chain.as_bytes(), key.as_bytes()).is_ok());
        let reason = certified_key(chain.as_bytes(), other.as_bytes()).unwrap_err();
        assert!(reason.contains("do not belong together"), "{reason}");
        assert_eq!(certified_key(b"", key.as_bytes()).unwrap_err(), "tls.crt holds no certificate");
    }

    /// Such as `openssl x509 -req -signkey` makes without extensions.
    const VERSION_1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1AB9yLZkMgEkA93r
EJ+o+SW/3uljkTqYQa3yHI41FnahRANCAAQ+pAaOUVUWe5rcBz/TbqMr4TTOk6Gn
s9bEXrQPyfoUNacW1w9knxndYE+HdsmmWo9DVDR3iJNYAz2X3AihnpzJ
-----END PRIVATE KEY-----
";
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJDCBywIUY9AnTLKB+Itg30YDDRuGgGHr1sMwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJYS5leGFtcGxlMCAXDTI2MTIwMjA5NTk0NFoYDzIxMjYxMTA4MDk1OTQ0
WjAUMRIwEAYDVQQDDAlhLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQ+pAaOUVUWe5rcBz/TbqMr4TTOk6Gns9bEXrQPyfoUNacW1w9knxndYE+Hdsmm
Wo9DVDR3iJNYAz2X3AihnpzJMAoGCCqGSM49BAMCA0gAMEUCIQCwvaoWIVO8irGU
IC1YgMcW9+27wHxtNGMjO2GPPzTe8AIgAP1eTLXOmXaVjbYtU1RTsNQj6Zimz7g9
HFXWX5GHPik=
-----END CERTIFICATE-----
";

    #[test]
    fn a_certificate_of_version_1_needs_its_own_key_too() {
        let (_, other) = pem_pair("b.example");
        assert!(certified_key(VERSION_1.as_bytes(), VERSION_1_KEY.as_bytes()).is_ok());
        assert!(certified_key(VERSION_1.as_bytes(), other.as_bytes()).is_err());
    }

    #[test]
    fn only_the_pair_of_a_secret_is_kept() {
        let kept = |keys: &[&str]| {
            let data = keys.iter().map(|key| (key.to_string(), Default::default())).collect();
            let mut secret = Secret { data: Some(data), ..Secret::default() };
            keep_pair(&mut secret);
            secret.data.unwrap_or_default().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(kept(&["ca.crt", "tls.crt", "tls.key"]), ["tls.crt", "tls.key"]);
        assert!(kept(&["password", "tls.crt"]).is_empty());
    }

    #[test]
    fn a_wildcard_certificate_serves_one_label() {
        let (chain, key) = pem_pair("*.example");
        let certified = Arc::new(certified_key(chain.as_bytes(), key.as_bytes()).unwrap());
        let mut certificates = Certificates::default();
        certificates.add("*.Example", certified);
        assert!(certificates.find("a.example").is_some());
        assert!(certificates.find("b.a.example").is_none());
        assert!(certificates.find("example").is_none());
    }
}
