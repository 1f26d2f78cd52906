//! Deletes bootstrap tokens that ran out.
//!
//! Reads:     Secrets of `kube-system`.
//! Writes:    Secret delete.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/

use std::time::Duration;

use coracle_client::Api;
use coracle_store::Reader;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client,
    api::{DeleteParams, Preconditions},
};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

pub struct TokenCleanerController {
    reader: Reader,
    client: Client,
}

impl TokenCleanerController {
    pub fn new(reader: Reader, client: Client) -> TokenCleanerController {
        TokenCleanerController { reader, client }
    }
}

/// When a token ends; one whose time cannot be read has ended. `None`: never, or it is no token.
fn end(secret: &Secret) -> Option<Timestamp> {
    if secret.type_.as_deref() != Some(TYPE) {
        return None;
    }
    let text = std::str::from_utf8(&secret.data.as_ref()?.get("expiration")?.0).unwrap_or("unreadable");
    (!text.is_empty()).then(|| text.parse().unwrap_or(Timestamp::MIN))
}

impl Controller for TokenCleanerController {
    type Key = ObjectKey;
    const NAME: &'static str = "token-cleaner-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let ours = |event: &coracle_store::Event| *event.object.key.namespace == *NAMESPACE;
        vec![Source::new("secrets", move |event| {
            if ours(event) { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
        })]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let secret = read::get::<Secret>(&self.reader, "secrets", "Secret", key)?;
        let Some((secret, end)) = secret.and_then(|secret| end(&secret).map(|end| (secret, end))) else {
            return Ok(Requeue::OnChange);
        };
        let left = end.as_second().saturating_sub(Timestamp::now().as_second());
        if let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) {
            return Ok(Requeue::After(Duration::from_secs(left)));
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let same = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        absent_is_fine(secrets.delete(&key.name, &params).await).map_err(ControllerError::api(
            "delete",
            "Secret",
            key.to_string(),
        ))?;
        Ok(Requeue::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use coracle_kinds::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tokens_with_a_time_end() {
        let secret = |kind: &str, expiration: &str| {
            let data = json!({"expiration": k8s_openapi::ByteString(expiration.as_bytes().to_vec())});
            Secret::from_value(&json!({"metadata": {}, "type": kind, "data": data})).unwrap()
        };
        assert_eq!(end(&secret(TYPE, "1970-01-01T00:00:01Z")), Timestamp::from_second(1).ok());
        assert_eq!(end(&secret(TYPE, "soon")), Some(Timestamp::MIN));
        assert_eq!(end(&secret(TYPE, "")), None);
        assert_eq!(end(&secret("Opaque", "1970-01-01T00:00:01Z")), None);
    }
}
