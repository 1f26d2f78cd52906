//! Lets the MutatingAdmissionPolicies change the object of a request.
//!
//! Kept true: each mutation sees what those before it made; a policy that wants to is asked once more when others
//! changed the object after it.
//! Source: https://github.com/kubernetes/apiserver/tree/master/pkg/admission/plugin/policy/mutating

use coracle_expressions::{BUDGET, MATCH_CONDITIONS_BUDGET};
use coracle_schema::{FieldIssue, json_patch};
use serde_json::Value;

use super::{Invocation, compiled::Mutation, invocations};
use crate::{
    admission::{Request, conditions::evaluate, facts::Facts, rules},
    registry::Served,
    status::{Cause, Status},
};

pub fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    let all =
        invocations(request, Some(object), "mutatingadmissionpolicies", "mutatingadmissionpolicybindings");
    if all.is_empty() {
        return Ok(());
    }
    let mut failures: Vec<String> = Vec::new();
    let mut after: Vec<Value> = Vec::with_capacity(all.len());
    for invocation in &all {
        run(request, invocation, object, &mut failures)?;
        after.push(if invocation.policy.reinvoked { object.clone() } else { Value::Null });
    }
    for (invocation, left) in all.iter().zip(&after) {
        if invocation.policy.reinvoked && left != object {
            run(request, invocation, object, &mut failures)?;
        }
    }
    let Some(first) = failures.first() else { return Ok(()) };
    let mut status = request.forbid(object, "admission request denied by policy");
    status.message = first.clone();
    status.reason = "Invalid".into();
    Err(failures.into_iter().fold(status, |status, failure| status.with_cause(Cause::new("", "", failure))))
}

/// All mutations of an invocation; one that fails leaves the object as it was.
fn run(
    request: &Request<'_>,
    invocation: &Invocation,
    object: &mut Value,
    failures: &mut Vec<String>,
) -> Result<(), Status> {
    let policy = &invocation.policy;
    let mut fail = |why: String| {
        let binding = invocation.binding.as_ref();
        let binding = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
        if !policy.ignores_failure {
            failures.push(format!("policy '{}'{binding} denied request: {why}", policy.name));
        }
    };
    let params = match &invocation.params {
        Ok(params) => params.as_ref(),
        Err(why) => {
            fail(why.clone());
            return Ok(());
        }
    };
    {
        let facts = Facts::new(request, &invocation.matched, Some(object))?;
        match policy.conditions.hold(&facts.activation(params, &[], MATCH_CONDITIONS_BUDGET)) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(why) => {
                fail(why);
                return Ok(());
            }
        }
    }
    for mutation in &policy.mutations {
        match apply(request, invocation, mutation, params, object)? {
            Ok(changed) => *object = changed,
            Err(why) => fail(why),
        }
    }
    Ok(())
}

/// The object after a mutation, in the version of the request. Inner Err: why there is none.
fn apply(
    request: &Request<'_>,
    invocation: &Invocation,
    mutation: &Mutation,
    params: Option<&Value>,
    object: &Value,
) -> Result<Result<Value, String>, Status> {
    let (own, matched) = (&request.target.served, &invocation.matched);
    let facts = Facts::new(request, matched, Some(object))?;
    let activation = facts.activation(params, &invocation.policy.variables, BUDGET);
    let value = match evaluate(&activation, &mutation.source, &mutation.program) {
        Ok(value) => value.to_json(),
        Err((why, _)) => return Ok(Err(why)),
    };
    let (Some(change), Some(current)) = (value, facts.object()) else {
        return Ok(Err(format!("expression '{}' gives nothing that can be applied", mutation.source)));
    };
    let changed = if mutation.is_patch { patch(current, &change) } else { merge(matched, current, change) };
    Ok(changed.map(|mut changed| {
        if let Some(schema) = &matched.schema {
            // Fields that the type does not have go, as a typed object would lose them.
            let _ = schema.prune(&mut changed);
            schema.default(&mut changed);
        }
        rules::convert(matched, own, &changed)
    }))
}

fn patch(current: &Value, operations: &Value) -> Result<Value, String> {
    let mut changed = current.clone();
    json_patch(&mut changed, operations).map_err(|error| format!("JSON Patch: {error}"))?;
    Ok(changed)
}

fn merge(served: &Served, current: &Value, mut configuration: Value) -> Result<Value, String> {
    let Some(schema) = &served.schema else { return Err("the resource has no schema".into()) };
    for field in ["apiVersion", "kind"] {
        if let Some(fields) = configuration.as_object_mut() {
            fields.insert(field.into(), current[field].clone());
        }
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
