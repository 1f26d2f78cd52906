//! What happens to an object between its request and the store, beyond its own kind: the admission chain.
//!
//! Mutating plugins run first, in order, then (after the strategy's validation) the validating ones.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/

mod account_secrets;
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
mod plugin;
mod pod_security;
pub use pod_security::TEMPLATES;
pub mod policy;
mod priority;
mod resource_quota;
pub mod rules;
mod runtime_class;
mod scaled;
pub mod service_account;
mod storage_class;
mod storage_protection;
mod taint_nodes;
mod tolerations;
mod topology_labels;
mod webhooks;

use parking_lot::Mutex;
use serde_json::Value;

pub use event_rate_limit::EventLimits;
pub use plugin::Plugin;
pub use resource_quota::Ledger;

use crate::{
    audit,
    metrics::{Clock, Step},
    object,
    options::{DeleteOptions, WriteOptions},
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

/// The options of a request.
#[derive(Clone, Copy)]
pub enum Asked<'a> {
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
    /// Nothing but whether it is a dry run.
    Plain(bool),
}

impl Asked<'_> {
    fn dry_run(self) -> bool {
        match self {
            Asked::Write(options) => options.dry_run,
            Asked::Delete(options) => options.dry_run,
            Asked::Plain(dry_run) => dry_run,
        }
    }

    fn admitted(self) -> bool {
        match self {
            Asked::Write(options) => options.admitted,
            Asked::Delete(options) => options.admitted,
            Asked::Plain(_) => false,
        }
    }
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
    asked: Asked<'a>,
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
        asked: Asked<'a>,
    ) -> Request<'a> {
        Request {
            state,
            user,
            target,
            operation,
            old,
            dry_run: asked.dry_run(),
            asked,
            warnings: Mutex::default(),
            reservations: Mutex::default(),
        }
    }

    /// Whether the request is about this resource itself, not about one of its subresources.
    fn is(&self, group: &str, plural: &str) -> bool {
        let api = &self.target.served.api;
        &*api.gvk.group == group && &*api.plural == plural && self.target.subresource.is_empty()
    }

    /// Adds a text for a `Warning` header of the answer. What is said again (a webhook is asked twice, another name is
    /// generated) is told once.
    pub fn warn(&self, text: impl Into<String>) {
        let (text, mut warnings) = (text.into(), self.warnings.lock());
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// An error of the request: its client hears the warnings all the same.
    pub fn refused(&self, mut status: Status) -> Status {
        status.warnings.append(&mut self.warnings.lock());
        status
    }

    /// The refusal of the request by a plugin. While the name is still to be generated, its start stands for it.
    fn forbid(&self, object: &Value, why: impl std::fmt::Display) -> Status {
        let names = [&self.target.name, object::name(object), object::meta_str(object, "generateName")];
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown");
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

const MUTATING: &[(Plugin, Mutator)] = &[
    (Plugin::NamespaceLifecycle, namespace_lifecycle::admit),
    (Plugin::LimitRanger, limit_range::admit),
    (Plugin::ServiceAccount, service_account::admit),
    (Plugin::TaintNodesByCondition, taint_nodes::admit),
    (Plugin::Priority, priority::admit),
    (Plugin::DefaultTolerationSeconds, tolerations::admit),
    (Plugin::DefaultStorageClass, storage_class::admit),
    (Plugin::StorageObjectInUseProtection, storage_protection::admit),
    (Plugin::RuntimeClass, runtime_class::admit),
    (Plugin::DefaultIngressClass, ingress_class::admit),
    (Plugin::PodTopologyLabels, topology_labels::admit),
];

const VALIDATING: &[(Option<Plugin>, Validator)] = &[
    (Some(Plugin::NamespaceLifecycle), namespace_lifecycle::validate),
    (Some(Plugin::LimitRanger), limit_range::validate),
    (Some(Plugin::ServiceAccount), account_secrets::validate),
    (Some(Plugin::Priority), priority::validate),
    (Some(Plugin::NodeRestriction), node_restriction::validate),
    (Some(Plugin::CertificateApproval), certificates::approval),
    (Some(Plugin::CertificateSigning), certificates::signing),
    (Some(Plugin::CertificateSubjectRestriction), certificates::subject),
    // A stock server does this where it stores roles.
    (None, crate::authz::validate_escalation),
    (Some(Plugin::PodSecurity), pod_security::validate),
    (Some(Plugin::EventRateLimit), event_rate_limit::validate),
    (Some(Plugin::PersistentVolumeClaimResize), claim_resize::validate),
    (Some(Plugin::RuntimeClass), runtime_class::validate),
];

/// `object` is null for deletions.
pub async fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
    if request.asked.admitted() {
        return Ok(());
    }
    let mut clock = Clock::start(request, Step::Admit);
    let outcome = mutators(request, object, &mut clock).await;
    clock.end(outcome.is_err());
    outcome.map_err(|status| request.refused(status))
}

async fn mutators(request: &Request<'_>, object: &mut Value, clock: &mut Clock<'_>) -> Result<(), Status> {
    const WEBHOOKS: Option<Plugin> = Some(Plugin::MutatingAdmissionWebhook);
    const POLICIES: Option<Plugin> = Some(Plugin::MutatingAdmissionPolicy);
    let waited = service_account::wait_for_default(request, object).await;
    clock.lap(None, waited)?;
    let mut policies = policy::mutating::Round::default();
    let mut asked = webhooks::Round::default();
    loop {
        for (plugin, admit) in MUTATING {
            clock.lap(Some(*plugin), admit(request, object))?;
        }
        let changed = policy::mutating::mutate(request, object, &mut policies).await;
        clock.lap(POLICIES, changed)?;
        let changed = webhooks::mutate(request, object, &mut asked).await;
        clock.lap(WEBHOOKS, changed)?;
        if asked.is_second || !(policies.ran || asked.changed) {
            return Ok(());
        }
        // Others changed the object: what this server adds may be another now. Once: there is no third round.
        policies.is_second = true;
        asked.is_second = true;
    }
}

/// `object` is absent for deletions.
pub async fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    if request.asked.admitted() {
        return Ok(());
    }
    let mut clock = Clock::start(request, Step::Validate);
    let outcome = validators(request, object, &mut clock).await;
    clock.end(outcome.is_err());
    outcome.map_err(|status| request.refused(status))
}

async fn validators(
    request: &Request<'_>,
    object: Option<&Value>,
    clock: &mut Clock<'_>,
) -> Result<(), Status> {
    for (plugin, validate) in VALIDATING {
        clock.lap(*plugin, validate(request, object))?;
    }
    let judged = policy::validating::validate(request, object).await;
    clock.lap(Some(Plugin::ValidatingAdmissionPolicy), judged)?;
    let asked = webhooks::validate(request, object).await;
    clock.lap(Some(Plugin::ValidatingAdmissionWebhook), asked)?;
    // Last: what is charged is written next.
    clock.lap(Some(Plugin::ResourceQuota), resource_quota::validate(request, object))
}
