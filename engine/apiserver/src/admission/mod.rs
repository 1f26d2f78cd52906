//! What happens to an object between its request and the store, beyond its own kind: the admission chain.
//!
//! Mutating plugins run first, in order, then (after the strategy's validation) the validating ones.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/

pub mod attributes;
mod ingress_class;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
pub mod rules;
mod service_account;
mod tolerations;

use parking_lot::Mutex;
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
    /// The stored object that is updated or deleted.
    pub old: Option<&'a Value>,
    pub dry_run: bool,
    warnings: Mutex<Vec<String>>,
}

impl<'a> Request<'a> {
    pub fn new(
        state: &'a State,
        user: &'a UserInfo,
        target: &'a Target,
        operation: Operation,
        old: Option<&'a Value>,
        dry_run: bool,
    ) -> Request<'a> {
        Request { state, user, target, operation, old, dry_run, warnings: Mutex::default() }
    }

    /// Whether the request is about this resource itself, not about one of its subresources.
    fn is(&self, group: &str, plural: &str) -> bool {
        let api = &self.target.served.api;
        &*api.gvk.group == group && &*api.plural == plural && self.target.subresource.is_empty()
    }

    /// Adds a text for a `Warning` header of the answer.
    pub fn warn(&self, text: impl Into<String>) {
        self.warnings.lock().push(text.into());
    }

    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
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

pub async fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    MUTATING.iter().try_for_each(|plugin| plugin(request, object))
}

/// `object` is absent for deletions.
pub async fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    VALIDATING.iter().try_for_each(|plugin| plugin(request, object))
}
