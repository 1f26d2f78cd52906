//! The two things that happen to managed fields: someone updates an object, someone applies a configuration.
//!
//! Kept true: `kind`, `apiVersion` and what the server alone writes in `metadata` belong to nobody; a manager's fields are
//! compared in the version that they were written in, and go with it.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/merge/update.go and
//! https://github.com/kubernetes/apimachinery/tree/master/pkg/util/managedfields/internal

use super::compare::{Comparison, blank, compare};
use super::extract;
use super::managers::{Author, Manager, Managers, Operation};
use super::merge::merge;
use super::place::Place;
use super::remove::prune;
use super::set::FieldSet;
use super::versions::Write;
use crate::custom::prune_metadata;
use crate::error::DecodeError;
use crate::schema::Schema;
use serde_json::Value;
use std::borrow::Cow;

/// Of `metadata`: the server's own.
pub(crate) const SERVER_METADATA: [&str; 8] = [
    "f:name",
    "f:namespace",
    "f:uid",
    "f:creationTimestamp",
    "f:generation",
    "f:resourceVersion",
    "f:selfLink",
    "f:managedFields",
];
/// Who is said to have made an object that nobody managed until it was applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A field that another manager has with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As messages print it: `"kubelet" with subresource "status" using v1`.
    pub manager: String,
    /// `.spec.replicas`
    pub path: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration is not one of its type. The text is the stock server's.
    #[error("{0}")]
    Invalid(String),
    /// The object cannot be had in the version of another manager.
    #[error("{0}")]
    Conversion(String),
}

pub fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.path);
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|conflict| conflict.manager.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let own = conflicts.iter().filter(|conflict| conflict.manager == manager);
        lines.extend(own.map(|conflict| format!("- {}", conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn printed(manager: &Manager) -> String {
    let mut text = format!("{:?}", manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", manager.subresource));
    }
    if manager.operation == Operation::Update {
        text.push_str(&format!(" using {}", manager.api_version));
    }
    text
}

fn strip(set: &mut FieldSet) {
    set.remove("f:apiVersion");
    set.remove("f:kind");
    set.change("f:metadata", |metadata| {
        metadata.member = false;
        for field in SERVER_METADATA {
            metadata.below.remove(field);
        }
    });
}

impl Schema {
    pub(crate) fn place(&self) -> Place<'_> {
        match self.as_custom() {
            Some(custom) => Place::Custom(custom.root(), Some(self.shape())),
            None => Place::of_struct(self.shape()),
        }
    }

    /// A configuration without type problems merged into an object without regard to managers, as admission policies do
    /// it. Err: what cannot be merged.
    pub fn merge_configuration(&self, object: &Value, config: &Value) -> Result<Value, String> {
        let mut atomic = Vec::new();
        extract::atomics(self.place(), config, "", &mut atomic);
        if atomic.is_empty() {
            return Ok(merge(self.place(), object, config));
        }
        Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomic.join(", ")
        ))
    }

    /// Managers after the author wrote `new` over `old` (absent: a new object, which nobody managed). Err: one of them
    /// cannot be had in a manager's version.
    pub async fn managed_update(
        &self,
        old: Option<&Value>,
        new: &Value,
        mut managers: Managers,
        write: Write<'_>,
    ) -> Result<Managers, String> {
        let blank = || Cow::Owned(blank(self.shape()));
        let old = old.map_or_else(blank, Cow::Borrowed);
        write.reconcile(self, &mut managers);
        let changes = write.changes(self, &old, new, &managers).await?;
        let mut changed = changes[0].1.changed.clone();
        strip(&mut changed);
        for manager in &mut managers.0 {
            take(manager, &changes);
        }
        if !changed.is_empty() {
            let own = managers.own(write.author);
            own.fields = own.fields.union(&changed);
            own.time = Some(write.now.to_owned());
        }
        managers.tidy();
        Ok(managers)
    }

    /// The live object with `config` merged in, and its managers then. `config` has no [`Schema::type_problem`], is pruned
    /// ([`Schema::prune_config`]) and holds nothing that the request may not set; `live` is an empty object where there is
    /// none yet. Of a custom resource the nulls stay: it is for validation to judge them.
    pub async fn apply(
        &self,
        live: &Value,
        config: &Value,
        managers: Managers,
        write: Write<'_>,
        force: bool,
    ) -> Result<(Value, Managers), ApplyError> {
        let place = self.place();
        let author = write.author;
        let mut after = self.with_first(live, managers, write).await.map_err(ApplyError::Conversion)?;
        write.reconcile(self, &mut after);
        let whole = extract::fields(place, config);
        let mut set = whole.clone();
        strip(&mut set);
        let last = after.of(author).cloned().unwrap_or_else(|| Manager::new(author));
        let mut managed = vec![(author.api_version.to_owned(), whole)];
        for manager in after.0.iter().filter(|manager| !manager.is(author)) {
            match managed.iter_mut().find(|(version, _)| *version == manager.api_version) {
                Some((_, all)) => *all = all.union(&manager.fields),
                None => managed.push((manager.api_version.clone(), manager.fields.clone())),
            }
        }
        let object = prune(write, self, merge(place, live, config), &last, managed);
        let mut object = object.await.map_err(ApplyError::Conversion)?;
        let changes = write.changes(self, live, &object, &after).await.map_err(ApplyError::Conversion)?;
        let conflicts: Vec<Conflict> = after
            .0
            .iter()
            .filter(|manager| !manager.is(author))
            .flat_map(|manager| {
                let paths =
                    of(manager, &changes).map(|own| manager.fields.intersection(&own.changed).paths());
                paths.into_iter().flatten().map(|path| Conflict { manager: printed(manager), path })
            })
            .collect();
        if !conflicts.is_empty() && !force {
            let conflicts = self.not_last_applied(live, conflicts, author);
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflicts(conflicts));
            }
        }
        for manager in after.0.iter_mut().filter(|manager| !manager.is(author)) {
            take(manager, &changes);
        }
        self.settle(&mut object).map_err(|error| ApplyError::Invalid(error.to_string()))?;
        let own = after.own(author);
        own.api_version = author.api_version.to_owned();
        // Who only says what is there already is listed without a time.
        if object != *live {
            own.time = Some(write.now.to_owned());
        }
        own.fields = set;
        after.tidy();
        Ok((object, after))
    }

    /// What was only named goes, now that everyone has seen it.
    fn settle(&self, object: &mut Value) -> Result<(), DecodeError> {
        match self.as_custom() {
            None => self.prune(object).map(drop),
            Some(_) => {
                object.get_mut("metadata").map_or(Ok(()), |metadata| prune_metadata(metadata).map(drop))
            }
        }
    }

    /// Objects from before anyone kept managers have one all the same.
    async fn with_first(
        &self,
        live: &Value,
        managers: Managers,
        write: Write<'_>,
    ) -> Result<Managers, String> {
        if !managers.is_empty() || live.get("metadata").is_none() {
            return Ok(managers);
        }
        let author = Author {
            manager: BEFORE_FIRST_APPLY,
            operation: Operation::Update,
            api_version: write.author.api_version,
            subresource: "",
        };
        self.managed_update(None, live, managers, Write { author, ..write }).await
    }

    /// kubectl may take over what it applied itself before, from the client's side, and nobody changed since.
    fn not_last_applied(&self, live: &Value, conflicts: Vec<Conflict>, author: Author<'_>) -> Vec<Conflict> {
        let text = live
            .pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration")
            .and_then(Value::as_str);
        let (Some(text), "kubectl") = (text, author.manager) else { return conflicts };
        let Ok(mut last) = serde_json::from_str::<Value>(text) else { return conflicts };
        if last["apiVersion"] != author.api_version || self.prune_config(&mut last).is_err() {
            return conflicts;
        }
        let since = compare(self.place(), &last, live);
        let applied = extract::fields(self.place(), &last);
        let allowed = applied.difference(&since.changed).difference(&since.removed).paths();
        conflicts.into_iter().filter(|conflict| !allowed.contains(&conflict.path)).collect()
    }
}

fn of<'a>(manager: &Manager, changes: &'a [(String, Comparison)]) -> Option<&'a Comparison> {
    changes.iter().find(|(version, _)| *version == manager.api_version).map(|(_, own)| own)
}

fn take(manager: &mut Manager, changes: &[(String, Comparison)]) {
    let Some(own) = of(manager, changes) else { return };
    for gone in [&own.changed, &own.removed] {
        if !gone.is_empty() {
            manager.fields = manager.fields.difference(gone);
        }
    }
}
