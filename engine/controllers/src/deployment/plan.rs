//! What one pass over a Deployment does to its ReplicaSets. No I/O; the caller passes the time.
//!
//! Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::{
    rolling::{self, Limits},
    sets::{self, Set},
    status::{self, Verdict},
};

#[derive(Debug)]
pub struct Plan {
    pub create: Option<Box<ReplicaSet>>,
    pub changes: Vec<Change>,
    /// Names of ReplicaSets beyond the history limit.
    pub delete: Vec<String>,
    /// The Deployment's own revision annotation, when it is not so yet.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// When the progress deadline would strike.
    pub requeue: Option<Duration>,
}

/// What becomes different on one ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    /// (from, to)
    pub replicas: Option<(i32, i32)>,
    pub annotations: BTreeMap<String, String>,
    pub min_ready_seconds: Option<i32>,
}

/// `all` are the ReplicaSets that the Deployment controls; `old_pods_running` counts only for Recreate.
pub fn plan(deployment: &Deployment, all: &[Set], old_pods_running: bool, now: Timestamp) -> Plan {
    let mut pass = Pass::new(deployment, all, now);
    if deployment.metadata.deletion_timestamp.is_some() {
        return pass.finish(false);
    }
    pass.note_pause();
    let paused = pass.spec_paused();
    if paused || pass.is_scaling_event() {
        pass.update_new_set();
        pass.scale();
        if paused {
            pass.clean_up();
        }
        return pass.finish(false);
    }
    let rolling = deployment.spec.as_ref().is_none_or(rolling::is_rolling);
    if rolling {
        pass.roll();
    } else {
        pass.recreate(old_pods_running);
    }
    pass.finish(true)
}

struct Pass<'a> {
    deployment: &'a Deployment,
    limits: Limits,
    new: Option<Set>,
    /// In the order of their creation.
    old: Vec<Set>,
    conditions: Vec<DeploymentCondition>,
    create: Option<Box<ReplicaSet>>,
    changes: BTreeMap<String, Change>,
    delete: Vec<String>,
    revision: Option<String>,
    now: Timestamp,
}

impl<'a> Pass<'a> {
    fn new(deployment: &'a Deployment, all: &[Set], now: Timestamp) -> Pass<'a> {
        let new = sets::find_new(deployment, all);
        let others = all.iter().enumerate().filter(|(index, _)| Some(*index) != new);
        let mut old: Vec<Set> = others.map(|(_, set)| set.clone()).collect();
        old.sort_by(Set::by_creation);
        let status = deployment.status.as_ref();
        Pass {
            deployment,
            limits: Limits::of(deployment),
            new: new.map(|index| all[index].clone()),
            old,
            conditions: status.and_then(|status| status.conditions.clone()).unwrap_or_default(),
            create: None,
            changes: BTreeMap::new(),
            delete: Vec::new(),
            revision: None,
            now,
        }
    }

    fn spec_paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
    }

    /// A pause stops the clock of the progress deadline; its end starts it anew.
    fn note_pause(&mut self) {
        if status::deadline(self.deployment).is_none() {
            return;
        }
        let reason = status::find(&self.conditions, status::PROGRESSING).and_then(|it| it.reason.as_deref());
        if reason == Some(status::TIMED_OUT) {
            return;
        }
        let (reason, message) = match (self.spec_paused(), reason == Some(status::PAUSED)) {
            (true, false) => (status::PAUSED, "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        self.judge("Unknown", reason, message.to_owned());
    }

    fn judge(&mut self, status: &str, reason: &str, message: String) {
        let verdict = Verdict { kind: status::PROGRESSING, status, reason, message };
        status::set(&mut self.conditions, verdict, self.now);
    }

    /// `spec.replicas` changed since the active sets were last sized.
    fn is_scaling_event(&self) -> bool {
        let mut active = self.old.iter().chain(&self.new).filter(|set| set.replicas > 0);
        active.any(|set| set.desired_replicas().is_some_and(|desired| desired != self.limits.replicas))
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(Set::revision).max().unwrap_or(0) + 1
    }

    /// Keeps revision, annotations and `minReadySeconds` of an existing new set up to date.
    fn update_new_set(&mut self) {
        let revision = self.next_revision();
        let Some(set) = &self.new else { return };
        let annotations = sets::new_set_annotations(self.deployment, Some(set), revision);
        let spec_min = self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let set_min = set.object.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let shown = revision.max(set.revision()).to_string();
        let (name, key) = (set.name().to_owned(), set.name().to_owned());
        if !annotations.is_empty() || spec_min != set_min {
            let change =
                self.changes.entry(key).or_insert(Change { name: name.clone(), ..Default::default() });
            change.annotations.extend(annotations);
            change.min_ready_seconds = (spec_min != set_min).then_some(spec_min);
        }
        self.show_revision(shown);
        let known = status::find(&self.conditions, status::PROGRESSING).is_some();
        if !known && status::deadline(self.deployment).is_some() {
            self.judge("True", "FoundNewReplicaSet", format!("Found new replica set \"{name}\""));
        }
    }

    fn show_revision(&mut self, revision: String) {
        let annotations = self.deployment.metadata.annotations.as_ref();
        let shown = annotations.and_then(|all| all.get(sets::REVISION));
        if shown != Some(&revision) {
            self.revision = Some(revision);
        }
    }

    fn create_new_set(&mut self) {
        let size = if self.deployment.spec.as_ref().is_none_or(rolling::is_rolling) {
            rolling::new_size(self.limits, 0, rolling::occupied(self.limits, self.old.iter()))
        } else {
            self.limits.replicas
        };
        let revision = self.next_revision();
        let set = sets::new_set(self.deployment, size, revision);
        let name = set.metadata.name.clone().unwrap_or_default();
        self.create = Some(Box::new(set));
        self.show_revision(revision.to_string());
        if status::deadline(self.deployment).is_some() {
            self.judge("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
        }
    }

    /// Sizes a set, and notes on it what the Deployment wants now.
    fn resize(&mut self, set: &Set, size: i32) {
        let wanted = sets::size_annotations(self.limits);
        let missing = wanted.into_iter().filter(|(key, value)| set.annotation(key) != Some(value));
        let annotations: BTreeMap<String, String> =
            missing.map(|(key, value)| (key.to_owned(), value)).collect();
        if size == set.replicas && annotations.is_empty() {
            return;
        }
        let name = set.name().to_owned();
        let change = self.changes.entry(name.clone()).or_insert(Change { name, ..Default::default() });
        change.annotations.extend(annotations);
        if size != set.replicas {
            change.replicas = Some((set.replicas, size));
        }
    }

    /// One step of a rolling update: first up, and only when that is settled, down.
    fn roll(&mut self) {
        let Some(new) = self.new.clone() else { return self.create_new_set() };
        self.update_new_set();
        let occupied = rolling::occupied(self.limits, self.old.iter().chain([&new]));
        let size = rolling::new_size(self.limits, new.replicas, occupied);
        if size != new.replicas {
            return self.resize(&new, size);
        }
        for (index, size) in rolling::shrink_old(self.limits, &new, &self.old) {
            let set = self.old[index].clone();
            self.resize(&set, size);
        }
    }

    /// All old pods go before the first new one comes.
    fn recreate(&mut self, old_pods_running: bool) {
        self.update_new_set();
        let active: Vec<Set> = self.old.iter().filter(|set| set.replicas > 0).cloned().collect();
        if !active.is_empty() {
            return active.iter().for_each(|set| self.resize(set, 0));
        }
        if old_pods_running || self.old.iter().any(|set| set.existing > 0) {
            return;
        }
        match self.new.clone() {
            None => self.create_new_set(),
            Some(new) => self.resize(&new, self.limits.replicas),
        }
    }

    /// Follows a change of `spec.replicas` without rolling on.
    fn scale(&mut self) {
        let replicas = self.limits.replicas;
        let active: Vec<Set> =
            self.old.iter().chain(&self.new).filter(|set| set.replicas > 0).cloned().collect();
        let only = match active.as_slice() {
            [] => self.new.as_ref().or(self.old.last()).cloned(),
            [set] => Some(set.clone()),
            _ => None,
        };
        if let Some(set) = only {
            return self.resize(&set, replicas);
        }
        let saturated = self.new.as_ref().is_some_and(|set| {
            set.replicas == replicas && set.desired_replicas() == Some(replicas) && set.available == replicas
        });
        if saturated {
            let old: Vec<Set> = self.old.iter().filter(|set| set.replicas > 0).cloned().collect();
            return old.iter().for_each(|set| self.resize(set, 0));
        }
        if self.deployment.spec.as_ref().is_none_or(rolling::is_rolling) {
            let existing = self.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
            for (index, size) in rolling::proportional(self.limits, &active, existing) {
                self.resize(&active[index], size);
            }
        }
    }

    /// Removes the oldest empty sets beyond `revisionHistoryLimit`.
    fn clean_up(&mut self) {
        let limit = self.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return };
        let mut sets: Vec<&Set> =
            self.old.iter().filter(|set| set.object.metadata.deletion_timestamp.is_none()).collect();
        sets.sort_by_key(|set| set.revision());
        let excess = sets.len().saturating_sub(limit.max(0) as usize);
        let empty = |set: &&&Set| set.replicas == 0 && set.existing == 0 && set.is_observed();
        self.delete = sets[..excess].iter().filter(empty).map(|set| set.name().to_owned()).collect();
    }

    fn finish(mut self, judge_progress: bool) -> Plan {
        let conditions = std::mem::take(&mut self.conditions);
        let mut status = status::counted(self.deployment, self.new.as_ref(), &self.old, conditions, self.now);
        if judge_progress {
            let made = self.create.as_ref().and_then(|set| set.metadata.name.as_deref());
            let new = self.new.as_ref();
            let named = (new, new.map(Set::name).or(made));
            status::judge_progress(self.deployment, named, &self.old, &mut status, self.now);
            if status::is_complete(self.deployment, &status) {
                self.clean_up();
            }
        }
        Plan {
            requeue: status::until_deadline(self.deployment, &status, self.now),
            create: self.create,
            changes: self.changes.into_values().collect(),
            delete: self.delete,
            revision: self.revision,
            status,
        }
    }
}
