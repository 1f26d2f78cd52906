//! One registry, or its mirrors: manifests and blobs, with the token exchange that a 401 asks for.
//! Source: <https://distribution.github.io/distribution/spec/auth/token/>

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;

use super::{
    Credentials, Reference, RegistryConfig,
    http::{Http, HttpError, document},
    manifest::ACCEPT,
};
use crate::causes::chain;

pub struct Registry {
    config: RegistryConfig,
    http: Http,
}

/// One place to ask for a repository, and the authorization it wants by now.
pub struct Session<'a> {
    registry: &'a Registry,
    /// `https://registry-1.docker.io/v2/library/nginx`
    base: String,
    repository: String,
    /// The registry that a mirror is asked for.
    namespace: Option<String>,
    /// What it is shown when it asks.
    credentials: Option<&'a Credentials>,
    authorization: Option<HeaderValue>,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("content at {url} not found: not found")]
    NotFound { url: String },
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Denied(String),
    #[error("failed to do request: {} \"{url}\": {reason}", operation(method))]
    Request { method: Method, url: String, reason: String },
    #[error("unexpected status from {method} request to {url}: {status}")]
    Status { method: Method, url: String, status: StatusCode },
    /// `kind` is `anonymous` or `oauth`.
    #[error("failed to authorize: failed to fetch {kind} token")]
    Token { kind: &'static str, source: Box<RegistryError> },
}

/// As Go names a request in an error: `Head`.
fn operation(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_lowercase())
}

impl Registry {
    pub fn new(config: RegistryConfig) -> Registry {
        Registry { config, http: Http::default() }
    }

    /// The mirrors of the reference's registry, then the registry itself.
    pub fn sessions<'a>(
        &'a self,
        reference: &Reference,
        credentials: Option<&'a Credentials>,
    ) -> Vec<Session<'a>> {
        let mirrors = self
            .config
            .mirrors
            .iter()
            .filter(|(host, _)| *host == reference.host)
            .flat_map(|(_, mirrors)| mirrors);
        let own = match reference.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let hosts = mirrors.map(String::as_str).chain([own]);
        hosts
            .map(|host| Session {
                registry: self,
                base: format!("{}/v2/{}", self.address(host), reference.path),
                repository: reference.path.clone(),
                namespace: (host != own).then(|| reference.host.clone()),
                credentials,
                authorization: None,
            })
            .collect()
    }

    /// A mirror may be written with its scheme. Loopback and the configured hosts are spoken to in plain HTTP.
    fn address(&self, host: &str) -> String {
        if host.contains("://") {
            return host.trim_end_matches('/').to_string();
        }
        // A mirror may have a path.
        let at = host.split_once('/').map_or(host, |(at, _)| at);
        // IPv6 addresses stand in brackets.
        let name = match at.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, _)) => name,
            None => at.rsplit_once(':').map_or(at, |(name, _)| name),
        };
        let is_loopback =
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let plain = is_loopback || self.config.plain_http.iter().any(|known| known == at);
        format!("{}://{host}", if plain { "http" } else { "https" })
    }
}

impl Session<'_> {
    /// The digest that a tag has now, without its content. Registries that do not say give `None`, and so do those
    /// that know no HEAD.
    pub async fn head(&mut self, version: &str) -> Result<Option<String>, RegistryError> {
        let response = match self.get(Method::HEAD, &format!("manifests/{version}")).await {
            Err(RegistryError::Status { status: StatusCode::METHOD_NOT_ALLOWED, .. }) => return Ok(None),
            other => other?,
        };
        Ok(response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .map(str::to_string))
    }

    pub async fn manifest(&mut self, version: &str) -> Result<Bytes, RegistryError> {
        let path = format!("manifests/{version}");
        let response = self.get(Method::GET, &path).await?;
        document(response).await.map_err(|error| self.failed(Method::GET, &path, &error))
    }

    pub async fn blob(&mut self, digest: &str) -> Result<Response<Incoming>, RegistryError> {
        self.get(Method::GET, &format!("blobs/{digest}")).await
    }

    pub fn failed(&self, method: Method, path: &str, error: &HttpError) -> RegistryError {
        RegistryError::Request { method, url: self.url(path), reason: chain(error) }
    }

    /// A mirror of several registries is told which one is meant, as containerd does.
    fn url(&self, path: &str) -> String {
        let namespace = self.namespace.as_ref().map(|host| format!("?ns={}", host.replace(':', "%3A")));
        format!("{}/{path}{}", self.base, namespace.unwrap_or_default())
    }

    async fn get(&mut self, method: Method, path: &str) -> Result<Response<Incoming>, RegistryError> {
        let mut response = self.ask(&method, path).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.authorize(preferred(&challenges(&response))).await?;
            response = self.ask(&method, path).await?;
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound { url: self.url(path) }),
            status => Err(match refusal(&response) {
                Some(message) => RegistryError::Denied(message),
                None => RegistryError::Status { method, url: self.url(path), status },
            }),
        }
    }

    async fn ask(&self, method: &Method, path: &str) -> Result<Response<Incoming>, RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("coracle/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        self.registry
            .http
            .request(method.clone(), &self.url(path), &headers)
            .await
            .map_err(|error| self.failed(method.clone(), path, &error))
    }

    /// Gets a token, or shows the credentials, as the challenge asks.
    async fn authorize(&mut self, challenge: &str) -> Result<(), RegistryError> {
        let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            let credentials = self.credentials.ok_or_else(|| {
                RegistryError::Denied("authorization failed: no basic auth credentials".into())
            })?;
            self.authorization = Some(basic(credentials));
            return Ok(());
        }
        let realm = parameter(parameters, "realm")
            .ok_or_else(|| RegistryError::Denied(format!("challenge `{challenge}` is not understood")))?;
        let scope =
            parameter(parameters, "scope").unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut url = format!("{realm}{}scope={scope}", if realm.contains('?') { '&' } else { '?' });
        if let Some(service) = parameter(parameters, "service") {
            url.push_str(&format!("&service={}", service.replace(' ', "%20")));
        }
        let token = self.token(&url, self.credentials).await?;
        self.authorization = HeaderValue::from_str(&format!("Bearer {token}")).ok();
        Ok(())
    }

    async fn token(&self, url: &str, credentials: Option<&Credentials>) -> Result<String, RegistryError> {
        let failed = |reason: String| RegistryError::Request { method: Method::GET, url: url.into(), reason };
        let mut headers = HeaderMap::new();
        if let Some(credentials) = credentials {
            headers.insert(header::AUTHORIZATION, basic(credentials));
        }
        let response = self
            .registry
            .http
            .request(Method::GET, url, &headers)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        if !status.is_success() {
            let source = Box::new(RegistryError::Status { method: Method::GET, url: url.into(), status });
            let kind = if credentials.is_some() { "oauth" } else { "anonymous" };
            return Err(RegistryError::Token { kind, source });
        }
        let bytes = document(response).await.map_err(|error| failed(error.to_string()))?;
        token_of(&bytes).map_err(failed)
    }
}

fn challenges(response: &Response<Incoming>) -> Vec<String> {
    let values = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    values.filter_map(|value| value.to_str().ok().map(str::to_string)).collect()
}

/// Why a token that was shown opens nothing. Source: RFC 6750, section 3.1
fn refusal(response: &Response<Incoming>) -> Option<String> {
    if response.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    let challenges = challenges(response);
    let (_, parameters) = preferred(&challenges).split_once(' ')?;
    Some(format!("server message: {}: authorization failed", parameter(parameters, "error")?))
}

/// Servers send `token`, `access_token` as OAuth 2 has it, or, as Docker Hub does, both.
fn token_of(answer: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let given = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
    given.ok_or_else(|| "authorization server did not include a token in the response".into())
}

fn basic(credentials: &Credentials) -> HeaderValue {
    let text = BASE64_STANDARD.encode(format!("{}:{}", credentials.username, credentials.password));
    let mut value = HeaderValue::from_str(&format!("Basic {text}")).expect("base64 is a valid header");
    value.set_sensitive(true);
    value
}

/// A registry may offer several ways: a token is better than showing the password each time.
fn preferred(challenges: &[String]) -> &str {
    let scheme = |challenge: &str| challenge.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let of = |wanted: &str| challenges.iter().find(|challenge| scheme(challenge) == wanted);
    of("bearer").or_else(|| of("basic")).or_else(|| challenges.first()).map_or("", String::as_str)
}

/// `key="value"` or `key=value` in a challenge (RFC 9110, section 11.2); quoted values may hold commas.
fn parameter(parameters: &str, key: &str) -> Option<String> {
    let mut rest = parameters;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if name.trim_matches([',', ' ']).eq_ignore_ascii_case(key) {
            return Some(value.trim().to_string());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let challenge = r#"realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(parameter(challenge, "scope").unwrap(), "repository:a/b:pull,push");
        assert_eq!(parameter(challenge, "realm").unwrap(), "https://auth.docker.io/token");
        assert_eq!(parameter(challenge, "absent"), None);
        let unquoted = r#"Realm=https://auth.lan/token, service="a=b", scope=repository:a:pull"#;
        assert_eq!(parameter(unquoted, "realm").unwrap(), "https://auth.lan/token");
        assert_eq!(parameter(unquoted, "service").unwrap(), "a=b");
        assert_eq!(parameter(unquoted, "scope").unwrap(), "repository:a:pull");
    }

    #[test]
    fn of_several_challenges_a_token_is_preferred() {
        let both = ["Negotiate", "Basic realm=\"r\"", "bearer realm=\"t\""].map(str::to_string);
        assert_eq!(preferred(&both), both[2]);
        assert_eq!(preferred(&both[..2]), both[1]);
        assert_eq!(preferred(&both[..1]), "Negotiate");
        assert_eq!(preferred(&[]), "");
    }

    #[test]
    fn a_token_comes_under_either_name_or_both() {
        for (answer, expected) in [
            (r#"{"token": "a"}"#, Some("a")),
            (r#"{"access_token": "b", "expires_in": 300}"#, Some("b")),
            (r#"{"token": "a", "access_token": "b"}"#, Some("a")),
            (r#"{"token": "", "access_token": "b"}"#, Some("b")),
            ("{}", None),
        ] {
            assert_eq!(token_of(answer.as_bytes()).ok().as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn mirrors_are_told_whose_images_are_meant() {
        let mirrors = ["docker.io", "a.lan:5000"].map(|host| (host.to_string(), vec!["m.lan".to_string()]));
        let registry = Registry::new(RegistryConfig { mirrors: mirrors.into(), ..RegistryConfig::default() });
        for (image, mirror, own) in [
            (
                "nginx",
                "https://m.lan/v2/library/nginx/x?ns=docker.io",
                "https://registry-1.docker.io/v2/library/nginx/x",
            ),
            ("a.lan:5000/b", "https://m.lan/v2/b/x?ns=a.lan%3A5000", "https://a.lan:5000/v2/b/x"),
        ] {
            let sessions = registry.sessions(&Reference::parse(image).unwrap(), None);
            let urls: Vec<_> = sessions.iter().map(|session| session.url("x")).collect();
            assert_eq!(urls, [mirror, own]);
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        let registry = Registry::new(RegistryConfig::default());
        let sessions = registry.sessions(&Reference::parse("a.lan/b").unwrap(), None);
        let full = HttpError::Write(std::io::Error::from_raw_os_error(28));
        let said = sessions[0].failed(Method::GET, "x", &full).to_string();
        assert!(said.contains("\"https://a.lan/v2/b/x\": write download: No space left on device"), "{said}");
    }

    #[test]
    fn plain_http_is_for_loopback_and_configured_hosts() {
        let config =
            RegistryConfig { plain_http: vec!["registry.lan:5000".into()], ..RegistryConfig::default() };
        let registry = Registry::new(config);
        for (host, expected) in [
            ("localhost:5000", "http://localhost:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("[::1]:5006", "http://[::1]:5006"),
            ("[::1]", "http://[::1]"),
            ("[fd00::1]:5006", "https://[fd00::1]:5006"),
            ("registry.lan:5000", "http://registry.lan:5000"),
            ("registry.lan:5000/mirror", "http://registry.lan:5000/mirror"),
            ("ghcr.io", "https://ghcr.io"),
            ("http://mirror/", "http://mirror"),
        ] {
            assert_eq!(registry.address(host), expected);
        }
    }
}
