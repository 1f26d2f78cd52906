//! The kubeconfig of an admin, with everything inside (`*-data` fields): one file to copy.
//!
//! Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Authority, CLIENT_VALIDITY, PkiError};

pub fn admin(
    authority: &Authority,
    server: &str,
    expiry: Option<Duration>,
    namespace: Option<&str>,
) -> Result<String, PkiError> {
    let (certificate, key) =
        authority.sign_client("kubernetes-admin", &["system:masters"], expiry.unwrap_or(CLIENT_VALIDITY))?;
    let namespace = namespace.map(|name| format!("\n    namespace: {}", quoted(name))).unwrap_or_default();
    Ok(format!(
        "apiVersion: v1
kind: Config
clusters:
- name: coracle
  cluster:
    certificate-authority-data: {ca}
    server: {server}
contexts:
- name: coracle
  context:
    cluster: coracle
    user: coracle-admin{namespace}
current-context: coracle
preferences: {{}}
users:
- name: coracle-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
",
        ca = STANDARD.encode(authority.pem()),
        server = quoted(server),
        certificate = STANDARD.encode(certificate),
        key = STANDARD.encode(key),
    ))
}

/// JSON strings are YAML strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
