//! Update: read, change, shape, admission, prepare, validate, commit against the revision that was read.
//!
//! Writes: one object. Invariant: an update that changes nothing commits nothing; of a deleting object whose last
//! finalizer goes, nothing remains.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/registry/rest/update.go

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use coracle_store::{Change, CommitError, Expect, Object, Write};
use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::{Answer, Outcome, Target, WriteOptions, commit_failed, durability, kept::keep};
use crate::{
    admission::{self, Asked, Operation},
    conversion, decode,
    decode::Decoded,
    kinds::gates,
    managed_fields, metadata, object,
    options::parse_revision,
    registry::Served,
    status::{Cause, Status},
    types::{State, UserInfo},
};

pub async fn update(
    state: &State,
    user: &UserInfo,
    target: &Target,
    decoded: impl Into<Decoded>,
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    let decoded = decoded.into();
    match replace(state, user, target, &decoded, options).await {
        // What cannot be read is told before anything else.
        Err(status) => {
            let schema = target.served.schema.as_ref().ok_or_else(Status::unknown_path)?;
            decode::shape(schema, &target.served.api.gvk, &mut decoded.clone(), options.field_validation)?;
            Err(status)
        }
        outcome => outcome,
    }
}

async fn replace(
    state: &State,
    user: &UserInfo,
    target: &Target,
    decoded: &Decoded,
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    check_name(&decoded.value, &target.name)?;
    if state.reader.get(&target.key()).is_none() && target.served.strategy.create_on_update() {
        return super::create(state, user, target, decoded.clone(), options).await;
    }
    modify(state, user, target, options, |_| Ok(Changed::Whole(decoded.clone()))).await
}

/// A whole object says its own name.
pub fn check_name(value: &Value, asked: &str) -> Result<(), Status> {
    match object::name(value) {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({asked} based on URL) was undeterminable: name must be provided"
        ))),
        name if name != asked => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({asked})"
        ))),
        _ => Ok(()),
    }
}

/// What a change function made of the current object.
pub enum Changed {
    /// A new object from the client: its resourceVersion must be the current one, or empty where that is allowed.
    Whole(Decoded),
    /// The current object with changes applied.
    Patched(Decoded),
    /// What one manager wants of it, by server-side apply.
    Applied(Arc<Value>),
}

/// Reads the object, applies `change` to it (in the request's version) and commits; again when another write came first
/// and the change does not insist on a resourceVersion.
///
/// Boxed: the compiler cannot see through the lifetimes of nested futures that hold closures.
pub fn modify<'a>(
    state: &'a State,
    user: &'a UserInfo,
    target: &'a Target,
    options: &'a WriteOptions,
    change: impl FnMut(&Value) -> Result<Changed, Status> + Send + 'a,
) -> BoxFuture<'a, Result<Outcome, Status>> {
    retry(state, user, target, options, Box::new(change)).boxed()
}

/// Not a type parameter: the whole of a write would be compiled for each caller.
type Make<'a> = Box<dyn FnMut(&Value) -> Result<Changed, Status> + Send + 'a>;

async fn retry(
    state: &State,
    user: &UserInfo,
    target: &Target,
    options: &WriteOptions,
    mut change: Make<'_>,
) -> Result<Outcome, Status> {
    let key = target.key();
    loop {
        let current = state.reader.get(&key).ok_or_else(|| target.not_found())?;
        let shown = conversion::shown(&target.served, current.clone()).await?;
        let old = super::decode_as(&target.served, &shown)?;
        let (decoded, whole, applied) = match change(&old)? {
            Changed::Whole(decoded) => (decoded, true, false),
            Changed::Patched(decoded) => (decoded, false, false),
            Changed::Applied(config) => {
                let (mut value, managers) =
                    super::apply::merge(state, target, user, &old, &config, options).await?;
                managed_fields::put(&mut value, &managers);
                (value.into(), false, true)
            }
        };
        let insists = check_revision(target, &decoded.value, &current, whole)?;
        match modify_once(state, user, target, options, &current, old, decoded, applied).await {
            // Each turn that is lost, another writer won: the request's own time is the limit.
            Err(Failure::Conflict) if !insists => {}
            Err(Failure::Conflict) => {
                // Deleted in between: say so.
                if state.reader.get(&key).is_none() {
                    return Err(target.not_found());
                }
                return Err(Status::stale(target.served.group_resource(), &target.name));
            }
            Err(Failure::Status(status)) => return Err(status),
            Ok(outcome) => return Ok(outcome),
        }
    }
}

enum Failure {
    Conflict,
    Status(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Status(status)
    }
}

/// Compares the resourceVersion of the change with the current one; true when the change insists on it.
fn check_revision(target: &Target, value: &Value, current: &Object, whole: bool) -> Result<bool, Status> {
    let asked = object::meta_str(value, "resourceVersion");
    let served = &target.served;
    if asked.is_empty() || asked == "0" {
        if whole && !served.updates_unconditionally {
            let cause = Cause::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            // The stock server names the resource here, not the kind.
            return Err(Status::invalid(served.group_resource(), &target.name, vec![cause]));
        }
        return Ok(false);
    }
    if parse_revision(asked)? != current.revision.0 {
        return Err(Status::stale(served.group_resource(), &target.name));
    }
    // A patch carries the current revision unless it changed it: no insistence.
    Ok(whole)
}

#[expect(clippy::too_many_arguments, reason = "one call; what was read and what is to be")]
async fn modify_once(
    state: &State,
    user: &UserInfo,
    target: &Target,
    options: &WriteOptions,
    current: &Arc<Object>,
    old: Value,
    mut decoded: Decoded,
    applied: bool,
) -> Result<Outcome, Failure> {
    let served = &target.served;
    let strategy = served.strategy;
    let schema = served.schema.as_ref().ok_or_else(Status::unknown_path)?;
    let context = target.context(state, user, options);
    let request =
        admission::Request::new(state, user, target, Operation::Update, Some(&old), Asked::Write(options));
    if applied {
        decode::shape_applied(schema, &served.api.gvk, &mut decoded.value)?;
    } else {
        for text in decode::shape(schema, &served.api.gvk, &mut decoded, options.field_validation)? {
            request.warn(text);
        }
    }
    let mut value = decoded.value;
    super::create::match_namespace(target, &mut value)?;
    let uid = object::meta_str(&value, "uid");
    if !uid.is_empty() && uid != &*current.meta.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.meta.uid
        );
        return Err(Status::conflict(served.group_resource(), &target.name, why).into());
    }
    keep(target, &mut value, &old);
    if !applied {
        managed_fields::updated(state, target, user, options, &mut value, &old).await;
    }
    admission::mutate(&request, &mut value).await?;
    super::create::match_namespace(target, &mut value).map_err(|status| request.refused(status))?;
    keep(target, &mut value, &old);
    gates::drop_fields(&served.api.gvk.group, &served.api.plural, &mut value, Some(&old));
    strategy.prepare_update(context, &mut value, &old)?;
    count_generation(target, &mut value, &old);
    let outcome = async {
        let mut causes = metadata::validate_update(served, &value, &old);
        causes.extend(strategy.validate_update(context, &value, &old));
        if !causes.is_empty() {
            return Err(Status::invalid(served.group_kind(), object::name(&value), causes).into());
        }
        for text in strategy.warnings(context, &value, Some(&old)) {
            request.warn(text);
        }
        admission::validate(&request, Some(&value)).await?;
        let answer = if options.dry_run {
            let mut shown = value.clone();
            // Who names no revision is shown the one that would have been overwritten.
            object::metadata_mut(&mut shown)
                .entry("resourceVersion")
                .or_insert_with(|| old["metadata"]["resourceVersion"].clone());
            Answer::Value(shown)
        } else {
            let stored = conversion::stored(served, &value).await?;
            let committed = commit(state, served, current, &old, &value, stored).await?;
            super::answer(served, committed).await?
        };
        Ok(Outcome { answer, warnings: request.take_warnings(), created: false })
    }
    .await
    .map_err(|failure| match failure {
        Failure::Status(status) => Failure::Status(request.refused(status)),
        Failure::Conflict => Failure::Conflict,
    });
    request.settle();
    if options.dry_run || outcome.is_err() {
        strategy.release(context, &value, Some(&old));
    } else {
        strategy.after_update(context, &value, &old);
        if should_vanish(served, &value) {
            strategy.after_delete(state, &value);
        }
    }
    outcome
}

/// The object is being deleted and nothing holds it any more.
fn should_vanish(served: &Served, value: &Value) -> bool {
    object::is_deleting(value)
        && object::finalizers(value).is_empty()
        && value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() == 0
        && !served.strategy.is_held(value)
}

async fn commit(
    state: &State,
    served: &Served,
    current: &Arc<Object>,
    old: &Value,
    value: &Value,
    stored: Cow<'_, Value>,
) -> Result<Arc<Object>, Failure> {
    let unchanged = match &stored {
        Cow::Borrowed(stored) => same(old, stored),
        Cow::Owned(stored) => same(&super::decode(current)?, stored),
    };
    // The same in another version than the stored one is written anew: so a storage-version migration gets on.
    let unchanged = unchanged && is_in_version(current, &stored);
    let body = object::encode(&stored);
    let change = if should_vanish(served, value) {
        Change::Delete { body }
    } else if unchanged {
        return Ok(current.clone());
    } else {
        Change::Put { meta: object::meta(&stored), body }
    };
    let key = current.key.clone();
    let durability = durability::of_update(&key, old, value);
    let write = Write { key, expect: Expect::Revision(current.revision), change, durability };
    super::commit(state, write).await.map_err(|error| match error {
        CommitError::Conflict { .. } => Failure::Conflict,
        other => commit_failed(other).into(),
    })
}

/// Whether what is stored is in the version of `stored`.
fn is_in_version(current: &Object, stored: &Value) -> bool {
    current.json.starts_with(&conversion::head(
        stored["kind"].as_str().unwrap_or_default(),
        stored["apiVersion"].as_str().unwrap_or_default(),
    ))
}

/// Whether nothing but the resourceVersion may differ.
fn same(old: &Value, new: &Value) -> bool {
    let but = |field: &str, old: &Value, new: &Value| {
        let count = |object: &Value| {
            object.as_object().into_iter().flatten().filter(|(own, _)| *own != field).count()
        };
        let mut fields = old.as_object().into_iter().flatten().filter(|(own, _)| *own != field);
        count(old) == count(new) && fields.all(|(own, value)| new.get(own) == Some(value))
    };
    but("metadata", old, new) && but("resourceVersion", &old["metadata"], &new["metadata"])
}

/// Generation counts changes of everything but metadata and status.
fn count_generation(target: &Target, value: &mut Value, old: &Value) {
    let served = &target.served;
    if !served.counts_generation || target.subresource == "binding" {
        return;
    }
    fn intent(object: &Value) -> BTreeMap<&String, &Value> {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status" | "kind" | "apiVersion"))
            .collect()
    }
    if intent(value) != intent(old) {
        let next = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        object::metadata_mut(value).insert("generation".into(), next.into());
    }
}
