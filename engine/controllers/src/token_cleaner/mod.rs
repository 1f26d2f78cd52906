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
    bootstrap_token::{NAMESPACE, end, left},
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

pub struct TokenCleanerController {
    reader: Reader,
    client: Client,
}

impl TokenCleanerController {
    pub fn new(reader: Reader, client: Client) -> TokenCleanerController {
        TokenCleanerController { reader, client }
    }
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
        if let Some(left) = left(end, Timestamp::now()) {
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
