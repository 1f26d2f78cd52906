//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL that the cluster's owner writes.
//!
//! Kept true: a policy without a binding does nothing; a policy is compiled once a revision; without bindings a request
//! pays for one look at an empty list. Reads: policies, bindings, their params, the request's namespace.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/ and
//! https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/

mod compiled;
pub mod mutating;
mod params;
mod strategy;
mod type_check;
pub mod validating;

use std::sync::Arc;

use coracle_kinds::Kind;
use coracle_store::{Scope, Snapshot};
use serde_json::Value;

use super::{Request, rules::Matcher, scaled::is_step};
use crate::{
    kinds::Checked,
    object::strings,
    registry::{Served, store_resource},
    status::Status,
};
pub use compiled::Policy;

pub static MUTATING: Checked = Checked::new(strategy::policy);
pub static VALIDATING: Checked =
    Checked::new(strategy::policy).preparing(type_check::prepare).checking_status(strategy::status);
pub static BINDING: Checked = Checked::new(strategy::binding);

const GROUP: &str = "admissionregistration.k8s.io";

/// A binding of either kind.
pub struct Binding {
    pub name: String,
    pub policy: String,
    matcher: Matcher,
    /// `validationActions`
    pub actions: Vec<String>,
    pub param_ref: Value,
}

/// Kept with the object in the store, as long as it is current.
impl Kind for Binding {
    fn read(json: &[u8]) -> Result<Binding, serde_json::Error> {
        let binding: Value = serde_json::from_slice(json)?;
        let spec = &binding["spec"];
        Ok(Binding {
            name: crate::object::name(&binding).to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            matcher: Matcher::of_resources(&spec["matchResources"]),
            actions: strings(&spec["validationActions"]).into_iter().map(String::from).collect(),
            param_ref: spec["paramRef"].clone(),
        })
    }

    fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        Err(serde::ser::Error::custom("a binding that was read to be used is not written"))
    }
}

/// A policy with a binding and one of its params, for a request that they are about.
struct Invocation {
    policy: Arc<Policy>,
    binding: Option<Arc<Binding>>,
    /// The resource in the version that the policy names.
    matched: Arc<Served>,
    /// Err: why the policy cannot be asked.
    params: Result<Option<Value>, String>,
}

/// Everything of `policies` and `bindings` that is about the request, by name of the policy, then of the binding.
fn invocations(
    request: &Request<'_>,
    object: Option<&Value>,
    policies: &str,
    bindings: &str,
) -> Vec<Invocation> {
    let snapshot = request.state.reader.snapshot();
    let bindings: Vec<Arc<Binding>> = all(&snapshot, bindings);
    let mut out = Vec::new();
    if bindings.is_empty() || is_step(request) {
        return out;
    }
    for policy in all::<Policy>(&snapshot, policies) {
        if !bindings.iter().any(|binding| binding.policy == policy.name) {
            continue;
        }
        let broken = |matched: Arc<Served>, binding: Option<Arc<Binding>>, why: String| {
            let what = if binding.is_some() { "binding" } else { "policy" };
            let params = Err(format!("failed to configure {what}: {why}"));
            Invocation { policy: policy.clone(), binding, matched, params }
        };
        let matched = match policy.matcher.matches(request, object) {
            Ok(Some(matched)) => matched,
            Ok(None) => continue,
            Err(status) => {
                out.push(broken(request.target.served.clone(), None, status.message));
                continue;
            }
        };
        if let Some(why) = &policy.broken {
            out.push(broken(matched, None, format!("compilation error: {why}")));
            continue;
        }
        for binding in bindings.iter().filter(|binding| binding.policy == policy.name) {
            match binding.matcher.narrows(request, object) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(status) => {
                    out.push(broken(matched.clone(), Some(binding.clone()), status.message));
                    continue;
                }
            }
            match params::collect(request, &policy, binding) {
                Ok(all) => out.extend(all.into_iter().map(|params| Invocation {
                    policy: policy.clone(),
                    binding: Some(binding.clone()),
                    matched: matched.clone(),
                    params: Ok(params),
                })),
                Err(why) => out.push(broken(matched.clone(), Some(binding.clone()), why)),
            }
        }
    }
    out
}

/// Why a request is not in the version that a policy names.
fn not_shown(status: &Status) -> String {
    format!("failed to configure policy: failed to convert object version: {}", status.message)
}

fn all<T: Kind>(snapshot: &Snapshot, plural: &str) -> Vec<Arc<T>> {
    let scope = Scope::all(store_resource(GROUP, plural));
    snapshot.list(&scope).filter_map(|object| object.decode::<T>().ok()).collect()
}
