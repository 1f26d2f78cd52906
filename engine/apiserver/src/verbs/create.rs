//! Create: shape, admission, prepare, validate, commit.
//!
//! Writes: one object that must not exist yet. Invariant: what the server decides (uid, creationTimestamp, generation,
//! of most kinds the status) never comes from the client.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/registry/rest/create.go

use coracle_schema::Managers;
use coracle_store::{Change, CommitError, Expect, Object, Write};
use serde_json::Value;
use std::sync::Arc;

use super::{Answer, CreateOptions, Outcome, Target, commit_failed, durability};
use crate::{
    admission::{self, Asked, Operation},
    conversion, decode,
    decode::Decoded,
    kinds::{self, gates},
    managed_fields, metadata, names, object,
    status::Status,
    types::{State, UserInfo},
};

/// How often a generated name that is taken is replaced by another.
const GENERATE_NAME_ATTEMPTS: usize = 8;

pub async fn create(
    state: &State,
    user: &UserInfo,
    target: &Target,
    decoded: impl Into<Decoded>,
    options: &CreateOptions,
) -> Result<Outcome, Status> {
    create_managed(state, user, target, decoded, options, None).await
}

/// `managers`: of an object that is created by applying it.
pub(super) async fn create_managed(
    state: &State,
    user: &UserInfo,
    target: &Target,
    decoded: impl Into<Decoded>,
    options: &CreateOptions,
    managers: Option<Managers>,
) -> Result<Outcome, Status> {
    let served = &target.served;
    let mut decoded = decoded.into();
    let schema = served.schema.as_ref().ok_or_else(Status::unknown_path)?;
    let request =
        admission::Request::new(state, user, target, Operation::Create, None, Asked::Write(options));
    if managers.is_some() {
        decode::shape_applied(schema, &served.api.gvk, &mut decoded.value)?;
    } else {
        for text in decode::shape(schema, &served.api.gvk, &mut decoded, options.field_validation)? {
            request.warn(text);
        }
    }
    let mut value = decoded.value;
    match_namespace(target, &mut value)?;
    let names_revision = object::meta_str(&value, "resourceVersion").parse().is_ok_and(|own: u64| own != 0);
    reset(served, &mut value);
    match managers {
        Some(managers) => managed_fields::put(&mut value, &managers),
        None => managed_fields::created(state, target, user, options, &mut value).await,
    }
    admission::mutate(&request, &mut value).await?;
    match_namespace(target, &mut value).map_err(|status| request.refused(status))?;
    // After the mutating plugins, as on a stock server: the refusals of one controller's pods read alike.
    let generated = object::name(&value).is_empty() && !object::meta_str(&value, "generateName").is_empty();
    let mut base = value;
    for attempt in 1.. {
        // Only a generated name is tried again.
        let mut value = if generated { base.clone() } else { std::mem::take(&mut base) };
        if generated {
            let name = names::generate(object::meta_str(&base, "generateName"));
            object::metadata_mut(&mut value).insert("name".into(), name.into());
        }
        let result = create_once(&request, value, options, names_revision).await;
        match result {
            Err(Failure::Exists(_)) if generated && attempt < GENERATE_NAME_ATTEMPTS => {}
            Err(failure) => {
                return Err(request.refused(match failure {
                    Failure::Exists(name) => taken(state, target, &name, generated),
                    Failure::Status(status) => status,
                }));
            }
            Ok(answer) => {
                return Ok(Outcome { answer, warnings: request.take_warnings(), created: true });
            }
        }
    }
    unreachable!("the loop returns")
}

enum Failure {
    Exists(String),
    Status(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Status(status)
    }
}

fn taken(state: &State, target: &Target, name: &str, generated: bool) -> Status {
    let served = &target.served;
    let mut status = match generated {
        true => Status::generate_name_conflict(served.group_resource(), name),
        false => Status::already_exists(served.group_resource(), name),
    };
    let holder = state.reader.get(&served.key(&target.namespace, name));
    if holder.is_some_and(|holder| holder.meta.deletion_timestamp.is_some()) {
        status.message.insert_str(0, "object is being deleted: ");
    }
    status
}

async fn create_once(
    request: &admission::Request<'_>,
    mut value: Value,
    options: &CreateOptions,
    names_revision: bool,
) -> Result<Answer, Failure> {
    let (state, target) = (request.state, request.target);
    let served = &target.served;
    let strategy = served.strategy;
    let context = target.context(state, request.user, options);
    stamp(&mut value);
    let api = &served.api;
    gates::drop_fields(&api.gvk.group, &api.plural, &mut value, None);
    strategy.prepare_create(context, &mut value)?;
    // From here on what the strategy reserved goes back unless the commit happens.
    let outcome = async {
        let mut causes = metadata::validate(served, &value);
        causes.extend(strategy.validate(context, &value));
        if !causes.is_empty() {
            return Err(Status::invalid(served.group_kind(), object::name(&value), causes).into());
        }
        for text in strategy.warnings(context, &value, None) {
            request.warn(text);
        }
        admission::validate(request, Some(&value)).await?;
        let stored = conversion::stored(served, &value).await?;
        if options.dry_run {
            let key = served.key(&target.namespace, object::name(&value));
            if state.reader.get(&key).is_some() {
                return Err(Failure::Exists(object::name(&value).into()));
            }
            return Ok(Answer::Value(value.clone()));
        }
        // Only a stock server's store minds, after all else; what is no number it passes over.
        if names_revision {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Status::new(500, "", why).into());
        }
        let committed = commit(state, target, &stored).await?;
        Ok(super::answer(served, committed).await?)
    }
    .await;
    request.settle();
    if options.dry_run || outcome.is_err() {
        strategy.release(context, &value, None);
    }
    outcome
}

async fn commit(state: &State, target: &Target, value: &Value) -> Result<Arc<Object>, Failure> {
    let key = target.served.key(&target.namespace, object::name(value));
    let durability = durability::of(&key);
    let change = Change::Put { meta: object::meta(value), body: object::encode(value) };
    let write = Write { key, expect: Expect::Absent, change, durability };
    super::commit(state, write).await.map_err(|error| match error {
        CommitError::Conflict { .. } => Failure::Exists(object::name(value).into()),
        other => commit_failed(other).into(),
    })
}

/// The namespace of the path and of the object are one: as sent, and as admission left it.
pub(super) fn match_namespace(target: &Target, value: &mut Value) -> Result<(), Status> {
    let own = object::meta_str(value, "namespace");
    if own == target.namespace {
        return Ok(());
    }
    if target.namespace.is_empty() {
        object::metadata_mut(value).shift_remove("namespace");
    } else if own.is_empty() {
        object::metadata_mut(value).insert("namespace".into(), target.namespace.clone().into());
    } else {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Removes what only the server may set.
fn reset(served: &crate::registry::Served, value: &mut Value) {
    let metadata = object::metadata_mut(value);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "uid", "creationTimestamp"] {
        metadata.shift_remove(field);
    }
    for field in ["managedFields", "generation", "resourceVersion"] {
        metadata.shift_remove(field);
    }
    if served.counts_generation {
        metadata.insert("generation".into(), 1.into());
    }
    if served.has_status {
        if !kinds::keeps_posted_status(&served.api.gvk.group, &served.api.plural) || value["status"].is_null()
        {
            value["status"] = Value::Object(Default::default());
        }
        if let Some(schema) = &served.schema {
            schema.default(value);
        }
    }
}

fn stamp(value: &mut Value) {
    let metadata = object::metadata_mut(value);
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), object::now().into());
}
