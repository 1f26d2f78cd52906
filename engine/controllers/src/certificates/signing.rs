//! Signs what was approved, or says why it cannot.

use std::sync::Arc;

use coracle_client::Api;
use coracle_store::Reader;
use k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequest};
use kube::{Client, api::PostParams};

use super::{CertificateAuthority, KIND, RESOURCE, condition, get, has, is_issued, plan};
use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    runner::{Controller, Requeue, Source},
};

pub struct SigningController {
    reader: Reader,
    client: Client,
    authority: Arc<dyn CertificateAuthority>,
}

impl SigningController {
    pub fn new(
        reader: Reader,
        client: Client,
        authority: Arc<dyn CertificateAuthority>,
    ) -> SigningController {
        SigningController { reader, client, authority }
    }
}

impl Controller for SigningController {
    type Key = ObjectKey;
    const NAME: &'static str = "certificatesigningrequest-signing-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(RESOURCE)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(request) = get(&self.reader, key)? else { return Ok(Requeue::OnChange) };
        if !has(&request, "Approved") || has(&request, "Failed") || is_issued(&request) {
            return Ok(Requeue::OnChange);
        }
        let spec = &request.spec;
        let usages = spec.usages.clone().unwrap_or_default();
        let allowed = match self.authority.inspect(&spec.request.0) {
            Ok(asked) => plan::signable(spec, &asked),
            Err(why) => Some(Err(why)),
        };
        let Some(allowed) = allowed else { return Ok(Requeue::OnChange) };
        let signed = allowed.and_then(|()| {
            self.authority.sign(&spec.request.0, &usages, plan::validity(spec.expiration_seconds))
        });
        let mut next = CertificateSigningRequest::clone(&request);
        let status = next.status.get_or_insert_default();
        match signed {
            Ok(certificate) => status.certificate = Some(ByteString(certificate.into_bytes())),
            Err(why) => {
                let failed = condition("Failed", "SignerValidationFailure", &why);
                status.conditions.get_or_insert_default().push(failed);
            }
        }
        let requests: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        absent_is_fine(requests.replace_status(&key.name, &PostParams::default(), &next).await)
            .map_err(ControllerError::api("sign", KIND, key.to_string()))?;
        Ok(Requeue::OnChange)
    }
}
