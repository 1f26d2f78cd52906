//! Validating webhooks: all at once, each may refuse.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/validating/dispatcher.go

use std::time::Instant;

use futures::{StreamExt, stream::FuturesOrdered};
use serde_json::Value;

use super::{
    call::{Refusal, is_step},
    configuration::{VALIDATING, Webhook, all},
};
use crate::{admission::Request, audit, metrics::Step, status::Status};

pub async fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let configurations = all(&request.state.reader, &VALIDATING);
    if configurations.is_empty() || is_step(request) {
        return Ok(());
    }
    let mut asking = FuturesOrdered::new();
    for webhook in configurations.iter().flat_map(|configuration| &configuration.webhooks) {
        asking.push_back(async move {
            match ask(webhook, request, object).await {
                Ok(()) => Ok(()),
                Err(refusal) => webhook.judge(refusal),
            }
        });
    }
    // All are heard, so that warnings are complete; of several refusals the first counts.
    let mut refused = None;
    let began = Instant::now();
    while let Some(result) = asking.next().await {
        if let Err(status) = result {
            refused.get_or_insert(status);
        }
    }
    audit::waited(began.elapsed());
    refused.map_or(Ok(()), Err)
}

async fn ask(webhook: &Webhook, request: &Request<'_>, object: Option<&Value>) -> Result<(), Refusal> {
    let Some(matched) = webhook.wants(request, object).await? else { return Ok(()) };
    webhook.ask_timed(request, &matched, object, Step::Validate).await.map(drop)
}
