//! What happens to an object between its request and the store, beyond its own kind: the admission chain.
//!
//! Mutating plugins run first, in order, then (after the strategy's validation) the validating ones.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/

mod ingress_class;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod service_account;
mod tolerations;

use serde_json::Value;

use crate::{
    status::Status,
    types::{State, UserInfo},
    verbs::Target,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// A subresource that is opened: exec, attach, portforward.
    Connect,
}

/// What a plugin sees.
pub struct Request<'a> {
    pub state: &'a State,
    pub user: &'a UserInfo,
    pub target: &'a Target,
    pub operation: Operation,
    pub old: Option<&'a Value>,
}

impl Request<'_> {
    /// Whether the request is about this resource itself, not about one of its subresources.
    fn is(&self, group: &str, plural: &str) -> bool {
        let api = &self.target.served.api;
        &*api.gvk.group == group && &*api.plural == plural && self.target.subresource.is_empty()
    }
}

type Mutator = fn(&Request<'_>, &mut Value) -> Result<(), Status>;
type Validator = fn(&Request<'_>, Option<&Value>) -> Result<(), Status>;

const MUTATING: &[Mutator] = &[
    namespace_lifecycle::admit,
    node_restriction::admit,
    service_account::admit,
    tolerations::admit,
    priority::admit,
    ingress_class::admit,
];

const VALIDATING: &[Validator] =
    &[namespace_lifecycle::validate, node_restriction::validate, crate::authz::validate_escalation];

pub fn mutate(
    state: &State,
    user: &UserInfo,
    target: &Target,
    operation: Operation,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let request = Request { state, user, target, operation, old };
    MUTATING.iter().try_for_each(|plugin| plugin(&request, object))
}

/// `object` is absent for deletions.
pub fn validate(
    state: &State,
    user: &UserInfo,
    target: &Target,
    operation: Operation,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let request = Request { state, user, target, operation, old };
    VALIDATING.iter().try_for_each(|plugin| plugin(&request, object))
}
