//! Fills Secrets of type `kubernetes.io/service-account-token` with a token of the account they name, and deletes them
//! with it.
//!
//! Reads:     Secrets, ServiceAccounts.
//! Writes:    Secret update and delete; ServiceAccount update, when it lists a Secret that is gone.
//! Invariant: no token Secret outlives its account, also when another of the same name comes.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#token-controller

use std::{fmt, sync::Arc};

use coracle_client::Api;
use coracle_store::{Event, EventKind, Object, Reader};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};
use kube::{
    Client,
    api::{DeleteParams, PostParams, Preconditions},
};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

mod claim;
mod plan;

use claim::Claim;
use plan::Plan;

/// Makes tokens that the API server accepts.
pub trait TokenSigner: Send + Sync {
    /// A token of the account, good as long as the Secret holds it.
    fn sign(&self, wanted: &SecretToken<'_>) -> Result<String, String>;
}

/// Whose token is wanted, and where it will be.
pub struct SecretToken<'a> {
    pub namespace: &'a str,
    pub account: &'a str,
    pub account_uid: &'a str,
    pub secret: &'a str,
}

/// A Secret and the account that it names or named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    secret: ObjectKey,
    claim: Claim,
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.fmt(f)
    }
}

impl TokenKey {
    fn of(object: &Object) -> Option<TokenKey> {
        Some(TokenKey { secret: ObjectKey::of(&object.key), claim: Claim::read(&object.json)? })
    }

    fn account(&self) -> ObjectKey {
        ObjectKey { namespace: self.secret.namespace.clone(), name: self.claim.account.clone() }
    }
}

pub struct ServiceAccountTokenController {
    reader: Reader,
    client: Client,
    ca_pem: String,
    signer: Arc<dyn TokenSigner>,
}

impl ServiceAccountTokenController {
    pub fn new(
        reader: Reader,
        client: Client,
        ca_pem: String,
        signer: Arc<dyn TokenSigner>,
    ) -> ServiceAccountTokenController {
        ServiceAccountTokenController { reader, client, ca_pem, signer }
    }

    async fn fill(
        &self,
        key: &TokenKey,
        mut secret: Secret,
        account: &ServiceAccount,
        needs_token: bool,
    ) -> Result<(), ControllerError> {
        let (namespace, name) = (&*key.secret.namespace, &*key.secret.name);
        if needs_token {
            let account_uid = account.metadata.uid.as_deref().unwrap_or_default();
            let wanted = SecretToken { namespace, account: &key.claim.account, account_uid, secret: name };
            let token = self
                .signer
                .sign(&wanted)
                .map_err(|why| ControllerError::Token { key: key.secret.clone(), why })?;
            secret.data.get_or_insert_default().insert("token".into(), ByteString(token.into_bytes()));
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        absent_is_fine(secrets.replace(name, &PostParams::default(), &secret).await)
            .map_err(ControllerError::api("fill", "Secret", key.to_string()))?;
        Ok(())
    }

    async fn delete(&self, key: &TokenKey, secret: &Secret) -> Result<(), ControllerError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &key.secret.namespace);
        let same = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        absent_is_fine(secrets.delete(&key.secret.name, &params).await).map_err(ControllerError::api(
            "delete",
            "Secret",
            key.to_string(),
        ))?;
        Ok(())
    }

    /// The Secret is gone: its account does not list it any longer.
    async fn unlist(&self, key: &TokenKey) -> Result<(), ControllerError> {
        let Some(account) = self.account(key)? else { return Ok(()) };
        let Some(account) = plan::without(&account, &key.secret.name) else { return Ok(()) };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &key.secret.namespace);
        absent_is_fine(accounts.replace(&key.claim.account, &PostParams::default(), &account).await)
            .map_err(ControllerError::api("update", "ServiceAccount", key.account().to_string()))?;
        Ok(())
    }

    /// The account that the Secret means: of another uid it is another one.
    fn account(&self, key: &TokenKey) -> Result<Option<Arc<ServiceAccount>>, ControllerError> {
        let account =
            read::get::<ServiceAccount>(&self.reader, "serviceaccounts", "ServiceAccount", &key.account())?;
        Ok(account.filter(|account| key.claim.means(account)))
    }
}

/// The token Secrets that name the account, when it is gone.
fn of_deleted_account(reader: &Reader, event: &Event) -> Vec<TokenKey> {
    if event.kind != EventKind::Deleted {
        return Vec::new();
    }
    let account = &event.object.key;
    let snapshot = reader.snapshot();
    let secrets = snapshot.list(&read::scope("secrets", Some(&account.namespace)));
    secrets
        .filter_map(|secret| TokenKey::of(secret))
        .filter(|key| key.claim.account == account.name)
        .collect()
}

impl Controller for ServiceAccountTokenController {
    type Key = TokenKey;
    const NAME: &'static str = "serviceaccount-token-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source<TokenKey>> {
        let reader = self.reader.clone();
        vec![
            Source::new("secrets", |event| TokenKey::of(&event.object).into_iter().collect()),
            Source::new("serviceaccounts", move |event| of_deleted_account(&reader, event)),
        ]
    }

    /// An account's deletion may have been missed.
    fn relisted(&self) -> Vec<TokenKey> {
        let snapshot = self.reader.snapshot();
        snapshot.list(&read::scope("secrets", None)).filter_map(|secret| TokenKey::of(secret)).collect()
    }

    async fn reconcile(&self, key: &TokenKey) -> Result<Requeue, ControllerError> {
        let Some(secret) = read::get::<Secret>(&self.reader, "secrets", "Secret", &key.secret)? else {
            self.unlist(key).await?;
            return Ok(Requeue::OnChange);
        };
        // What it says now counts; a change came with a key of its own.
        if Claim::of(&secret).as_ref() != Some(&key.claim) {
            return Ok(Requeue::OnChange);
        }
        let Some(account) = self.account(key)? else {
            self.delete(key, &secret).await?;
            return Ok(Requeue::OnChange);
        };
        if let Plan::Fill { secret, needs_token } = plan::plan(&secret, &account, &self.ca_pem) {
            self.fill(key, *secret, &account, needs_token).await?;
        }
        Ok(Requeue::OnChange)
    }
}
