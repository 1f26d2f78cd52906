//! Lets the MutatingAdmissionPolicies change the object of a request.
//!
//! Kept true: each mutation sees what those before it made; in the second round of a request only those policies run
//! that ran in the first one and want to run again.
//! Source: https://github.com/kubernetes/apiserver/tree/master/pkg/admission/plugin/policy/mutating

use coracle_expressions::BUDGET;
use coracle_schema::{FieldIssue, PatchError, Schema, Syntax, json_patch};
use serde_json::Value;

use super::{Invocation, compiled::Mutation, invocations, not_shown};
use crate::{
    admission::{Operation, Request, conditions::evaluate, facts::Facts, scaled::take},
    conversion,
    decode::strict_error,
    object::meta_str,
    registry::Served,
    status::{Cause, Status},
};

/// What the first round leaves for the second.
#[derive(Default)]
pub struct Round {
    pub is_second: bool,
    /// Something was changed, or may have been.
    pub ran: bool,
    /// `reinvocationPolicy: IfNeeded`
    again: Vec<Key>,
}

/// Policy, binding, and the param's namespace and name.
type Key = [String; 4];

struct Failure {
    why: String,
    /// Nothing was asked: the policy or its binding is of no use.
    unusable: bool,
}

impl Failure {
    fn new(why: String) -> Failure {
        Failure { why, unusable: false }
    }
}

pub async fn mutate(request: &Request<'_>, object: &mut Value, round: &mut Round) -> Result<(), Status> {
    // Nothing is left to change of what is deleted.
    if request.operation == Operation::Delete || (round.is_second && round.again.is_empty()) {
        return Ok(());
    }
    let all =
        invocations(request, Some(object), "mutatingadmissionpolicies", "mutatingadmissionpolicybindings");
    let mut failures = Vec::new();
    for invocation in &all {
        // Boxed: requests that no policy is about do not carry it.
        let failed = Box::pin(run(request, invocation, object, round)).await?;
        if !invocation.policy.ignores_failure {
            failures
                .extend(failed.into_iter().map(|failure| (text(invocation, &failure.why), failure.unusable)));
        }
    }
    // What cannot be asked is told first.
    failures.sort_by_key(|(_, unusable)| !unusable);
    let Some((first, unusable)) = failures.first() else { return Ok(()) };
    let mut status = request.forbid(object, "admission request denied by policy");
    status.message = first.clone();
    if !unusable {
        status.reason = "Invalid".into();
    }
    let causes = failures.into_iter().map(|(failure, _)| Cause::new("", "", failure));
    Err(causes.fold(status, Status::with_cause))
}

fn text(invocation: &Invocation, why: &str) -> String {
    let policy = &invocation.policy.name;
    match &invocation.binding {
        Some(binding) => format!("policy '{policy}' with binding '{}' denied request: {why}", binding.name),
        None => format!("policy {} denied request: {why}", crate::status::quote(policy)),
    }
}

fn key(invocation: &Invocation, params: Option<&Value>) -> Key {
    let binding = invocation.binding.as_ref().map(|binding| binding.name.clone());
    let of_params = |field: &str| params.map(|params| meta_str(params, field).to_owned()).unwrap_or_default();
    [invocation.policy.name.clone(), binding.unwrap_or_default(), of_params("namespace"), of_params("name")]
}

/// All mutations of an invocation; one that fails leaves the object as it was.
async fn run(
    request: &Request<'_>,
    invocation: &Invocation,
    object: &mut Value,
    round: &mut Round,
) -> Result<Vec<Failure>, Status> {
    let (policy, matched) = (&invocation.policy, &invocation.matched);
    let params = match &invocation.params {
        Ok(params) => params.as_ref(),
        // The first round would have ended here.
        Err(_) if round.is_second => return Ok(Vec::new()),
        Err(why) => return Ok(vec![Failure { why: why.clone(), unusable: true }]),
    };
    let key = key(invocation, params);
    if round.is_second && !round.again.contains(&key) {
        return Ok(Vec::new());
    }
    let mut facts = match Facts::new(request, matched, Some(&*object)).await {
        Ok(facts) => facts,
        Err(status) => return Ok(vec![Failure { why: not_shown(&status), unusable: true }]),
    };
    match policy.conditions.hold(&facts.matching(params)) {
        Ok(true) => {}
        Ok(false) => return Ok(Vec::new()),
        Err(why) => return Ok(vec![Failure::new(why)]),
    }
    if policy.reinvoked && !round.is_second {
        round.again.push(key);
    }
    let mut failures = Vec::new();
    let mut changed = None;
    let schema = facts.object().and_then(|object| schema(request, matched, object));
    for mutation in &policy.mutations {
        match apply(invocation, mutation, params, &facts, schema.as_ref())? {
            Ok(next) => {
                facts.change(next.clone());
                changed = Some(next);
            }
            Err(why) => failures.push(Failure::new(why)),
        }
    }
    drop(facts);
    if let Some(changed) = changed {
        round.ran = true;
        let changed = conversion::changed(matched, &request.target.served, changed)
            .await
            .map_err(|status| Status::internal(format!("failed to convert object: {}", status.message)))?;
        take(request, object, changed)?;
    }
    Ok(failures)
}

/// Of what is seen: a subresource has a kind of its own.
fn schema(request: &Request<'_>, matched: &Served, object: &Value) -> Option<Schema> {
    if object["kind"] == *matched.api.gvk.kind {
        return matched.schema.clone();
    }
    let part = matched.subresource(&request.target.subresource)?;
    request.state.schema.schema(&part.gvk)
}

/// The object after a mutation, in the version that the policy names. Inner Err: why there is none; the failure policy
/// decides. What a JSON patch makes of an object must be one of its kind, whatever the failure policy.
fn apply(
    invocation: &Invocation,
    mutation: &Mutation,
    params: Option<&Value>,
    facts: &Facts<'_>,
    schema: Option<&Schema>,
) -> Result<Result<Value, String>, Status> {
    let activation = facts.activation(params, &invocation.policy.variables, BUDGET);
    let value = match evaluate(&activation, &mutation.source, &mutation.program) {
        Ok(value) => value.to_json(),
        Err((why, _)) => return Ok(Err(why)),
    };
    let (Some(change), Some(current)) = (value, facts.object()) else {
        return Ok(Err(format!("expression '{}' gives nothing that can be applied", mutation.source)));
    };
    let changed = if mutation.is_patch { patch(current, &change) } else { merge(schema, current, change) };
    let (mut changed, schema) = match (changed, schema) {
        (Ok(changed), Some(schema)) => (changed, schema),
        (changed, _) => return Ok(changed),
    };
    // Of custom resources the object may have what only the request's version knows.
    if !schema.is_custom() {
        let unknown = schema.prune(&mut changed).map_err(Status::internal)?;
        if let Some(error) = strict_error(&Syntax::default(), &unknown, false) {
            return Err(Status::internal(error));
        }
    }
    schema.default(&mut changed);
    Ok(Ok(changed))
}

fn patch(current: &Value, operations: &Value) -> Result<Value, String> {
    let mut changed = current.clone();
    match json_patch(&mut changed, operations) {
        // It was only to be applied if the test holds.
        Ok(()) | Err(PatchError::TestFailed(_)) => Ok(changed),
        Err(error) => Err(format!("JSONPath: {error}")),
    }
}

fn merge(schema: Option<&Schema>, current: &Value, mut configuration: Value) -> Result<Value, String> {
    let Some(schema) = schema else { return Err("the resource has no schema".into()) };
    for field in ["apiVersion", "kind"] {
        if let Some(fields) = configuration.as_object_mut() {
            fields.insert(field.into(), current[field].clone());
        }
    }
    if let Some(why) = schema.type_problem(&configuration) {
        return Err(format!("error applying patch: failed to convert patch object to typed object: {why}"));
    }
    let issues = schema.prune(&mut configuration).map_err(|error| {
        format!("error applying patch: failed to convert patch object to typed object: {error}")
    })?;
    if let Some(FieldIssue::Unknown { path }) = issues.first() {
        return Err(format!(
            "error applying patch: failed to convert patch object to typed object: .{path}: field not declared in schema"
        ));
    }
    schema.merge_configuration(current, &configuration).map_err(|why| format!("error applying patch: {why}"))
}
