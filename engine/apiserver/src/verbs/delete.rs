//! Delete and deletecollection: preconditions, grace, finalizers, propagation.
//!
//! Writes: one object (or each of a collection): gone at once, or marked with a deletionTimestamp while something
//! still holds it. Invariant: an object with finalizers is never removed here.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/registry/generic/registry/store.go (`Delete`) and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/registry/rest/delete.go

use std::sync::Arc;

use coracle_store::{Change, CommitError, Expect, Object, Write};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::{Answer, DeleteOptions, Target, commit_failed, durability};
use crate::{
    admission::{self, Asked, Operation},
    conversion, object,
    options::{ListOptions, Propagation},
    status::{GroupResource, Status},
    strategy::Dependents,
    types::{State, UserInfo},
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// How many objects of a collection are deleted at the same time: they share syncs of the store.
const PARALLEL: usize = 32;

pub struct Deleted {
    pub answer: Answer,
    /// False while grace or finalizers hold the object.
    pub gone: bool,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

pub async fn delete(
    state: &State,
    user: &UserInfo,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let key = target.key();
    loop {
        let current = state.reader.get(&key).ok_or_else(|| target.not_found())?;
        preconditions(target, &current, options)?;
        let old = super::decode(&current)?;
        // Admission sees the version of the request; what cannot be shown is not deleted either.
        let is_other = conversion::waits(&target.served) || target.served.needs_conversion();
        let shown = match is_other && !options.admitted {
            true => Some(super::answer(&target.served, current.clone()).await?.into_value()?),
            false => None,
        };
        let seen = shown.as_ref().unwrap_or(&old);
        let request = admission::Request::new(
            state,
            user,
            target,
            Operation::Delete,
            Some(seen),
            Asked::Delete(options),
        );
        admission::mutate(&request, &mut Value::Null).await?;
        admission::validate(&request, None).await?;
        let mut warnings = request.take_warnings();
        warnings.extend(silence_warning(target, options));
        let step = plan(target, &old, options);
        if options.dry_run {
            let gone = matches!(step, Step::Remove(_));
            let answer = super::answer(&target.served, current).await?;
            return Ok(Deleted { answer, gone, warnings });
        }
        let (change, gone) = match step {
            Step::Nothing => {
                let answer = super::answer(&target.served, current).await?;
                return Ok(Deleted { answer, gone: false, warnings });
            }
            Step::Mark(value) => {
                (Change::Put { meta: object::meta(&value), body: object::encode(&value) }, false)
            }
            Step::Remove(value) => (Change::Delete { body: object::encode(&value) }, true),
        };
        let write = Write {
            key: key.clone(),
            expect: Expect::Revision(current.revision),
            change,
            durability: durability::of(&key),
        };
        match super::commit(state, write).await {
            Ok(object) => {
                if gone {
                    target.served.strategy.after_delete(state, &old);
                }
                let answer = super::answer(&target.served, object).await?;
                return Ok(Deleted { answer, gone, warnings });
            }
            // Preconditions are looked at again; the request's own time is the limit.
            Err(CommitError::Conflict { .. }) => {}
            Err(other) => return Err(commit_failed(other)),
        }
    }
}

fn preconditions(target: &Target, current: &Object, options: &DeleteOptions) -> Result<(), Status> {
    // Of a precondition, the stock server names the kind.
    let gvk = &target.served.api.gvk;
    let named = GroupResource::new(&gvk.group, &gvk.kind);
    let refuse = |why: String| Err(Status::conflict(named, &target.name, why));
    if let Some(uid) = options.uid.as_deref().filter(|uid| **uid != *current.meta.uid) {
        return refuse(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            current.meta.uid
        ));
    }
    let revision = current.revision.0.to_string();
    if let Some(asked) = options.resource_version.as_deref().filter(|asked| **asked != *revision) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({asked}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
        ));
    }
    Ok(())
}

enum Step {
    Nothing,
    /// Keep it, changed like this.
    Mark(Value),
    Remove(Value),
}

fn plan(target: &Target, old: &Value, options: &DeleteOptions) -> Step {
    let strategy = target.served.strategy;
    let mut value = old.clone();
    let finalizers = finalizers(target, old, options);
    if finalizers.is_empty() {
        object::metadata_mut(&mut value).shift_remove("finalizers");
    } else {
        object::metadata_mut(&mut value).insert("finalizers".into(), finalizers.clone().into());
    }
    let grace = if object::is_deleting(old) {
        shorten(&mut value, options.grace_period_seconds)
    } else {
        let grace = strategy.deletion_grace_seconds(old, options.grace_period_seconds).max(0);
        mark(&mut value, grace);
        grace
    };
    strategy.mark_deleting(&mut value);
    if grace == 0 && finalizers.is_empty() && !strategy.is_held(&value) {
        Step::Remove(value)
    } else if value == *old {
        Step::Nothing
    } else {
        Step::Mark(value)
    }
}

fn mark(value: &mut Value, grace: i64) {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
    let metadata = object::metadata_mut(value);
    metadata.insert("deletionTimestamp".into(), object::time_string(at).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if let Some(generation) =
        metadata.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0)
    {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}

/// A deleting object's grace may only get shorter. Returns what is left.
fn shorten(value: &mut Value, asked: Option<i64>) -> i64 {
    let metadata = object::metadata_mut(value);
    let grace = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default();
    let Some(asked) = asked.map(|asked| asked.max(0)).filter(|asked| *asked < grace) else { return grace };
    let at = metadata.get("deletionTimestamp").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let at: jiff::Timestamp = at.unwrap_or_else(jiff::Timestamp::now);
    let at = at - jiff::SignedDuration::from_secs(grace - asked);
    metadata.insert("deletionTimestamp".into(), object::time_string(at).into());
    metadata.insert("deletionGracePeriodSeconds".into(), asked.into());
    asked
}

/// What a client is told who does not say what becomes of the dependents.
pub fn silence_warning(target: &Target, options: &DeleteOptions) -> Option<String> {
    match target.served.strategy.dependents() {
        Dependents::Orphaned(warning)
            if options.propagation.is_none() && options.orphan_dependents.is_none() =>
        {
            warning.map(String::from)
        }
        _ => None,
    }
}

/// The finalizers that the object has once it is being deleted.
fn finalizers(target: &Target, old: &Value, options: &DeleteOptions) -> Vec<String> {
    let own = object::finalizers(old);
    let dependents = target.served.strategy.dependents();
    let (orphan, foreground) = match (options.propagation, options.orphan_dependents) {
        _ if dependents == Dependents::None => (false, false),
        (Some(Propagation::Orphan), _) | (None, Some(true)) => (true, false),
        (Some(Propagation::Foreground), _) => (false, true),
        (Some(Propagation::Background), _) | (None, Some(false)) => (false, false),
        (None, None) if own.contains(&ORPHAN) => (true, false),
        (None, None) if own.contains(&FOREGROUND) => (false, true),
        (None, None) => (matches!(dependents, Dependents::Orphaned(_)), false),
    };
    let mut names: Vec<String> =
        own.into_iter().filter(|name| *name != ORPHAN && *name != FOREGROUND).map(String::from).collect();
    if orphan {
        names.push(ORPHAN.into());
    }
    if foreground {
        names.push(FOREGROUND.into());
    }
    names
}

/// The answer for an object that is gone: `Status` with what it was, or the object.
pub fn success(target: &Target, deleted: Deleted) -> Answer {
    let uid = match &deleted.answer {
        Answer::Stored(object) => object.meta.uid.to_string(),
        Answer::Value(value) => object::meta_str(value, "uid").into(),
    };
    let api = &target.served.api;
    if !deleted.gone || api.returns_deleted {
        return deleted.answer;
    }
    let mut details = json!({"name": target.name});
    if !api.gvk.group.is_empty() {
        details["group"] = (*api.gvk.group).into();
    }
    details["kind"] = (*api.plural).into();
    details["uid"] = uid.into();
    Answer::Value(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details
    }))
}

/// Deletes every object that the list options select; the answer is the list as it was.
pub async fn delete_collection(
    state: &State,
    user: &UserInfo,
    target: &Target,
    list: &ListOptions,
    options: &DeleteOptions,
) -> Result<super::list::Listed, Status> {
    let listed = super::list::list(state, target, list).await?;
    let mut deletions = Vec::with_capacity(listed.objects.len());
    for object in &listed.objects {
        deletions.push(delete_one(state, user, target, object.clone(), options).boxed());
    }
    stream::iter(deletions).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(listed)
}

/// An object that is gone already is as good as deleted.
async fn delete_one(
    state: &State,
    user: &UserInfo,
    target: &Target,
    object: Arc<Object>,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let one = Target::new(target.served.clone(), &object.key.namespace, &object.key.name);
    match delete(state, user, &one, options).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
