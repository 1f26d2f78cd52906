//! JSON Web Tokens of outside OpenID Connect issuers.
//!
//! Kept true: the network is only asked when a token of the issuer comes that no known key signed, not more often than
//!            every [`PAUSE`], and when the configuration changes; a token counts only with a good signature, for an audience of ours, in its time.
//! Reads:     the issuer's discovery document and keys, over TLS.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens and
//!            https://openid.net/specs/openid-connect-discovery-1_0.html

mod claims;
mod config;
mod keys;
mod reload;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use coracle_client::chain;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::Timestamp;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::time::Instant;

use self::{
    claims::Mapper,
    keys::{ALGORITHMS, Key, key},
};
pub use self::{
    config::{Anonymous, IssuerConfig, Mapping, Rule, read},
    reload::{File, Issuers, run},
};
use crate::{
    outbound::{self, Trust},
    status::{Cause, quote},
    types::UserInfo,
};

/// Between two tries to learn the issuer's keys.
const PAUSE: Duration = Duration::from_secs(10);
const FETCH: Duration = Duration::from_secs(10);
const DOCUMENT_BYTES: usize = 1024 * 1024;
/// How much earlier than `nbf` a token is taken, in seconds: clocks differ.
const LEEWAY: i64 = 60;
const MOST: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("read authentication configuration `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("authentication configuration `{path}` is malformed: {why}")]
    Malformed { path: String, why: String },
    #[error("authentication configuration is invalid: {0}")]
    Invalid(String),
    #[error("oidc: unsupported signing alg: `{0}`, supported are {1}")]
    Algorithm(String, String),
    #[error("use certificate authorities")]
    Roots(#[from] rustls::Error),
    #[error("fetch `{url}`: {why}")]
    Fetch { url: String, why: String },
    #[error("oidc: {0}")]
    Token(String),
}

fn token(why: impl Into<String>) -> IssuerError {
    IssuerError::Token(why.into())
}

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

pub struct Issuer {
    config: IssuerConfig,
    mapper: Mapper,
    https: Https,
    keys: RwLock<Arc<Vec<Key>>>,
    /// When keys were asked for last. Held while asking, so that one asks for all.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

/// All issuers of a configuration. Asks nobody yet. `own` is who issues our service accounts' tokens.
fn open(configs: &[IssuerConfig], own: &str) -> Result<Vec<Arc<Issuer>>, IssuerError> {
    let mut causes = Vec::new();
    if configs.len() > MOST {
        causes.push(Cause::too_many("jwt", configs.len(), MOST));
    }
    let mut issuers = Vec::with_capacity(configs.len());
    for (at, config) in configs.iter().enumerate() {
        let path = format!("jwt[{at}]");
        if configs[..at].iter().any(|other| other.url == config.url) {
            causes.push(Cause::duplicate(format!("{path}.issuer.url"), &*config.url));
        }
        match config.check(&path, own) {
            Ok(mapper) => issuers.push(Arc::new(Issuer::new(config.clone(), mapper)?)),
            Err(more) => causes.extend(more),
        }
    }
    let texts: Vec<String> = causes.iter().map(Cause::to_string).collect();
    if texts.is_empty() { Ok(issuers) } else { Err(IssuerError::Invalid(texts.join(", "))) }
}

/// Whether issuers can be used as they are configured, before anything is set up.
pub fn check(configs: &[IssuerConfig]) -> Result<(), IssuerError> {
    open(configs, "").map(drop)
}

/// Who a token says it is of. Proves nothing.
pub fn named(token: &str) -> Option<String> {
    decode(token.split('.').nth(1)?)?["iss"].as_str().map(str::to_owned)
}

impl Issuer {
    fn new(mut config: IssuerConfig, mapper: Mapper) -> Result<Issuer, IssuerError> {
        if config.signing_algs.is_empty() {
            config.signing_algs = ALGORITHMS.map(str::to_owned).into();
        }
        if let Some(wrong) = config.signing_algs.iter().find(|own| !ALGORITHMS.contains(&own.as_str())) {
            return Err(IssuerError::Algorithm(wrong.clone(), ALGORITHMS.join(", ")));
        }
        let trust = match config.authorities.as_str() {
            "" => Trust::Public,
            pem => Trust::Bundle(pem.as_bytes().into()),
        };
        let tls = outbound::tls_config(&trust, None)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Issuer {
            config,
            mapper,
            https: Client::builder(TokioExecutor::new()).build(connector),
            keys: RwLock::default(),
            asked: tokio::sync::Mutex::default(),
        })
    }

    pub fn url(&self) -> &str {
        &self.config.url
    }

    pub async fn user(&self, token: &str, now: i64) -> Result<UserInfo, IssuerError> {
        let mut claims = self.verified(token)?;
        if claims.is_none() {
            self.learn().await?;
            claims = self.verified(token)?;
        }
        let unsigned = || unverified("failed to verify signature: failed to verify id token signature");
        let claims = claims.ok_or_else(unsigned)?;
        self.judge(&claims, now)?;
        self.mapper.user(&claims)
    }

    /// Asks the issuer for its keys, unless that was just done.
    async fn learn(&self) -> Result<(), IssuerError> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|last| last.elapsed() < PAUSE) {
            return Ok(());
        }
        *asked = Some(Instant::now());
        // Its tokens are refused until then; whoever sends one is not told why.
        self.fetch().await.inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::warn!(issuer = self.config.url, error, "keys of the token issuer were not learnt");
        })
    }

    async fn fetch(&self) -> Result<(), IssuerError> {
        let url = match self.config.discovery_url.as_str() {
            "" => format!("{}/.well-known/openid-configuration", self.config.url.trim_end_matches('/')),
            url => url.to_owned(),
        };
        let discovery = self.document(&url).await?;
        if discovery["issuer"].as_str() != Some(&self.config.url) {
            return Err(token("the discovery document is of another issuer"));
        }
        let url = discovery["jwks_uri"].as_str().ok_or_else(|| token("discovery without jwks_uri"))?;
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

    /// The claims, when a key that is known of the issuer signed them.
    fn verified(&self, token: &str) -> Result<Option<Value>, IssuerError> {
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (head, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let head = decode(head).ok_or_else(malformed)?;
        let algorithm = head["alg"].as_str().unwrap_or_default();
        if !self.config.signing_algs.iter().any(|own| own == algorithm) {
            let (own, algorithm) = (list(&self.config.signing_algs), quote(algorithm));
            return Err(unverified(format!(
                "oidc: id token signed with unsupported algorithm, expected {own} got {algorithm}"
            )));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        let id = head["kid"].as_str();
        let keys = self.keys.read().clone();
        let good = keys
            .iter()
            .filter(|key| id.is_none_or(|id| id == key.id))
            .any(|key| key.verifies(algorithm, signed.as_bytes(), &signature));
        if good { decode(claims).map(Some).ok_or_else(malformed) } else { Ok(None) }
    }

    fn judge(&self, claims: &Value, now: i64) -> Result<(), IssuerError> {
        let audiences: Vec<String> = match &claims["aud"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let number = |field: &str| claims[field].as_f64().map(|seconds| seconds as i64);
        if claims["iss"].as_str() != Some(&self.config.url) {
            return Err(unverified("oidc: id token issued by a different provider"));
        }
        if !audiences.iter().any(|audience| self.config.audiences.contains(audience)) {
            let own = match &self.config.audiences[..] {
                [one] => quote(one),
                several => list(several),
            };
            return Err(unverified(format!("oidc: expected audience {own} got {}", list(&audiences))));
        }
        let end = number("exp").unwrap_or_default();
        if end <= now {
            return Err(unverified(format!("oidc: token is expired (Token Expiry: {})", time(end))));
        }
        if let Some(begin) = number("nbf").filter(|begin| now + LEEWAY < *begin) {
            return Err(unverified(format!(
                "oidc: current time {} before the nbf (not before) time: {}",
                time(now),
                time(begin)
            )));
        }
        Ok(())
    }
}

fn malformed() -> IssuerError {
    unverified("oidc: malformed jwt")
}

fn unverified(why: impl std::fmt::Display) -> IssuerError {
    token(format!("verify token: {why}"))
}

/// As Go prints it.
fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(" "))
}

fn time(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
