//! One webhook asked about one request.

use std::{sync::Arc, time::Instant};

use serde_json::Value;

use super::{
    configuration::Webhook,
    review::{self, Answer},
};
use crate::{
    admission::{Request, scaled::seen},
    conversion,
    metrics::Step,
    registry::Served,
    status::{Status, quote},
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

/// The request is not in a version that a webhook wants.
fn unconvertible(status: Status) -> Status {
    Status::internal(status.message)
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
            .await
            .map_err(unconvertible)?
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
        let version = self.review_version.ok_or_else(|| {
            Refusal::Failed(
                "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                    .into(),
            )
        })?;
        let shown = async |object: Option<&Value>| match object {
            Some(object) => {
                let shown =
                    conversion::between(&request.target.served, matched, &seen(request, object)).await;
                shown.map(Some).map_err(unconvertible)
            }
            None => Ok(None),
        };
        let (new, old) = (shown(object).await?, shown(request.old).await?);
        let uid = uuid::Uuid::new_v4().to_string();
        let question = review::question(version, request, matched, &uid, new.as_ref(), old.as_ref());
        let review = request.state.outbound.post(&self.hook, self.timeout, &question).await;
        let review = review.map_err(|why| Refusal::Failed(format!("failed to call webhook: {why}")))?;
        let answer = review::answer(&review, version, &uid, mutating)
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
