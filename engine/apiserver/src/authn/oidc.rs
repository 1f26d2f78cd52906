//! The discovery documents with which others can check our service account tokens.
//!
//! Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery

use serde_json::{Value, json};

use super::Tokens;

impl Tokens {
    /// `/.well-known/openid-configuration`; `server` is this server's URL, e.g. `https://192.0.2.1:6443`.
    pub fn openid_configuration(&self, server: &str) -> Value {
        json!({
            "issuer": self.issuer(),
            "jwks_uri": format!("{server}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `/openid/v1/jwks`, of content type `application/jwk-set+json`.
    pub fn jwks(&self) -> Value {
        self.signer.jwks()
    }
}
