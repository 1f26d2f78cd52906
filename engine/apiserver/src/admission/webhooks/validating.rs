//! Validating webhooks: all at once, each may refuse.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/validating/dispatcher.go

use std::time::Instant;

use futures::{StreamExt, stream::FuturesOrdered};
use serde_json::Value;

use super::{
    call::Refusal,
    configuration::{VALIDATING, Webhook, all},
};
use crate::{
    admission::{Request, scaled::is_step},
    audit,
    metrics::Step,
    status::Status,
};

pub async fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let configurations = all(&request.state.reader, &VALIDATING);
    if configurations.is_empty() || is_step(request) {
        return Ok(());
    }
    let mut asking = FuturesOrdered::new();
    for webhook in configurations.iter().flat_map(|configuration| &configuration.webhooks) {
        asking.push_back(async move { (webhook, ask(webhook, request, object).await) });
    }
    // All are heard, so that warnings are complete; of several refusals the first counts.
    let mut refused = None;
    let began = Instant::now();
    let mut at = 0;
    while let Some((webhook, outcome)) = asking.next().await {
        if let Err(refusal) = &outcome
            && matches!(refusal, Refusal::Failed(_))
            && webhook.fails_open
        {
            let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{at}");
            request.annotate(&key, webhook.name.as_str());
        }
        at += usize::from(!matches!(outcome, Ok(false)));
        if let Err(status) = outcome.or_else(|refusal| webhook.judge(refusal).map(|()| true)) {
            refused.get_or_insert(status);
        }
    }
    audit::waited(began.elapsed());
    refused.map_or(Ok(()), Err)
}

/// Whether the webhook was asked.
async fn ask(webhook: &Webhook, request: &Request<'_>, object: Option<&Value>) -> Result<bool, Refusal> {
    let Some(matched) = webhook.wants(request, object).await? else { return Ok(false) };
    webhook.ask_timed(request, &matched, object, Step::Validate).await.map(|_| true)
}
