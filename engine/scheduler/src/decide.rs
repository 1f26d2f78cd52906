//! One pod against the cluster: a node, or the stock scheduler's sentence why not. Pure.
//!
//! Source: https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;

use crate::{
    change::Change,
    cluster::Cluster,
    filters::{self, Rejection},
    preempt, score,
};

#[derive(Debug)]
pub enum Decision {
    Bind {
        node: String,
    },
    /// Lower pods have to go first; then the pod is tried again.
    Preempt {
        node: String,
        victims: Vec<Arc<Pod>>,
        message: String,
        helped_by: HashSet<Change>,
    },
    Wait {
        message: String,
        /// Others are on their way out for this pod: its place stays its own.
        keeps_place: bool,
        /// After what the answer may be another.
        helped_by: HashSet<Change>,
    },
}

pub fn decide(pod: &Pod, cluster: &Cluster) -> Decision {
    let total = cluster.nodes.len();
    if total == 0 {
        return wait("no nodes available to schedule pods".to_owned(), &[Change::NodeCame]);
    }
    if let Err(reason) = filters::precondition(pod, cluster) {
        let preemption = not_helpful(total);
        let message =
            format!("0/{total} nodes are available: {reason}. no new claims to deallocate, {preemption}");
        return wait(message, filters::PRECONDITION);
    }
    let mut feasible = Vec::new();
    let mut rejected = Vec::new();
    let mut helped_by = HashSet::new();
    for node in &cluster.nodes {
        match filters::check(pod, node, cluster) {
            Ok(()) => feasible.push(node),
            Err((rejection, changes)) => {
                helped_by.extend(changes);
                rejected.push((node, rejection));
            }
        }
    }
    if let Some(node) = score::best(pod, &feasible, cluster) {
        return Decision::Bind { node: node.name().to_owned() };
    }
    let reasons = histogram(rejected.iter().flat_map(|(_, rejection)| rejection.reasons.iter()));
    let why = format!("0/{total} nodes are available: {reasons}.");
    let candidates = rejected.iter().filter(|(_, rejection)| !rejection.unresolvable).map(|(node, _)| *node);
    match preempt::find(pod, candidates, cluster) {
        Ok(found) => Decision::Preempt { node: found.node, victims: found.victims, message: why, helped_by },
        Err(refusal) => {
            let outcomes = rejected.iter().map(|(_, rejection)| outcome(rejection, &refusal));
            let outcomes: Vec<String> = outcomes.collect();
            let preemption = if refusal.not_eligible {
                format!("preemption: not eligible due to {}.", refusal.reason)
            } else {
                format!("preemption: 0/{total} nodes are available: {}.", histogram(outcomes.iter()))
            };
            Decision::Wait {
                message: format!("{why} no new claims to deallocate, {preemption}"),
                keeps_place: refusal.not_eligible,
                helped_by,
            }
        }
    }
}

fn wait(message: String, helped_by: &[Change]) -> Decision {
    Decision::Wait { message, keeps_place: false, helped_by: helped_by.iter().copied().collect() }
}

fn not_helpful(total: usize) -> String {
    format!("preemption: 0/{total} nodes are available: {total} {NOT_HELPFUL}.")
}

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

fn outcome(rejection: &Rejection, refusal: &preempt::Refusal) -> String {
    if rejection.unresolvable { NOT_HELPFUL.to_owned() } else { refusal.reason.to_owned() }
}

/// `1 Insufficient cpu, 2 Too many pods`
fn histogram<'a>(reasons: impl Iterator<Item = &'a String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    parts.join(", ")
}
