//! Writes the bootstrap objects: all of them when the server is built, later those that a cluster cannot be without.
//!
//! Kept true: an object that cannot be written (a webhook or policy refuses it, its address is taken) keeps nobody from
//!            the API; it is warned of once and tried again until it is there.
//! Source:    https://github.com/kubernetes/kubernetes/tree/master/pkg/controlplane/controller (`kubernetesservice`,
//!            `systemnamespaces`, `clusterauthenticationtrust`)

use std::{sync::Weak, time::Duration};

use futures::{StreamExt, stream};
use serde_json::Value;

use super::{cluster, objects, reconcile};
use crate::{
    aggregation, object,
    status::Status,
    types::{State, UserInfo},
    verbs::{self, Target, WriteOptions},
};

/// How many are written at the same time: they share syncs of the store.
const PARALLEL: usize = 64;

/// How often one looks whether they are there.
const PERIOD: Duration = Duration::from_secs(10);

/// Creates what is missing, brings back what was taken from the others. Returns what could not be written.
pub async fn bootstrap(state: &State) -> Vec<Value> {
    let published =
        [aggregation::authentication(&state.pki), cluster::cluster_info(&state.config, state.pki.ca_pem())];
    let failed = write_all(state, objects(&state.config).into_iter().chain(published).collect()).await;
    for (wanted, error) in &failed {
        let (kind, name) = (wanted["kind"].as_str().unwrap_or_default(), object::name(wanted));
        tracing::warn!(kind, name, error, "a bootstrap object cannot be written; it is tried again");
    }
    wanted(failed)
}

/// Keeps the objects that pods and nodes need, and writes those that are `missing`, as long as the server lives.
pub async fn run(state: Weak<State>, mut missing: Vec<Value>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(state) = state.upgrade() else { return };
        let kept = cluster::namespaces().into_iter().chain(cluster::kubernetes_service(&state.config));
        let kept = kept.chain([aggregation::authentication(&state.pki)]).collect();
        write_all(&state, kept).await;
        missing = wanted(write_all(&state, missing).await);
    }
}

fn wanted(failed: Vec<(Value, String)>) -> Vec<Value> {
    failed.into_iter().map(|(wanted, _)| wanted).collect()
}

/// Namespaces first. Returns what failed, and why.
async fn write_all(state: &State, objects: Vec<Value>) -> Vec<(Value, String)> {
    let (namespaces, others): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|object| object["kind"] == "Namespace");
    let mut failed = Vec::new();
    for batch in [namespaces, others] {
        let writes = stream::iter(batch).map(|wanted| async {
            let error = ensure(state, &wanted).await.err()?.message;
            let (kind, name) = (wanted["kind"].as_str().unwrap_or_default(), object::name(&wanted));
            tracing::debug!(kind, name, error, "a bootstrap object cannot be written");
            Some((wanted, error))
        });
        failed.extend(
            writes.buffer_unordered(PARALLEL).filter_map(std::future::ready).collect::<Vec<_>>().await,
        );
    }
    failed
}

async fn ensure(state: &State, wanted: &Value) -> Result<(), Status> {
    let text = |field: &str| wanted[field].as_str().unwrap_or_default();
    let served =
        state.resources.find_kind(text("apiVersion"), text("kind")).ok_or_else(Status::unknown_path)?;
    let target = Target::new(served, object::meta_str(wanted, "namespace"), object::name(wanted));
    let (user, options) = (UserInfo::apiserver(), WriteOptions::default());
    let Some(existing) = state.reader.get(&target.key()) else {
        return verbs::create(state, &user, &target, wanted.clone(), &options).await.map(drop);
    };
    match reconcile(&verbs::decode(&existing)?, wanted) {
        Some(next) => verbs::update(state, &user, &target, next, &options).await.map(drop),
        None => Ok(()),
    }
}
