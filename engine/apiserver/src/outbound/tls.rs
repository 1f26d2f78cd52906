//! Whom a connection trusts, and what is said when it does not.
//!
//! Source: https://pkg.go.dev/crypto/x509 (texts of a stock server)

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use x509_parser::prelude::{FromDer, X509Certificate};

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
        Trust::Anyone => trusting(builder, Verifier { provider, whom: None }),
        Trust::Bundle(pem) => {
            let certificates = CertificateDer::pem_slice_iter(pem).flatten().collect();
            rooted(builder, provider, RootCertStore::empty(), certificates)
        }
        Trust::Public => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            let own = CertificateDer::pem_file_iter(SYSTEM_ROOTS);
            rooted(builder, provider, roots, own.into_iter().flatten().flatten().collect())
        }
    };
    match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()),
        None => Ok(builder.with_no_client_auth()),
    }
}

type Unverified = ConfigBuilder<ClientConfig, WantsVerifier>;
type Verified = ConfigBuilder<ClientConfig, WantsClientCert>;

/// Trusts `roots` and `certificates`.
fn rooted(
    builder: Unverified,
    provider: Arc<CryptoProvider>,
    mut roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
) -> Verified {
    roots.add_parsable_certificates(certificates.iter().cloned());
    let roots = Arc::new(roots);
    match WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build() {
        Ok(chains) => {
            let whom = Some(RootOrChain { chains, roots: certificates });
            trusting(builder, Verifier { provider, whom })
        }
        // Without a root nobody is trusted.
        Err(_) => builder.with_root_certificates(roots),
    }
}

fn trusting(builder: Unverified, verifier: Verifier) -> Verified {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
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
        CertificateError::NotValidForName => another_name(&[], host),
        CertificateError::NotValidForNameContext { presented, .. } => another_name(presented, host),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        // webpki's error has no variant of its own here.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "certificate signed by unknown authority (it is an authority's own, which must be in the bundle)"
                .to_owned()
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// The addresses of the certificate are named to who asked for an address, its names to the others. `presented` has
/// `DnsName("a")` and `IpAddress(1.2.3.4)`.
fn another_name(presented: &[String], host: &str) -> String {
    let is_address = host.parse::<IpAddr>().is_ok();
    let kind = if is_address { "IpAddress(" } else { "DnsName(" };
    let plain = |name: &String| Some(name.strip_prefix(kind)?.trim_matches(['"', ')']).to_owned());
    let names: Vec<String> = presented.iter().filter_map(plain).collect();
    if !names.is_empty() {
        return format!("certificate is valid for {}, not {host}", names.join(", "));
    }
    if is_address {
        return format!("cannot validate certificate for {host} because it doesn't contain any IP SANs");
    }
    format!("certificate is not valid for any names, but wanted to match {host}")
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Without: any certificate is believed; the handshake still proves that its key is there.
    whom: Option<RootOrChain>,
}

/// As Go trusts: a chain to a root, or a root itself. webpki refuses the latter when it is an authority's certificate,
/// which self-signed ones are unless told otherwise.
#[derive(Debug)]
struct RootOrChain {
    chains: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(whom) = &self.whom else { return Ok(ServerCertVerified::assertion()) };
        if !whom.roots.contains(end_entity) {
            return whom.chains.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        }
        fits_server(end_entity, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the certificate is valid now, and a server's.
fn fits_server(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet);
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired);
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match usage.map(|usage| usage.value) {
        Some(usage) if !usage.server_auth && !usage.any => Err(CertificateError::InvalidPurpose),
        _ => Ok(()),
    }
}
