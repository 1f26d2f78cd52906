//! Mutating webhooks, one after the other; again those that asked for it when a later one changed the object.
//!
//! Kept true: what was asked, and what it changed, stands in the request's audit annotations.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/mutating/dispatcher.go

use std::time::Instant;

use coracle_schema::json_type;
use serde_json::{Value, json};

use super::{
    call::Refusal,
    configuration::{MUTATING, Webhook, all},
};
use crate::{
    admission::{
        Operation, Request,
        scaled::{is_step, seen, take},
    },
    audit, conversion,
    metrics::Step,
    status::{Status, quote},
};

/// What the first round leaves for the second.
#[derive(Default)]
pub struct Round {
    pub is_second: bool,
    /// A webhook changed the object.
    pub changed: bool,
    /// Webhooks to ask again if the object changes after them.
    asked: Vec<(String, String)>,
    /// Webhooks that a second round asks.
    again: Vec<(String, String)>,
    /// The object as the webhooks left it.
    left: Value,
}

/// A webhook that was asked.
struct Asked {
    /// `round_0_index_2`, in audit annotations.
    place: String,
    reached: bool,
    patch: Option<Value>,
    changed: bool,
}

pub async fn mutate(request: &Request<'_>, object: &mut Value, round: &mut Round) -> Result<(), Status> {
    let configurations = all(&request.state.reader, &MUTATING);
    if configurations.is_empty() || is_step(request) {
        return Ok(());
    }
    // The plugins of this server changed it again: all that may be asked again are.
    if round.is_second && round.left != *object {
        round.again.append(&mut round.asked);
    }
    if round.is_second && round.again.is_empty() {
        return Ok(());
    }
    let webhooks = configurations.iter().flat_map(|configuration| &configuration.webhooks);
    for (at, webhook) in webhooks.enumerate() {
        let id = (webhook.configuration.clone(), webhook.name.clone());
        if round.is_second && !round.again.contains(&id) {
            continue;
        }
        let place = format!("round_{}_index_{at}", u8::from(round.is_second));
        let mut asked = Asked { place, reached: false, patch: None, changed: false };
        let outcome = ask(webhook, request, object, &mut asked).await;
        if asked.reached {
            asked.annotate(request, webhook);
        }
        match outcome {
            Ok(false) => continue,
            Ok(true) if asked.changed => {
                round.again.append(&mut round.asked);
                round.changed = true;
            }
            Ok(true) => {}
            Err(refusal) => {
                if matches!(refusal, Refusal::Failed(_)) && webhook.fails_open {
                    let key = format!("failed-open.mutation.webhook.admission.k8s.io/{}", asked.place);
                    request.annotate(&key, webhook.name.as_str());
                }
                webhook.judge(refusal)?;
            }
        }
        if webhook.reinvoked {
            round.asked.push(id);
        }
    }
    let may_ask_again = !round.asked.is_empty() || !round.again.is_empty();
    if may_ask_again && !round.is_second {
        round.left = object.clone();
    }
    Ok(())
}

impl Asked {
    fn annotate(&self, request: &Request<'_>, webhook: &Webhook) {
        let mut value = json!({
            "configuration": webhook.configuration, "webhook": webhook.name, "mutated": self.changed,
        });
        let key = |of: &str| format!("{of}.webhook.admission.k8s.io/{}", self.place);
        request.annotate(&key("mutation"), value.to_string());
        if let (Some(patch), Some(fields)) = (&self.patch, value.as_object_mut()) {
            fields.shift_remove("mutated");
            fields.insert("patch".into(), patch.clone());
            fields.insert("patchType".into(), "JSONPatch".into());
            request.annotate(&key("patch"), value.to_string());
        }
    }
}

/// A list of operations, or null. What is in them is looked at when they are applied.
fn decode(patch: &[u8]) -> Result<Value, String> {
    let patch: Value = serde_json::from_slice(patch).map_err(|error| error.to_string())?;
    let is_operation = |item: &&Value| matches!(item, Value::Object(_) | Value::Null);
    let (wrong, wanted) = match &patch {
        Value::Null => return Ok(patch),
        Value::Array(items) => match items.iter().find(|item| !is_operation(item)) {
            Some(item) => (item, "Operation"),
            None => return Ok(patch),
        },
        other => (other, "Patch"),
    };
    Err(format!("json: cannot unmarshal {} into Go value of type jsonpatch.{wanted}", json_type(wrong)))
}

/// Whether the webhook was asked.
async fn ask(
    webhook: &Webhook,
    request: &Request<'_>,
    object: &mut Value,
    asked: &mut Asked,
) -> Result<bool, Refusal> {
    let gone = request.operation == Operation::Delete;
    let shown = (!gone).then_some(&*object);
    let Some(matched) = webhook.wants(request, shown).await? else { return Ok(false) };
    asked.reached = true;
    let began = Instant::now();
    let answer = webhook.ask_timed(request, &matched, shown, Step::Admit).await;
    audit::waited(began.elapsed());
    let Some(patch) = answer?.patch else { return Ok(true) };
    let patch = decode(&patch)
        .map_err(|why| Refusal::Failed(format!("received undecodable patch in webhook response: {why}")))?;
    if patch.as_array().is_none_or(Vec::is_empty) {
        return Ok(true);
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
    let next = conversion::changed(&matched, served, next).await?;
    let before = object.clone();
    take(request, object, next)?;
    asked.changed = *object != before;
    asked.patch = Some(patch);
    Ok(true)
}
