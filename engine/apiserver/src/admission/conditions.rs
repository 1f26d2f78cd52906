//! `matchConditions` of webhooks and policies: all must hold.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/matchconditions/matcher.go

use coracle_expressions::{Activation, Environment, Program, Type};
use serde_json::Value;

use super::{
    Request,
    facts::{Facts, Known, environment},
};
use crate::{
    registry::Served,
    status::{Cause, Status},
};

#[derive(Debug, Default)]
pub struct Conditions {
    all: Vec<(String, Program)>,
    /// `failurePolicy: Ignore`
    ignores_failure: bool,
}

impl Conditions {
    /// Of one entry of `webhooks` that stands at `path`; and what is wrong with them.
    pub fn of_webhook(webhook: &Value, path: &str) -> (Conditions, Vec<Cause>) {
        let known = Known { namespace: true, authorizer: true, ..Known::default() };
        Conditions::read(webhook, &environment(known), path)
    }

    /// Of anything that has `matchConditions` and `failurePolicy`.
    pub fn read(from: &Value, environment: &Environment, path: &str) -> (Conditions, Vec<Cause>) {
        let (mut all, mut causes, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let below =
            if path.is_empty() { "matchConditions".to_owned() } else { format!("{path}.matchConditions") };
        let conditions = from["matchConditions"].as_array().map_or(&[][..], Vec::as_slice);
        if conditions.len() > 64 {
            causes.push(Cause::too_many(below.as_str(), conditions.len(), 64));
        }
        for (at, condition) in conditions.iter().enumerate() {
            let path = format!("{below}[{at}]");
            let name = condition["name"].as_str().unwrap_or_default();
            let source = condition["expression"].as_str().unwrap_or_default().trim();
            match compile(environment, source, &[Type::Bool], &format!("{path}.expression"), "") {
                Ok(program) => all.push((source.to_owned(), program)),
                Err(cause) => causes.push(cause),
            }
            if name.is_empty() {
                causes.push(Cause::required(format!("{path}.name"), ""));
                continue;
            }
            for problem in crate::metadata::qualified_name_problems(name) {
                causes.push(Cause::invalid(format!("{path}.name"), name, &problem));
            }
            if names.contains(&name) {
                causes.push(Cause::duplicate(format!("{path}.name"), name));
            }
            names.push(name);
        }
        (Conditions { all, ignores_failure: from["failurePolicy"] == "Ignore" }, causes)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// For webhooks: whether the request, in the version of `matched`, is one that they are about. Inner Err: what went
    /// wrong, where the failure policy is to fail.
    pub async fn hold_for(
        &self,
        request: &Request<'_>,
        matched: &Served,
        object: Option<&Value>,
    ) -> Result<Result<bool, String>, Status> {
        if self.all.is_empty() {
            return Ok(Ok(true));
        }
        let facts = Facts::new(request, matched, object).await?;
        Ok(self.hold(&facts.matching(None)))
    }

    /// One that is false decides, whatever went wrong with others.
    pub fn hold<'a>(&'a self, activation: &Activation<'a>) -> Result<bool, String> {
        let mut errors = Vec::new();
        for (source, program) in &self.all {
            match evaluate(activation, source, program) {
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => errors.push(format!("expression '{source}' resulted in error: no such overload")),
                Err((why, is_final)) => {
                    errors.push(why);
                    if is_final {
                        break;
                    }
                }
            }
        }
        match &errors[..] {
            [] => Ok(true),
            _ if self.ignores_failure => Ok(false),
            [error] => Err(error.clone()),
            all => Err(format!("[{}]", all.join(", "))),
        }
    }
}

/// Err: the text, and whether nothing may be evaluated any more.
pub fn evaluate<'a>(
    activation: &Activation<'a>,
    source: &str,
    program: &'a Program,
) -> Result<coracle_expressions::Value<'a>, (String, bool)> {
    activation.evaluate(program).map_err(|error| match error {
        coracle_expressions::Error::OutOfBudget => (error.to_string(), true),
        error => (format!("expression '{source}' resulted in error: {error}"), false),
    })
}

/// An expression that must give one of some types; empty: any. `missing` is said when there is none.
pub fn compile(
    environment: &Environment,
    text: &str,
    wanted: &[Type],
    path: &str,
    missing: &str,
) -> Result<Program, Cause> {
    if text.trim().is_empty() {
        return Err(Cause::required(path, missing));
    }
    let program = environment
        .compile(text)
        .map_err(|error| Cause::invalid(path, text, &format!("compilation failed: {error}")))?;
    let result = program.result();
    if wanted.is_empty() || result.is_dyn() || wanted.iter().any(|ty| result.fits(ty)) {
        return Ok(program);
    }
    let names: Vec<String> = wanted.iter().map(Type::to_string).collect();
    let why = match &names[..] {
        [one] => format!("must evaluate to {one}"),
        all => format!("must evaluate to one of: {}", all.join(", ")),
    };
    Err(Cause::invalid(path, text, &why))
}
