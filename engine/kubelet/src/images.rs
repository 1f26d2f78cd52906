//! When to pull, and which of a pod's pull secrets a registry is shown.
//!
//! Reads:     Secrets of types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`. Pure.
//! Source:    https://kubernetes.io/docs/concepts/containers/images/

use std::collections::BTreeMap;

use base64::Engine;
use coracle_runtime::images::{Credentials, SecretId};
use k8s_openapi::api::core::v1::{Container, Secret};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

pub fn pull_policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ => {
            let image = container.image.as_deref().unwrap_or_default();
            let name = image.rsplit('/').next().unwrap_or_default();
            let latest = !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
            if latest { PullPolicy::Always } else { PullPolicy::IfNotPresent }
        }
    }
}

#[derive(serde::Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    auth: String,
}

impl Auth {
    /// User name and password.
    fn login(&self) -> Option<(String, String)> {
        if !self.username.is_empty() {
            return Some((self.username.clone(), self.password.clone()));
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':')?;
        Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
    }
}

/// `host/path` of an image, with Docker Hub's shorthand written out and without tag and digest.
fn repository(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let name = match name.rfind(':') {
        Some(at) if !name[at..].contains('/') => &name[..at],
        _ => name,
    };
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            format!("{}/{rest}", canonical_host(host))
        }
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

fn canonical_host(host: &str) -> &str {
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host }
}

fn glob_host(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern.iter().zip(&host).all(|(p, h)| match p.split_once('*') {
            Some((before, after)) => {
                h.len() >= before.len() + after.len() && h.starts_with(before) && h.ends_with(after)
            }
            None => p == h,
        })
}

/// How well a key of a docker configuration fits: the length of its path, so that longer ones come first.
fn fit(key: &str, repository: &str) -> Option<usize> {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
    let key_path = key_path.trim_end_matches('/');
    let key_path = if matches!(key_path, "v1" | "v2") { "" } else { key_path };
    let (host, path) = repository.split_once('/')?;
    let fits = glob_host(canonical_host(key_host), host)
        && (key_path.is_empty() || path == key_path || path.starts_with(&format!("{key_path}/")));
    fits.then_some(key_path.len())
}

fn auths(secret: &Secret) -> BTreeMap<String, Auth> {
    let data = |key: &str| secret.data.as_ref()?.get(key).map(|b| b.0.as_slice());
    match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => data(".dockerconfigjson")
            .and_then(|config| serde_json::from_slice::<DockerConfig>(config).ok())
            .map(|config| config.auths)
            .unwrap_or_default(),
        Some("kubernetes.io/dockercfg") => {
            data(".dockercfg").and_then(|config| serde_json::from_slice(config).ok()).unwrap_or_default()
        }
        _ => BTreeMap::new(),
    }
}

fn secret_id(Secret { metadata, .. }: &Secret) -> SecretId {
    SecretId {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

/// What to show the image's registry, the most specific first.
pub fn credentials_for<'a>(image: &str, secrets: impl Iterator<Item = &'a Secret>) -> Vec<Credentials> {
    let repository = repository(image);
    let mut found: Vec<(usize, Credentials)> = Vec::new();
    for secret in secrets {
        let id = secret_id(secret);
        for (key, auth) in auths(secret) {
            if let (Some(fit), Some((username, password))) = (fit(&key, &repository), auth.login()) {
                found.push((fit, Credentials { username, password, secret: id.clone() }));
            }
        }
    }
    found.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
    found.into_iter().map(|(_, credentials)| credentials).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pull_policy_defaults_by_tag() {
        let table = [
            ("a", PullPolicy::Always),
            ("a:latest", PullPolicy::Always),
            ("h:5000/a", PullPolicy::Always),
            ("a:1", PullPolicy::IfNotPresent),
            ("a@sha256:0", PullPolicy::IfNotPresent),
        ];
        for (image, expected) in table {
            let container = Container { image: Some(image.to_owned()), ..Container::default() };
            assert_eq!(pull_policy(&container), expected, "{image}");
        }
    }

    #[test]
    fn a_registry_is_shown_only_its_own_credentials() {
        let config = json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "*.example.com": {"username": "wild", "password": "w"},
            "reg.example.com/team": {"username": "team", "password": "t"},
            "other.test": {"username": "other", "password": "o"}
        }});
        let mut secret = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            data: Some(BTreeMap::from([(
                ".dockerconfigjson".to_owned(),
                k8s_openapi::ByteString(config.to_string().into_bytes()),
            )])),
            ..Secret::default()
        };
        let names = |image: &str, secret: &Secret| -> Vec<String> {
            credentials_for(image, std::iter::once(secret)).into_iter().map(|c| c.username).collect()
        };
        assert_eq!(names("nginx", &secret), ["hub"]);
        assert_eq!(names("reg.example.com/team/app:1", &secret), ["team", "wild"]);
        assert_eq!(names("reg.example.com/teams/app:1", &secret), ["wild"]);
        assert!(names("quay.io/x/y", &secret).is_empty());
        secret.type_ = Some("Opaque".to_owned());
        assert!(names("nginx", &secret).is_empty());
    }
}
