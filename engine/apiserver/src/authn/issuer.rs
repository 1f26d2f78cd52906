//! JSON Web Tokens of an outside OpenID Connect issuer.
//!
//! Kept true: the network is only asked when a token of the issuer comes whose key is not known, and not more often than
//!            every [`PAUSE`]; a token counts only with a good signature, for this audience, in its time.
//! Reads:     the issuer's discovery document and keys, over TLS.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens and
//!            https://openid.net/specs/openid-connect-discovery-1_0.html

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use parking_lot::RwLock;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::Value;
use tokio::time::Instant;

use super::AUTHENTICATED;
use crate::types::UserInfo;

/// Between two tries to learn the issuer's keys.
const PAUSE: Duration = Duration::from_secs(10);
const FETCH: Duration = Duration::from_secs(10);
const DOCUMENT_BYTES: usize = 1024 * 1024;

/// As the stock server's `--oidc-*` flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerConfig {
    /// `https://…`, exactly as the claim `iss`.
    pub url: String,
    pub client_id: String,
    pub username_claim: String,
    /// Empty: the issuer and `#`, unless the claim is `email`; `-`: none.
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
    pub required_claims: BTreeMap<String, String>,
    pub signing_algs: Vec<String>,
    /// Empty: the authorities that browsers trust.
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("oidc-issuer-url `{0}` is not an https URL")]
    Url(String),
    #[error("oidc-issuer-url needs `oidc-client-id`")]
    ClientId,
    #[error("unsupported signing algorithm `{0}`, supported are {1}")]
    Algorithm(String, String),
    #[error("read certificate authorities from `{path}`")]
    Authorities { path: String, source: rustls::pki_types::pem::Error },
    #[error("use certificate authorities")]
    Roots(#[from] rustls::Error),
    #[error("fetch `{url}`: {why}")]
    Fetch { url: String, why: String },
    #[error("oidc: {0}")]
    Token(&'static str),
}

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

pub struct Issuer {
    config: IssuerConfig,
    https: Https,
    keys: RwLock<Arc<Vec<Key>>>,
    /// When keys were asked for last. Held while asking, so that one asks for all.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

struct Key {
    id: String,
    public: Public,
}

enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { curve: String, point: Vec<u8> },
}

const ALGORITHMS: [&str; 5] = ["RS256", "RS384", "RS512", "ES256", "ES384"];

impl Issuer {
    /// Asks nobody yet.
    pub fn new(config: IssuerConfig) -> Result<Issuer, IssuerError> {
        if !config.url.starts_with("https://") {
            return Err(IssuerError::Url(config.url));
        }
        if config.client_id.is_empty() {
            return Err(IssuerError::ClientId);
        }
        if let Some(wrong) = config.signing_algs.iter().find(|own| !ALGORITHMS.contains(&own.as_str())) {
            return Err(IssuerError::Algorithm(wrong.clone(), ALGORITHMS.join(", ")));
        }
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots(&config)?)
                .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Issuer {
            config,
            https: Client::builder(TokioExecutor::new()).build(connector),
            keys: RwLock::default(),
            asked: tokio::sync::Mutex::default(),
        })
    }

    /// Whether the token says to be of this issuer. Proves nothing.
    pub fn names(&self, token: &str) -> bool {
        let claims = token.split('.').nth(1).and_then(decode);
        claims.is_some_and(|claims| claims["iss"].as_str() == Some(&self.config.url))
    }

    pub async fn user(&self, token: &str, now: i64) -> Result<UserInfo, IssuerError> {
        if !self.knows_key(token)? {
            self.learn().await?;
        }
        let claims = self.verified(token)?;
        self.judge(&claims, now)
    }

    fn knows_key(&self, token: &str) -> Result<bool, IssuerError> {
        let head = token.split('.').next().and_then(decode).ok_or(IssuerError::Token("malformed token"))?;
        let id = head["kid"].as_str();
        Ok(self.keys.read().iter().any(|key| id.is_none_or(|id| id == key.id)))
    }

    /// Asks the issuer for its keys, unless that was just done.
    async fn learn(&self) -> Result<(), IssuerError> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|last| last.elapsed() < PAUSE) {
            return Ok(());
        }
        *asked = Some(Instant::now());
        let url = format!("{}/.well-known/openid-configuration", self.config.url.trim_end_matches('/'));
        let discovery = self.document(&url).await?;
        if discovery["issuer"].as_str() != Some(&self.config.url) {
            return Err(IssuerError::Token("the discovery document is of another issuer"));
        }
        let url = discovery["jwks_uri"].as_str().ok_or(IssuerError::Token("discovery without jwks_uri"))?;
        let set = self.document(url).await?;
        let keys = set["keys"].as_array().into_iter().flatten().filter_map(key).collect();
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }

    async fn document(&self, url: &str) -> Result<Value, IssuerError> {
        let failed = |why: String| IssuerError::Fetch { url: url.to_owned(), why };
        let uri = url.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
        let fetched = async {
            let response = self.https.get(uri).await.map_err(|error| failed(chain(&error)))?;
            if !response.status().is_success() {
                return Err(failed(response.status().to_string()));
            }
            let body = Limited::new(response.into_body(), DOCUMENT_BYTES).collect().await;
            let bytes = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
        };
        tokio::time::timeout(FETCH, fetched).await.unwrap_or_else(|_| Err(failed("no answer in time".into())))
    }

    /// The claims, when a key of the issuer signed them.
    fn verified(&self, token: &str) -> Result<Value, IssuerError> {
        let malformed = || IssuerError::Token("malformed token");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (head, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let head = decode(head).ok_or_else(malformed)?;
        let algorithm = head["alg"].as_str().unwrap_or_default();
        if !self.config.signing_algs.iter().any(|own| own == algorithm) {
            return Err(IssuerError::Token("signed with an algorithm that is not allowed"));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        let id = head["kid"].as_str();
        let keys = self.keys.read().clone();
        let good = keys
            .iter()
            .filter(|key| id.is_none_or(|id| id == key.id))
            .any(|key| key.public.verifies(algorithm, signed.as_bytes(), &signature));
        if !good {
            return Err(IssuerError::Token("failed to verify signature"));
        }
        decode(claims).ok_or_else(malformed)
    }

    fn judge(&self, claims: &Value, now: i64) -> Result<UserInfo, IssuerError> {
        let config = &self.config;
        let audience = &claims["aud"];
        let mine = |value: &Value| value.as_str() == Some(&config.client_id);
        let number = |field: &str| claims[field].as_f64().map(|seconds| seconds as i64);
        if claims["iss"].as_str() != Some(&config.url) {
            return Err(IssuerError::Token("token is of another issuer"));
        }
        if !mine(audience) && !audience.as_array().is_some_and(|list| list.iter().any(mine)) {
            return Err(IssuerError::Token("token is for another audience"));
        }
        if number("exp").is_none_or(|end| end <= now) {
            return Err(IssuerError::Token("token is expired"));
        }
        if number("nbf").is_some_and(|begin| begin > now) {
            return Err(IssuerError::Token("token is not valid yet"));
        }
        for (claim, wanted) in &config.required_claims {
            if claims[claim].as_str() != Some(wanted) {
                return Err(IssuerError::Token("a required claim is absent or different"));
            }
        }
        let by_email = config.username_claim == "email";
        if by_email && claims.get("email_verified").is_some_and(|verified| *verified != true) {
            return Err(IssuerError::Token("email not verified"));
        }
        let name = claims[&config.username_claim].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or(IssuerError::Token("the claim of the user's name is absent"))?;
        let prefix = match config.username_prefix.as_str() {
            "-" => String::new(),
            "" if by_email => String::new(),
            "" => format!("{}#", config.url),
            prefix => prefix.to_owned(),
        };
        let listed = match &claims[&config.groups_claim] {
            Value::String(group) => vec![group.as_str()],
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut groups: Vec<String> =
            listed.into_iter().map(|group| format!("{}{group}", config.groups_prefix)).collect();
        groups.push(AUTHENTICATED.into());
        Ok(UserInfo { name: format!("{prefix}{name}"), groups, ..UserInfo::default() })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

fn roots(config: &IssuerConfig) -> Result<RootCertStore, IssuerError> {
    let Some(path) = &config.ca_file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let failed = |source| IssuerError::Authorities { path: path.display().to_string(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        roots.add(certificate.map_err(failed)?)?;
    }
    Ok(roots)
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A key of a JSON Web Key Set; `None` for those that sign nothing we take.
fn key(jwk: &Value) -> Option<Key> {
    if jwk["use"].as_str().is_some_and(|used| used != "sig") {
        return None;
    }
    let bytes = |field: &str| URL_SAFE_NO_PAD.decode(jwk[field].as_str()?.trim_end_matches('=')).ok();
    let public = match jwk["kty"].as_str()? {
        "RSA" => Public::Rsa { n: bytes("n")?, e: bytes("e")? },
        "EC" => {
            // Uncompressed.
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            Public::Ec { curve: jwk["crv"].as_str()?.to_owned(), point }
        }
        _ => return None,
    };
    Some(Key { id: jwk["kid"].as_str().unwrap_or_default().to_owned(), public })
}

impl Public {
    fn verifies(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Public::Rsa { n, e } => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            Public::Ec { curve, point } => {
                let algorithm: &dyn VerificationAlgorithm = match (algorithm, curve.as_str()) {
                    ("ES256", "P-256") => &signature::ECDSA_P256_SHA256_FIXED,
                    ("ES384", "P-384") => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => return false,
                };
                UnparsedPublicKey::new(algorithm, point).verify(signed, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests;
