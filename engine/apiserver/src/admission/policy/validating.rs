//! Asks the ValidatingAdmissionPolicies about a request.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/policy/validating/dispatcher.go and
//! validator.go

use coracle_expressions::{Activation, BUDGET, Program, Value as Cel};
use serde_json::{Value, json};

use super::{Invocation, invocations, not_shown};
use crate::{
    admission::{Request, conditions::evaluate, facts::Facts, policy::compiled::Policy},
    status::{Cause, Status},
};

const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const MAX_ANNOTATION_BYTES: usize = 10 * 1024;

/// A validation that failed.
struct Denial {
    /// Of the validation in its policy.
    at: usize,
    message: String,
    reason: Option<String>,
    /// Denied whatever the binding's actions are: the policy could not be asked, or an audit annotation failed.
    always: bool,
}

impl Denial {
    fn new(at: usize, message: String) -> Denial {
        Denial { at, message, reason: None, always: false }
    }

    fn always(message: String) -> Denial {
        Denial { always: true, ..Denial::new(0, message) }
    }
}

/// Audit annotations: what several bindings or params say under one key stands in one value.
#[derive(Default)]
struct Notes(Vec<(String, Vec<String>)>);

impl Notes {
    fn add(&mut self, key: String, value: String) {
        match self.0.iter_mut().find(|(own, _)| *own == key) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => self.0.push((key, vec![value])),
        }
    }
}

pub async fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let mut first: Option<(String, Option<String>)> = None;
    let mut notes = Notes::default();
    for invocation in
        invocations(request, object, "validatingadmissionpolicies", "validatingadmissionpolicybindings")
    {
        for denial in Box::pin(judge(request, object, &invocation, &mut notes)).await? {
            let refuses = carry_out(request, &invocation, &denial);
            if refuses && first.is_none() {
                first = Some((text(&invocation, &denial), denial.reason));
            }
        }
    }
    for (key, values) in notes.0 {
        request.annotate(&key, values.join(", "));
    }
    match first {
        None => Ok(()),
        Some((message, reason)) => Err(refusal(request, object, message, reason)),
    }
}

fn text(invocation: &Invocation, denial: &Denial) -> String {
    let policy = &invocation.policy.name;
    let binding = invocation.binding.as_ref();
    let binding = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
    format!("ValidatingAdmissionPolicy '{policy}'{binding} denied request: {}", denial.message)
}

fn refusal(request: &Request<'_>, object: Option<&Value>, message: String, reason: Option<String>) -> Status {
    let mut status = request.forbid(object.unwrap_or(&Value::Null), &message);
    let reason = reason.unwrap_or_else(|| "Invalid".into());
    status.code = match reason.as_str() {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason = reason.into();
    status.with_cause(Cause::new("", "", message))
}

/// Does what the binding says about a denial; true when the request is to be refused.
fn carry_out(request: &Request<'_>, invocation: &Invocation, denial: &Denial) -> bool {
    let Some(binding) = invocation.binding.as_ref().filter(|_| !denial.always) else { return true };
    let mut refuses = false;
    for action in &binding.actions {
        match action.as_str() {
            "Deny" => refuses = true,
            "Warn" => request.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                invocation.policy.name, binding.name, denial.message
            )),
            "Audit" => {
                let failure = json!([{
                    "message": denial.message, "policy": binding.policy, "binding": binding.name,
                    "expressionIndex": denial.at, "validationActions": binding.actions,
                }]);
                request
                    .annotate("validation.policy.admission.k8s.io/validation_failure", failure.to_string());
            }
            _ => {}
        }
    }
    refuses
}

/// What an invocation has against the request.
async fn judge(
    request: &Request<'_>,
    object: Option<&Value>,
    invocation: &Invocation,
    notes: &mut Notes,
) -> Result<Vec<Denial>, Status> {
    let policy = &invocation.policy;
    let fail = |denial: Denial| if policy.ignores_failure { Vec::new() } else { vec![denial] };
    let params = match &invocation.params {
        Ok(params) => params.as_ref(),
        Err(why) => return Ok(fail(Denial::always(why.clone()))),
    };
    let facts = match Facts::new(request, &invocation.matched, object).await {
        Ok(facts) => facts,
        Err(status) => return Ok(fail(Denial::always(not_shown(&status)))),
    };
    let conditions = facts.matching(params);
    match policy.conditions.hold(&conditions) {
        Ok(true) => {}
        Ok(false) => return Ok(Vec::new()),
        Err(why) => return Ok(fail(Denial::new(0, why))),
    }
    let activation = facts.activation(params, &policy.variables, BUDGET);
    let mut denials = validations(policy, &activation);
    denials.extend(annotations(policy, &facts.activation(params, &policy.variables, BUDGET), notes));
    Ok(denials)
}

fn validations<'a>(policy: &'a Policy, activation: &Activation<'a>) -> Vec<Denial> {
    let mut denials = Vec::new();
    for (at, validation) in policy.validations.iter().enumerate() {
        match evaluate(activation, &validation.source, &validation.program) {
            Ok(value) if value.as_bool() == Some(true) => {}
            Ok(_) => {
                let message = validation.message_expression.as_ref();
                let message = message.and_then(|program| self::message(activation, program));
                let message = message.unwrap_or_else(|| match validation.message.as_str() {
                    "" => format!("failed expression: {}", validation.source),
                    message => message.to_owned(),
                });
                denials.push(Denial { reason: validation.reason.clone(), ..Denial::new(at, message) });
            }
            Err((why, is_final)) => {
                if !policy.ignores_failure {
                    denials.push(Denial::new(at, why));
                }
                if is_final {
                    break;
                }
            }
        }
    }
    denials
}

/// What a message expression gives, when it can be shown.
fn message<'a>(activation: &Activation<'a>, program: &'a Program) -> Option<String> {
    let value = activation.evaluate(program).ok()?;
    let text = value.as_str()?.trim();
    (!text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n')).then(|| text.to_owned())
}

fn annotations<'a>(policy: &'a Policy, activation: &Activation<'a>, notes: &mut Notes) -> Vec<Denial> {
    let mut denials = Vec::new();
    for annotation in &policy.annotations {
        match evaluate(activation, &annotation.source, &annotation.program) {
            Ok(Cel::Null) => {}
            Ok(value) => {
                let mut text = value.as_str().unwrap_or_default().trim().to_owned();
                let end =
                    (0..=MAX_ANNOTATION_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
                text.truncate(end.unwrap_or_default());
                if !text.is_empty() {
                    notes.add(format!("{}/{}", policy.name, annotation.key), text);
                }
            }
            Err((why, _)) if !policy.ignores_failure => denials.push(Denial::always(why)),
            Err(_) => {}
        }
    }
    denials
}
