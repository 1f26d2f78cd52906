//! Approves requests for client certificates of nodes, when whoever asks is allowed to.

use std::sync::Arc;

use coracle_client::Api;
use coracle_store::Reader;
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
};
use kube::{Client, api::PostParams};

use super::{CertificateAuthority, KIND, RESOURCE, condition, get, has, plan};
use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    runner::{Controller, Requeue, Source},
};

pub struct ApprovingController {
    reader: Reader,
    client: Client,
    authority: Arc<dyn CertificateAuthority>,
}

impl ApprovingController {
    pub fn new(
        reader: Reader,
        client: Client,
        authority: Arc<dyn CertificateAuthority>,
    ) -> ApprovingController {
        ApprovingController { reader, client, authority }
    }

    async fn may(
        &self,
        spec: &CertificateSigningRequestSpec,
        subresource: &str,
    ) -> Result<bool, kube::Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".into()),
                    resource: Some("certificatesigningrequests".into()),
                    subresource: Some(subresource.into()),
                    verb: Some("create".into()),
                    version: Some("*".into()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

impl Controller for ApprovingController {
    type Key = ObjectKey;
    const NAME: &'static str = "certificatesigningrequest-approving-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(RESOURCE)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(request) = get(&self.reader, key)? else { return Ok(Requeue::OnChange) };
        if has(&request, "Approved") || has(&request, "Denied") {
            return Ok(Requeue::OnChange);
        }
        let Ok(asked) = self.authority.inspect(&request.spec.request.0) else { return Ok(Requeue::OnChange) };
        for (subresource, text) in plan::recognized(&request.spec, &asked) {
            let may = self.may(&request.spec, subresource).await;
            if !may.map_err(ControllerError::api("review access for", KIND, key.to_string()))? {
                continue;
            }
            let mut next = CertificateSigningRequest::clone(&request);
            let approved = condition("Approved", "AutoApproved", text);
            next.status.get_or_insert_default().conditions.get_or_insert_default().push(approved);
            let requests: Api<CertificateSigningRequest> = Api::all(self.client.clone());
            let written =
                requests.replace_subresource("approval", &key.name, &PostParams::default(), &next).await;
            absent_is_fine(written).map_err(ControllerError::api("approve", KIND, key.to_string()))?;
            break;
        }
        Ok(Requeue::OnChange)
    }
}
