//! The API server's key for tokens of service accounts, as the controller of token Secrets wants it.

use std::sync::Arc;

use coracle_apiserver::{ApiServer, authn::ObjectRef};
use coracle_controllers::{SecretToken, TokenSigner};

pub struct Signer(pub Arc<ApiServer>);

impl TokenSigner for Signer {
    fn sign(&self, wanted: &SecretToken<'_>) -> Result<String, String> {
        let account = ObjectRef { name: wanted.account.to_owned(), uid: wanted.account_uid.to_owned() };
        let signed = self.0.secret_token(wanted.namespace, &account, wanted.secret);
        signed.map_err(|error| error.to_string())
    }
}
