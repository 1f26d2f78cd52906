//! Signs the kubeconfig in `kube-public/cluster-info` with every bootstrap token that is for signing: who holds the
//! token knows then that the authority's certificate in there is the cluster's.
//!
//! Reads:     the ConfigMap; bootstrap tokens (Secrets of `kube-system`).
//! Writes:    its keys `jws-kubeconfig-ID`.
//! Invariant: a token that ran out or went leaves no signature.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing and RFC 7515, appendix F

use std::{collections::BTreeMap, time::Duration};

use coracle_client::Api;
use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Client, api::PostParams};

use crate::{
    bootstrap_token::{self, TYPE},
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

mod signature;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";
const TOKEN: &str = "bootstrap-token-";

pub struct BootstrapSigner {
    reader: Reader,
    client: Client,
}

impl BootstrapSigner {
    pub fn new(reader: Reader, client: Client) -> BootstrapSigner {
        BootstrapSigner { reader, client }
    }

    fn tokens(&self, now: Timestamp) -> Result<Vec<Token>, ControllerError> {
        let snapshot = self.reader.snapshot();
        let named = |object: &coracle_store::Object| object.key.name.starts_with(TOKEN);
        let secrets =
            read::list::<Secret>(&snapshot, "secrets", "Secret", Some(bootstrap_token::NAMESPACE), named)?;
        Ok(secrets.iter().filter_map(|secret| Token::read(secret, now)).collect())
    }
}

/// A token that may sign now.
#[derive(Debug, PartialEq)]
struct Token {
    id: String,
    secret: String,
    /// Seconds until it ends.
    left: Option<u64>,
}

impl Token {
    fn read(secret: &Secret, now: Timestamp) -> Option<Token> {
        let field = |key: &str| -> String {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key));
            bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
        };
        let (id, key) = (field("token-id"), field("token-secret"));
        let named = secret.metadata.name.as_deref() == Some(&format!("{TOKEN}{id}"));
        let signs = secret.type_.as_deref() == Some(TYPE) && field("usage-bootstrap-signing") == "true";
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let whole = id.len() == 6 && key.len() == 16 && plain(&id) && plain(&key);
        let left = match bootstrap_token::end(secret) {
            None => None,
            Some(end) => Some(bootstrap_token::left(end, now)?),
        };
        let alive = secret.metadata.deletion_timestamp.is_none();
        (named && signs && whole && alive).then_some(Token { id, secret: key, left })
    }
}

/// `data` with the signatures that should be there, and no others.
fn plan(data: &BTreeMap<String, String>, tokens: &[Token]) -> BTreeMap<String, String> {
    let content = data.get(KUBECONFIG).map(String::as_str).unwrap_or_default();
    let signed = tokens.iter().filter(|_| !content.is_empty()).map(|token| {
        let signature = signature::sign(content, &token.id, &token.secret);
        (format!("{SIGNATURE}{}", token.id), signature)
    });
    let others = data.iter().filter(|(key, _)| !key.starts_with(SIGNATURE));
    others.map(|(key, value)| (key.clone(), value.clone())).chain(signed).collect()
}

impl Controller for BootstrapSigner {
    type Key = ObjectKey;
    const NAME: &'static str = "bootstrap-signer-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let info = || ObjectKey::new(NAMESPACE, NAME);
        let is_info = move |event: &coracle_store::Event| {
            let key = &event.object.key;
            if *key.namespace == *NAMESPACE && *key.name == *NAME { vec![info()] } else { Vec::new() }
        };
        let is_token = move |event: &coracle_store::Event| {
            let key = &event.object.key;
            let token = *key.namespace == *bootstrap_token::NAMESPACE && key.name.starts_with(TOKEN);
            if token { vec![info()] } else { Vec::new() }
        };
        vec![Source::new("configmaps", is_info), Source::new("secrets", is_token)]
    }

    fn relisted(&self) -> Vec<ObjectKey> {
        vec![ObjectKey::new(NAMESPACE, NAME)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(info) = read::get::<ConfigMap>(&self.reader, "configmaps", "ConfigMap", key)? else {
            return Ok(Requeue::OnChange);
        };
        let tokens = self.tokens(Timestamp::now())?;
        let before = info.data.clone().unwrap_or_default();
        let after = plan(&before, &tokens);
        if after != before {
            let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
            let signed = ConfigMap { data: Some(after), ..(*info).clone() };
            absent_is_fine(maps.replace(NAME, &PostParams::default(), &signed).await)
                .map_err(ControllerError::api("sign", "ConfigMap", key.to_string()))?;
        }
        let next = tokens.iter().filter_map(|token| token.left).min();
        Ok(next.map_or(Requeue::OnChange, |seconds| Requeue::After(Duration::from_secs(seconds))))
    }
}

#[cfg(test)]
mod tests {
    use coracle_kinds::Kind;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn only_living_tokens_for_signing_sign() {
        let secret = |change: Value| {
            let mut data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"});
            coracle_schema::json_merge_patch(&mut data, &change);
            let encoded: Map<String, Value> = data
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| {
                    let bytes = value.as_str().unwrap().as_bytes().to_vec();
                    (key.clone(), json!(k8s_openapi::ByteString(bytes)))
                })
                .collect();
            let name = json!({"name": "bootstrap-token-abcdef"});
            Secret::from_value(&json!({"metadata": name, "type": TYPE, "data": encoded})).unwrap()
        };
        let read = |change: Value| Token::read(&secret(change), Timestamp::UNIX_EPOCH);
        let good = Token { id: "abcdef".into(), secret: "0123456789abcdef".into(), left: None };
        assert_eq!(read(json!({})).as_ref(), Some(&good));
        assert_eq!(read(json!({"expiration": "1970-01-01T00:01:00Z"})).unwrap().left, Some(60));
        for change in [
            json!({"expiration": "1970-01-01T00:00:00Z"}),
            json!({"expiration": "soon"}),
            json!({"usage-bootstrap-signing": "false"}),
            json!({"token-id": "abcdeg"}),
            json!({"token-secret": "short"}),
        ] {
            assert_eq!(read(change.clone()), None, "{change}");
        }
    }

    #[test]
    fn signatures_follow_tokens_and_content() {
        let token = Token { id: "abcdef".into(), secret: "0123456789abcdef".into(), left: None };
        let mut data = BTreeMap::from([(KUBECONFIG.to_owned(), "a".to_owned())]);
        let signed = plan(&data, std::slice::from_ref(&token));
        assert_eq!(signed.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", KUBECONFIG]);
        assert_eq!(plan(&signed, std::slice::from_ref(&token)), signed);
        assert_eq!(plan(&signed, &[]), data);
        data.insert(KUBECONFIG.into(), "b".into());
        let key = "jws-kubeconfig-abcdef";
        assert_ne!(plan(&data, std::slice::from_ref(&token))[key], signed[key]);
        assert!(plan(&BTreeMap::new(), &[token]).is_empty());
    }
}
