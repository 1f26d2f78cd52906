//! Mutating webhooks, one after the other; again those that asked for it when a later one changed the object.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/mutating/dispatcher.go

use std::time::Instant;

use serde_json::Value;

use super::{
    call::{Refusal, is_step, seen, take},
    configuration::{MUTATING, Webhook, all},
};
use crate::{
    admission::{Operation, Request},
    audit, conversion,
    metrics::Step,
    status::{Status, quote},
};

/// What the first round leaves for the second.
#[derive(Default)]
pub struct Round {
    /// Webhooks to ask again if the object changes after them.
    asked: Vec<(String, String)>,
    /// Webhooks that a second round asks.
    again: Vec<(String, String)>,
    /// The object as the webhooks left it.
    left: Value,
}

impl Round {
    fn changed(&mut self) {
        self.again.append(&mut self.asked);
    }
}

/// Returns what a second round has to do; none when there is nothing to do again. `first` is what this round leaves.
pub async fn mutate(
    request: &Request<'_>,
    object: &mut Value,
    first: Option<Round>,
) -> Result<Option<Round>, Status> {
    let configurations = all(&request.state.reader, &MUTATING);
    if configurations.is_empty() || is_step(request) {
        return Ok(None);
    }
    let mut round = Round::default();
    let again = first.map(|mut first| {
        // The plugins of this server changed it again: all that may be asked again are.
        if first.left != *object {
            first.changed();
        }
        first.again
    });
    let mut changed = false;
    for webhook in configurations.iter().flat_map(|configuration| &configuration.webhooks) {
        let id = (webhook.configuration.clone(), webhook.name.clone());
        if again.as_ref().is_some_and(|again| !again.contains(&id)) {
            continue;
        }
        let outcome = ask(webhook, request, object).await;
        match outcome {
            Ok(None) => continue,
            Ok(Some(false)) => {}
            Ok(Some(true)) => {
                round.changed();
                changed = true;
            }
            Err(refusal) => webhook.judge(refusal)?,
        }
        if webhook.reinvoked {
            round.asked.push(id);
        }
    }
    if !changed {
        return Ok(None);
    }
    round.left = object.clone();
    Ok(Some(round))
}

/// Whether the webhook was asked, and whether it changed the object.
async fn ask(webhook: &Webhook, request: &Request<'_>, object: &mut Value) -> Result<Option<bool>, Refusal> {
    let gone = request.operation == Operation::Delete;
    let shown = (!gone).then_some(&*object);
    let Some(matched) = webhook.wants(request, shown).await? else { return Ok(None) };
    let began = Instant::now();
    let answer = webhook.ask_timed(request, &matched, shown, Step::Admit).await;
    audit::waited(began.elapsed());
    let answer = answer?;
    let Some(patch) = answer.patch else { return Ok(Some(false)) };
    let patch: Value = serde_json::from_slice(&patch).map_err(Status::internal)?;
    if patch.as_array().is_some_and(Vec::is_empty) {
        return Ok(Some(false));
    }
    if gone {
        let why = format!(
            "admission webhook {} attempted to modify the object, which is not supported for this operation",
            quote(&webhook.name)
        );
        return Err(Status::internal(why).into());
    }
    let served = &request.target.served;
    let mut next = conversion::between(served, &matched, &seen(request, object)).await?;
    coracle_schema::json_patch(&mut next, &patch).map_err(Status::internal)?;
    let mut next = conversion::between(&matched, served, &next).await?;
    // Only the object itself has a shape that is known here; a subresource's kind is checked by what reads it.
    let is_whole = next["kind"] == *served.api.gvk.kind;
    if let (true, Some(schema)) = (is_whole, &served.schema) {
        schema.prune(&mut next).map_err(Status::internal)?;
        schema.default(&mut next);
    }
    let before = object.clone();
    take(request, object, next);
    Ok(Some(*object != before))
}
