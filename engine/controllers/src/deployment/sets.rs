//! A Deployment's ReplicaSets: what a plan needs of each, which one is new, and how a new one looks. Pure.
//!
//! Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::rolling::Limits;
use crate::ownership;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";
/// Longest `revision-history`, in characters.
const HISTORY_LENGTH: usize = 2000;
/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// No vowels and no digits that look like letters: no words come out.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

#[derive(Clone, Debug)]
pub struct Set {
    pub object: Arc<ReplicaSet>,
    /// `spec.replicas`
    pub replicas: i32,
    /// `status.replicas`
    pub existing: i32,
    pub ready: i32,
    pub available: i32,
}

impl Set {
    pub fn new(object: Arc<ReplicaSet>) -> Set {
        let status = object.status.clone().unwrap_or_default();
        Set {
            replicas: object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            existing: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            object,
        }
    }

    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Available pods that stay when the set has its size: a status from before a scale-down counts no more than that.
    pub fn safely_available(&self) -> i32 {
        self.available.min(self.replicas)
    }

    /// Its controller has seen the size that it has now.
    pub fn is_observed(&self) -> bool {
        let status = self.object.status.as_ref();
        self.object.metadata.generation <= status.and_then(|status| status.observed_generation)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.object.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub fn desired_replicas(&self) -> Option<i32> {
        self.annotation(DESIRED_REPLICAS).and_then(|text| text.parse().ok())
    }

    pub fn max_replicas(&self) -> Option<i32> {
        self.annotation(MAX_REPLICAS).and_then(|text| text.parse().ok())
    }

    /// Older first.
    pub fn by_creation(&self, other: &Set) -> Ordering {
        let created =
            |set: &Set| set.object.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
        created(self).cmp(&created(other)).then_with(|| self.name().cmp(other.name()))
    }
}

/// The set whose template is the Deployment's; of several the oldest.
pub fn find_new(deployment: &Deployment, sets: &[Set]) -> Option<usize> {
    let template = normal(&deployment.spec.as_ref()?.template);
    let matches = |set: &Set| {
        let spec = set.object.spec.as_ref();
        spec.and_then(|spec| spec.template.as_ref()).is_some_and(|other| normal(other) == template)
    };
    (0..sets.len()).filter(|&index| matches(&sets[index])).min_by(|&a, &b| sets[a].by_creation(&sets[b]))
}

/// The template without its hash and without the difference of empty and absent metadata.
fn normal(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().remove(HASH_LABEL);
    metadata.annotations.get_or_insert_default();
    template
}

pub fn same_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let other = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    other.is_some_and(|other| normal(other) == normal(template))
}

/// A short name for a template: FNV-1a of its JSON and of the collisions met so far.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let json = serde_json::to_vec(template).unwrap_or_default();
    let salt = collisions.map(i32::to_le_bytes).unwrap_or_default();
    let hash = json
        .iter()
        .chain(&salt)
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|byte| SAFE[usize::from(byte) % SAFE.len()] as char).collect()
}

/// The annotations that the new set gets, as far as it does not have them.
pub fn new_set_annotations(
    deployment: &Deployment,
    existing: Option<&Set>,
    revision: i64,
) -> BTreeMap<String, String> {
    let has = |key: &str, value: &str| existing.is_some_and(|set| set.annotation(key) == Some(value));
    let mut annotations: BTreeMap<String, String> = deployment
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, value)| !NOT_COPIED.contains(&key.as_str()) && !has(key, value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let before = existing.map_or(0, Set::revision);
    if before < revision {
        annotations.insert(REVISION.to_owned(), revision.to_string());
        if let Some(set) = existing.filter(|_| before > 0) {
            let history = extended_history(set.annotation(REVISION_HISTORY), before);
            annotations.insert(REVISION_HISTORY.to_owned(), history);
        }
    }
    annotations
}

fn extended_history(history: Option<&str>, revision: i64) -> String {
    let mut entries: Vec<String> =
        history.unwrap_or_default().split(',').filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
    entries.push(revision.to_string());
    while entries.len() > 1 && entries.iter().map(|entry| entry.len() + 1).sum::<usize>() > HISTORY_LENGTH + 1
    {
        entries.remove(0);
    }
    entries.join(",")
}

/// What a scaled set carries: the size wanted of the Deployment, and the most it may have.
pub fn size_annotations(limits: Limits) -> [(&'static str, String); 2] {
    [(DESIRED_REPLICAS, limits.replicas.to_string()), (MAX_REPLICAS, limits.max_total().to_string())]
}

pub fn new_set(deployment: &Deployment, replicas: i32, revision: i64) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template;
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = metadata.labels.clone();
    let mut match_labels = spec.selector.match_labels.unwrap_or_default();
    match_labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let mut annotations = new_set_annotations(deployment, None, revision);
    annotations.extend(size_annotations(Limits::of(deployment)).map(|(key, value)| (key.to_owned(), value)));
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            annotations: Some(annotations),
            owner_references: Some(vec![ownership::reference(deployment)]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector {
                match_labels: Some(match_labels),
                match_expressions: spec.selector.match_expressions,
            },
            template: Some(template),
        }),
        status: None,
    }
}
