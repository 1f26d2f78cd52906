//! Whom a connection trusts, and what is said when it does not.
//!
//! Source: https://pkg.go.dev/crypto/x509 (texts of a stock server)

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// Certificates that the machine's owner trusts besides the built-in ones.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities of the world, and those of this machine.
    Public,
    /// Those of a bundle (PEM), and nobody else.
    Bundle(Arc<[u8]>),
    /// Whoever answers: pods and Services behind the proxy paths, `insecureSkipTLSVerify`.
    Anyone,
}

impl Trust {
    /// From a `caBundle` field: base64 of PEM.
    pub fn of_bundle(bundle: &serde_json::Value) -> Trust {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = bundle.as_str().unwrap_or_default();
        match STANDARD.decode(text) {
            Ok(pem) if !pem.is_empty() => Trust::Bundle(pem.into()),
            _ => Trust::Public,
        }
    }
}

/// Why no authority can be read from a bundle.
pub fn bundle_problem(pem: &[u8]) -> Option<&'static str> {
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    if certificates.peek().is_none_or(Result::is_err) {
        return Some("unable to parse bytes as PEM block");
    }
    let (readable, _) = RootCertStore::empty().add_parsable_certificates(certificates.flatten());
    (readable == 0).then_some("no valid certificate authority data seen")
}

/// A certificate and its key, to come as somebody.
pub struct ClientIdentity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

pub fn config(trust: &Trust, identity: Option<&ClientIdentity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
        Trust::Bundle(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
            builder.with_root_certificates(roots)
        }
        Trust::Public => {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            if let Ok(certificates) = CertificateDer::pem_file_iter(SYSTEM_ROOTS) {
                roots.add_parsable_certificates(certificates.flatten());
            }
            builder.with_root_certificates(roots)
        }
    };
    match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// A failed handshake in the words of a stock server.
pub fn go_text(error: &Error, host: &str) -> String {
    let Error::InvalidCertificate(certificate) = error else { return format!("remote error: tls: {error}") };
    let why = match certificate {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired
        | CertificateError::NotValidYet
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForName => {
            format!("certificate is not valid for any names, but wanted to match {host}")
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("certificate is not valid for any names, but wanted to match {host}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().map(|name| plain(name)).collect();
            format!("certificate is valid for {}, not {host}", names.join(", "))
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// `DnsName("a")` without its shell.
fn plain(presented: &str) -> String {
    presented.split('"').nth(1).unwrap_or(presented).to_owned()
}

/// Believes any certificate; the handshake still proves that its key is there.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
