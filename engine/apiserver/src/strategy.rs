//! What is special about a kind: how its objects are prepared and checked before they are stored.
//!
//! Everything generic (defaults, status reset, generation, ObjectMeta rules) is done by the verbs; a strategy adds only
//! what the kind's own strategy in the stock server adds. One small file per kind under `kinds/`, looked up by
//! `kinds::strategy`; a kind without a file gets [`Generic`].
//!
//! Order on create: schema (prune, default) → mutating admission → `prepare_create` → `validate` → validating admission → commit.
//! Order on update: the same with `prepare_update` and `validate_update`, then `after_update`.

use serde_json::Value;

use crate::{
    registry::Served,
    status::{Cause, Status},
    types::{State, UserInfo},
};

/// What a strategy may look at beside the objects themselves.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub state: &'a State,
    pub user: &'a UserInfo,
    /// The resource in the version of the request.
    pub served: &'a Served,
    /// Empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The request's subresource, e.g. `status`; empty for the object itself.
    pub subresource: &'a str,
    pub dry_run: bool,
    /// The request is a patch, not an update.
    pub patches: bool,
}

pub trait Strategy: Send + Sync {
    /// Fills in what the server decides. Runs after defaults, before validation. May reserve things outside of the
    /// object (addresses, ports); then [`Strategy::release`] gives them back.
    fn prepare_create(&self, _context: Context<'_>, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Also runs for updates of subresources (see [`Context::subresource`]).
    fn prepare_update(&self, _context: Context<'_>, _object: &mut Value, _old: &Value) -> Result<(), Status> {
        Ok(())
    }

    /// Empty when all is well. ObjectMeta has been checked already.
    fn validate(&self, _context: Context<'_>, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// By default what holds at creation holds later too.
    fn validate_update(&self, context: Context<'_>, object: &Value, _old: &Value) -> Vec<Cause> {
        self.validate(context, object)
    }

    /// Messages for `Warning` headers (deprecated fields and the like). `old`: what an update replaces.
    fn warnings(&self, _context: Context<'_>, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Whether `prepare_create` or `prepare_update` reserve something outside of the object. Requests of such a kind run
    /// to their end even when their client leaves: what they took is given back, or held by what they stored.
    fn reserves(&self) -> bool {
        false
    }

    /// The write of `object` failed or was a dry run after `prepare_create` (`old` absent) or `prepare_update`.
    fn release(&self, _context: Context<'_>, _object: &Value, _old: Option<&Value>) {}

    /// The update was committed.
    fn after_update(&self, _context: Context<'_>, _object: &Value, _old: &Value) {}

    /// The object is gone for good.
    fn after_delete(&self, _state: &State, _object: &Value) {}

    /// Whether an update may create the object when it is absent (Leases and the like: `AllowCreateOnUpdate`).
    fn create_on_update(&self) -> bool {
        false
    }

    /// How the object's name is checked.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// How deletion goes when the request names no grace period.
    fn deletion_grace_seconds(&self, _object: &Value, _asked: Option<i64>) -> i64 {
        0
    }

    /// Changes an object on which a deletion begins (Namespace: `status.phase`).
    fn mark_deleting(&self, _object: &mut Value) {}

    /// Whether something beside `metadata.finalizers` holds a deleting object (Namespace: `spec.finalizers`).
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// What a deletion without a propagation policy does with what the object owns.
    fn dependents(&self) -> Dependents {
        Dependents::Deleted
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    Deleted,
    /// The old kinds. With what clients are told who leave it to the server.
    Orphaned(Option<&'static str>),
    /// The kind owns nothing: no policy holds it back.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, most kinds.
    Subdomain,
    /// RFC 1123 label: Namespaces, Services (1.36).
    Label,
    /// RFC 1035 label.
    Rfc1035Label,
    /// Any single path segment: RBAC kinds.
    PathSegment,
}

/// A kind with nothing special.
pub struct Generic;

impl Strategy for Generic {}
