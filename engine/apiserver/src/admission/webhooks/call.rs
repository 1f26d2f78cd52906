//! One webhook asked about one request.

use std::{borrow::Cow, sync::Arc, time::Instant};

use serde_json::Value;

use super::{
    configuration::Webhook,
    review::{self, Answer},
};
use crate::{
    admission::{Operation, Request},
    conversion,
    metrics::Step,
    registry::Served,
    status::{Status, quote},
    subresources::scale,
};

/// Why a webhook does not let a request pass.
pub enum Refusal {
    /// It said no, or the request cannot be put to it.
    Status(Status),
    /// It could not be asked: the failure policy decides.
    Failed(String),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

/// The object as the request's path shows it: `/scale` of a workload is a Scale.
pub fn seen<'a>(request: &Request<'_>, object: &'a Value) -> Cow<'a, Value> {
    match request.target.subresource.as_str() {
        "scale" => Cow::Owned(scale::scale_of(request.target, object)),
        _ => Cow::Borrowed(object),
    }
}

/// Takes over what a webhook made of what it saw.
pub fn take(request: &Request<'_>, object: &mut Value, seen: Value) {
    match request.target.subresource.as_str() {
        "scale" => {
            let replicas = seen["spec"]["replicas"].as_i64().unwrap_or_default();
            scale::set_replicas(request.target, object, replicas);
        }
        _ => *object = seen,
    }
}

/// Binding a pod changes it, but what is asked for is a Binding: that was judged before.
pub fn is_step(request: &Request<'_>) -> bool {
    request.operation == Operation::Update && request.target.subresource == "binding"
}

impl Webhook {
    /// The resource in the version that the webhook is to see, when this request is for it.
    pub async fn wants(
        &self,
        request: &Request<'_>,
        object: Option<&Value>,
    ) -> Result<Option<Arc<Served>>, Refusal> {
        let Some(matched) = self.matcher.matches(request, object)? else { return Ok(None) };
        let holds = self
            .match_conditions
            .hold_for(request, &matched, object)
            .map_err(|why| request.forbid(object.or(request.old).unwrap_or(&Value::Null), why))?;
        Ok(holds.then_some(matched))
    }

    /// `object` is in the version of the request.
    async fn ask(
        &self,
        request: &Request<'_>,
        matched: &Served,
        object: Option<&Value>,
        mutating: bool,
    ) -> Result<Answer, Refusal> {
        if request.dry_run && !self.dry_run {
            let why = format!("admission webhook {} does not support dry run", quote(&self.name));
            return Err(Status::bad_request(why).into());
        }
        if !self.speaks_v1 {
            return Err(Refusal::Failed(
                "webhook does not accept known AdmissionReview versions (v1)".into(),
            ));
        }
        let shown = async |object: Option<&Value>| match object {
            Some(object) => {
                conversion::between(&request.target.served, matched, &seen(request, object)).await.map(Some)
            }
            None => Ok(None),
        };
        let (new, old) = (shown(object).await?, shown(request.old).await?);
        let uid = uuid::Uuid::new_v4().to_string();
        let question = review::question(request, matched, &uid, new.as_ref(), old.as_ref());
        let review = request.state.outbound.post(&self.hook, self.timeout, &question).await;
        let review = review.map_err(|why| Refusal::Failed(format!("failed to call webhook: {why}")))?;
        let answer = review::answer(&review, &uid, mutating)
            .map_err(|why| Refusal::Failed(format!("received invalid webhook response: {why}")))?;
        for warning in &answer.warnings {
            request.warn(warning.as_str());
        }
        for (key, value) in &answer.audit_annotations {
            request.annotate(&format!("{}/{key}", self.name), value.as_str());
        }
        Ok(answer)
    }

    /// Asks, and counts how long it took.
    pub async fn ask_timed(
        &self,
        request: &Request<'_>,
        matched: &Served,
        object: Option<&Value>,
        step: Step,
    ) -> Result<Answer, Refusal> {
        let began = Instant::now();
        let mut answer = self.ask(request, matched, object, step == Step::Admit).await;
        if let Ok(denied) = &answer
            && !denied.allowed
        {
            answer = Err(review::denied(&self.name, &denied.result).into());
        }
        let rejected = match &answer {
            Ok(_) => false,
            Err(Refusal::Status(_)) => true,
            Err(Refusal::Failed(_)) => !self.fails_open,
        };
        let series = &request.state.metrics.admission;
        series.webhook(&self.name, step, request.operation, rejected, began.elapsed());
        answer
    }

    /// A refusal, unless the webhook may fail.
    pub fn judge(&self, refusal: Refusal) -> Result<(), Status> {
        match refusal {
            Refusal::Status(status) => Err(status),
            Refusal::Failed(why) if self.fails_open => {
                tracing::warn!(webhook = %self.name, configuration = %self.configuration, why, "webhook failed, failing open");
                Ok(())
            }
            Refusal::Failed(why) => {
                Err(Status::internal(format!("failed calling webhook {}: {why}", quote(&self.name))))
            }
        }
    }
}
