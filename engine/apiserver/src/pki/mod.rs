//! Keys and certificates: the cluster's authority, the serving certificate, the key that signs service account tokens.
//!
//! Kept true: every file in `data_dir/pki` is whole (written beside and renamed) and readable by its owner alone; the
//!            serving certificate names this machine's current addresses and never runs out while the server runs.
//! Reads:     `data_dir/pki`. Writes: the same, at first start, when the names of this machine change, and on rotation.
//! Source:    https://kubernetes.io/docs/setup/best-practices/certificates/

mod authority;
mod clients;
mod files;
mod kubeconfig;
pub mod request;
mod serving;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
};

pub use self::authority::Authority;
use crate::{Config, outbound::ClientIdentity};

/// How long a client certificate is valid when nobody says otherwise.
pub const CLIENT_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// The name that aggregated API servers are told to believe.
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";
/// Longer than any process lives; its key is only in memory.
const FRONT_PROXY_VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("create directory `{path}`")]
    CreateDirectory { path: String, source: std::io::Error },
    #[error("read `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("write `{path}`")]
    Write { path: String, source: std::io::Error },
    #[error(
        "`{path}` is not a PEM certificate or key; restore it from a backup, or remove it (with a new authority every kubeconfig must be made anew)"
    )]
    Malformed { path: String },
    #[error(
        "`{path}` is missing, its certificate is there; restore it from a backup, or remove the certificate too (with a new authority every kubeconfig must be made anew)"
    )]
    MissingKey { path: String },
    #[error("make certificate for `{subject}`")]
    Certificate { subject: String, source: rcgen::Error },
    #[error("load the serving certificate into TLS")]
    Tls(#[from] rustls::Error),
    #[error("build the verifier of client certificates")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Opened once per process.
pub struct Pki {
    authority: Arc<Authority>,
    front_proxy: Authority,
    clients: Arc<clients::Clients>,
    tls: Arc<ServerConfig>,
    token_key: Vec<u8>,
}

impl Pki {
    /// Loads what is there and makes what is not.
    pub fn open(config: &Config) -> Result<Pki, PkiError> {
        let dir = config.data_dir.join("pki");
        let authority = Arc::new(Authority::open(&dir)?);
        let names = serving::names(config);
        let serving = Arc::new(serving::Serving::open(&dir, names, authority.clone())?);
        let clients = Arc::new(clients::Clients::new(&authority)?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.clone())
            .with_cert_resolver(serving);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let token_key = files::key(&dir.join("sa.key"))?.serialize_der();
        let front_proxy = Authority::open_front_proxy(&dir)?;
        Ok(Pki { authority, front_proxy, clients, tls: Arc::new(tls), token_key })
    }

    /// TLS of the API server: client certificates are asked for and judged per request, see [`Pki::verifies_client`].
    pub fn server_tls(&self) -> Arc<ServerConfig> {
        self.tls.clone()
    }

    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// A certificate and key (PEM) for a client; `expiry` is one year by default.
    pub fn sign_client(
        &self,
        name: &str,
        groups: &[&str],
        expiry: Option<Duration>,
    ) -> Result<(String, String), PkiError> {
        self.authority.sign_client(name, groups, expiry.unwrap_or(CLIENT_VALIDITY))
    }

    pub fn authority(&self) -> Arc<Authority> {
        self.authority.clone()
    }

    /// PEM of the authority that vouches for the front proxy.
    pub fn front_proxy_ca_pem(&self) -> &str {
        self.front_proxy.pem()
    }

    /// The certificate with which this process comes to aggregated API servers. Made anew at each start, never stored.
    pub fn front_proxy_client(&self) -> Result<ClientIdentity, PkiError> {
        let (certificate, key) =
            self.front_proxy.sign_client(FRONT_PROXY_CLIENT, &[], FRONT_PROXY_VALIDITY)?;
        let malformed = |_| PkiError::Malformed { path: FRONT_PROXY_CLIENT.into() };
        Ok(ClientIdentity {
            chain: vec![CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(malformed)?],
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(malformed)?,
        })
    }

    /// Whether our authority issued this client certificate and it is valid now.
    pub fn verifies_client(&self, certificate: &CertificateDer<'_>) -> bool {
        self.clients.verifies(certificate, UnixTime::now())
    }

    /// PKCS#8 of the key that signs service account tokens (ECDSA P-256).
    pub fn token_key(&self) -> &[u8] {
        &self.token_key
    }

    /// A kubeconfig (YAML) for `system:masters`. `server` is a URL, e.g. `https://192.0.2.1:6443`.
    pub fn admin_kubeconfig(
        &self,
        server: &str,
        expiry: Option<Duration>,
        namespace: Option<&str>,
    ) -> Result<String, PkiError> {
        kubeconfig::admin(&self.authority, server, expiry, namespace)
    }
}

/// [`Pki::admin_kubeconfig`] from the files alone, without a server.
pub fn admin_kubeconfig_from(
    data_dir: &Path,
    server: &str,
    expiry: Option<Duration>,
    namespace: Option<&str>,
) -> Result<String, PkiError> {
    kubeconfig::admin(&Authority::load(&data_dir.join("pki"))?, server, expiry, namespace)
}
