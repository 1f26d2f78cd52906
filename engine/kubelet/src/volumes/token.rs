//! Service account tokens of projected volumes, bound to the pod and renewed at 80 % of their life.
//!
//! Writes:    `serviceaccounts/token` requests.
//! Source:    https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken

use std::collections::HashMap;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use parking_lot::Mutex;

use crate::clock::{self, Millis};

const DEFAULT_SECONDS: i64 = 3600;
/// Renewed after this long whatever its life.
const MAX_AGE_MS: Millis = 24 * 3600 * 1000;

/// The tokens of one pod, by audience and life.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<(String, i64), (String, Millis)>>);

/// When a token issued at `now` that ends at `expires` is renewed.
fn renew_at(now: Millis, expires: Millis) -> Millis {
    now + ((expires - now) * 8 / 10).clamp(1000, MAX_AGE_MS)
}

impl Tokens {
    pub async fn get(
        &self,
        client: &kube::Client,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<(String, Millis), String> {
        let audience = wanted.audience.clone().unwrap_or_default();
        let seconds = wanted.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let key = (audience.clone(), seconds);
        if let Some((token, renew)) = self.0.lock().get(&key)
            && *renew > clock::now()
        {
            return Ok((token.clone(), *renew));
        }
        let fresh = request(client, pod, audience, seconds).await?;
        self.0.lock().insert(key, fresh.clone());
        Ok(fresh)
    }
}

async fn request(
    client: &kube::Client,
    pod: &Pod,
    audience: String,
    seconds: i64,
) -> Result<(String, Millis), String> {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|s| s.service_account_name.as_deref()).unwrap_or("default");
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(if audience.is_empty() { Vec::new() } else { vec![audience] }),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
            }),
            expiration_seconds: Some(seconds),
        }),
        ..TokenRequest::default()
    };
    let failed = |e: &dyn std::fmt::Display| format!("failed to fetch token: {e}");
    let request =
        http::Request::post(format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&body).map_err(|e| failed(&e))?)
            .map_err(|e| failed(&e))?;
    let answer: TokenRequest = client.request(request).await.map_err(|e| failed(&crate::api_message(&e)))?;
    let status = answer.status.ok_or_else(|| failed(&"the answer has no token"))?;
    let token = status.token.ok_or_else(|| failed(&"the answer has no token"))?;
    let now = clock::now();
    let expires = status.expiration_timestamp.as_ref().map_or(now + seconds * 1000, clock::from_time);
    Ok((token, renew_at(now, expires)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_at_four_fifths_of_their_life_and_daily() {
        assert_eq!(renew_at(0, 3_600_000), 2_880_000);
        assert_eq!(renew_at(0, 365 * MAX_AGE_MS), MAX_AGE_MS);
    }
}
