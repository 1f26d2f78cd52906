//! What happens to an object between its request and the store, beyond its own kind: the admission chain.
//!
//! Mutating plugins run first, in order, then (after the strategy's validation) the validating ones.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/

pub mod attributes;
mod certificates;
mod claim_resize;
pub mod conditions;
mod event_rate_limit;
pub mod facts;
mod ingress_class;
mod limit_range;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
pub mod policy;
mod priority;
mod resource_quota;
pub mod rules;
mod runtime_class;
mod service_account;
mod storage_class;
mod storage_protection;
mod taint_nodes;
mod tolerations;
mod webhooks;

use parking_lot::Mutex;
use serde_json::Value;

pub use event_rate_limit::EventLimits;
pub use resource_quota::Ledger;

use crate::{
    audit,
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
    /// What is held for the object until it is known whether it was written.
    reservations: Mutex<Vec<resource_quota::Reservation>>,
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
        Request {
            state,
            user,
            target,
            operation,
            old,
            dry_run,
            warnings: Mutex::default(),
            reservations: Mutex::default(),
        }
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

    /// The refusal of the request by a plugin.
    fn forbid(&self, object: &Value, why: impl std::fmt::Display) -> Status {
        let name = match crate::object::name(object) {
            "" => self.target.name.as_str(),
            name => name,
        };
        Status::forbidden(self.target.served.group_resource(), name, why)
    }

    /// The write is decided, one way or the other: the store shows what counts.
    pub fn settle(&self) {
        self.reservations.lock().drain(..).for_each(resource_quota::Reservation::settle);
    }

    /// Adds an annotation for the audit log's entry.
    pub fn annotate(&self, key: &str, value: impl Into<String>) {
        audit::note(key, value);
    }

    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }
}

type Mutator = fn(&Request<'_>, &mut Value) -> Result<(), Status>;
type Validator = fn(&Request<'_>, Option<&Value>) -> Result<(), Status>;

const MUTATING: &[Mutator] = &[
    namespace_lifecycle::admit,
    limit_range::admit,
    service_account::admit,
    taint_nodes::admit,
    priority::admit,
    tolerations::admit,
    storage_class::admit,
    storage_protection::admit,
    runtime_class::admit,
    ingress_class::admit,
];

const VALIDATING: &[Validator] = &[
    namespace_lifecycle::validate,
    limit_range::validate,
    node_restriction::validate,
    certificates::validate,
    crate::authz::validate_escalation,
    pod_security::validate,
    event_rate_limit::validate,
    claim_resize::validate,
    runtime_class::validate,
];

/// `object` is null for deletions.
pub async fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    mutators(request, object).await.map_err(|status| status.with_warnings(request.take_warnings()))
}

async fn mutators(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    service_account::wait_for_default(request, object).await?;
    own_mutators(request, object)?;
    if let Some(first) = webhooks::mutate(request, object, None).await? {
        // A webhook changed the object: what this server adds may be another now.
        own_mutators(request, object)?;
        webhooks::mutate(request, object, Some(first)).await?;
    }
    Ok(())
}

fn own_mutators(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    MUTATING.iter().try_for_each(|plugin| plugin(request, object))?;
    policy::mutating::mutate(request, object)
}

/// `object` is absent for deletions.
pub async fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let admitted = async {
        VALIDATING.iter().try_for_each(|plugin| plugin(request, object))?;
        policy::validating::validate(request, object)?;
        webhooks::validate(request, object).await?;
        // Last: what is charged is written next.
        resource_quota::validate(request, object)
    };
    admitted.await.map_err(|status| status.with_warnings(request.take_warnings()))
}
