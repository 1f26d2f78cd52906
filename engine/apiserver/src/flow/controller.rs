//! Follows FlowSchemas and PriorityLevelConfigurations: takes changes over, says which FlowSchemas dangle, brings back
//! what is mandatory at once and what is suggested within a minute.
//!
//! Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#maintenance-of-the-mandatory-and-suggested-configuration-objects

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use coracle_kinds::Kind;
use coracle_store::{Resource, Scope, WatchError};
use futures::future::join_all;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    bootstrap::flow_control,
    object,
    options::WriteOptions,
    registry::store_resource,
    status::Status,
    types::{State, UserInfo},
    verbs::{
        self, Target,
        update::{Changed, modify},
    },
};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// How often suggested objects are looked after, as on a stock server.
const PERIOD: Duration = Duration::from_secs(60);
const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

fn resource(plural: &str) -> Resource {
    store_resource(GROUP, plural)
}

fn all<K: Kind>(state: &State, plural: &str) -> Vec<Arc<K>> {
    let snapshot = state.reader.snapshot();
    let scope = Scope::all(resource(plural));
    snapshot.list(&scope).filter_map(|object| object.decode().ok()).collect()
}

/// Takes over what the store holds now, and writes what it lacks.
pub async fn pass(state: &State) {
    let levels: Vec<Arc<PriorityLevelConfiguration>> = all(state, "prioritylevelconfigurations");
    state.flow.configure(&all(state, "flowschemas"), &levels);
    settle(state, &levels).await;
}

/// Brings back suggested objects that were deleted, and the specs of those that follow this server. What is as it should
/// be is not written: webhooks are not asked for nothing, nor waited for.
pub async fn maintain(state: &State) {
    let suggested = flow_control::objects().into_iter().filter(|object| !flow_control::is_mandatory(object));
    join_all(suggested.map(|wanted| keep(state, wanted))).await;
}

async fn keep(state: &State, mut wanted: Value) {
    let Some(target) = target_of(state, &wanted) else { return };
    let Some(existing) = state.reader.get(&target.key()) else {
        return restore(state, &target, wanted).await;
    };
    if let Some(schema) = &target.served.schema {
        schema.default(&mut wanted);
    }
    let differs = |old: &Value| flow_control::is_maintained(old) && old["spec"] != wanted["spec"];
    if !verbs::decode(&existing).is_ok_and(|old| differs(&old)) {
        return;
    }
    let change = |old: &Value| {
        let mut next = old.clone();
        if differs(old) {
            next["spec"] = wanted["spec"].clone();
        }
        Ok(Changed::Patched(next.into()))
    };
    let options = WriteOptions::default();
    report(&target.name, modify(state, &UserInfo::apiserver(), &target, &options, change).await.map(drop));
}

fn target_of(state: &State, object: &Value) -> Option<Target> {
    let served = state.resources.find_kind(API_VERSION, object["kind"].as_str().unwrap_or_default())?;
    Some(Target::new(served, "", object::name(object)))
}

async fn restore(state: &State, target: &Target, wanted: Value) {
    let options = WriteOptions::default();
    let created = verbs::create(state, &UserInfo::apiserver(), target, wanted, &options).await;
    report(&target.name, created.map(drop));
}

/// Follows the store until the server stops.
pub async fn run(state: Weak<State>) {
    let mut next_look = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
    loop {
        let Some(strong) = state.upgrade() else { return };
        let watch = |plural: &str| strong.reader.list_watch(Scope::all(resource(plural))).1;
        let (mut schemas, mut levels) = (watch("flowschemas"), watch("prioritylevelconfigurations"));
        loop {
            let Some(strong) = state.upgrade() else { return };
            pass(&strong).await;
            let stop = strong.stop.clone();
            drop(strong);
            let event = tokio::select! {
                () = stop.cancelled() => return,
                _ = next_look.tick() => {
                    let Some(strong) = state.upgrade() else { return };
                    maintain(&strong).await;
                    continue;
                }
                event = schemas.next() => event,
                event = levels.next() => event,
            };
            match event {
                // One pass for all that is there.
                Ok(_) => {
                    while matches!(schemas.try_next(), Ok(Some(_))) {}
                    while matches!(levels.try_next(), Ok(Some(_))) {}
                }
                Err(WatchError::Compacted(_)) => break,
                Err(WatchError::Closed) => return,
            }
        }
    }
}

/// Writes what is missing; what fails is tried again with the next change.
async fn settle(state: &State, levels: &[Arc<PriorityLevelConfiguration>]) {
    let missing = flow_control::mandatory().filter_map(|wanted| {
        let target = target_of(state, &wanted)?;
        state.reader.get(&target.key()).is_none().then_some((target, wanted))
    });
    join_all(missing.map(|(target, wanted)| async move { restore(state, &target, wanted).await })).await;
    let mut writes = Vec::new();
    for schema in all::<FlowSchema>(state, "flowschemas") {
        let (Some(name), Some(spec)) = (schema.metadata.name.as_deref(), &schema.spec) else { continue };
        let level = &spec.priority_level_configuration.name;
        let exists = levels.iter().any(|own| own.metadata.name.as_ref() == Some(level));
        let wanted = if exists { "False" } else { "True" };
        let conditions = schema.status.as_ref().and_then(|status| status.conditions.as_ref());
        let said = conditions.into_iter().flatten().any(|condition| {
            condition.type_.as_deref() == Some("Dangling") && condition.status.as_deref() == Some(wanted)
        });
        if !said {
            let (name, level) = (name.to_owned(), level.clone());
            writes.push(async move { report(&name, say(state, &name, &level, exists).await) });
        }
    }
    // Together they share syncs of the store.
    join_all(writes).await;
}

fn report(name: &str, result: Result<(), Status>) {
    // Gone or made in between is what was wanted, or will be looked at again.
    if let Err(error) =
        result.or_else(|error| if matches!(error.code, 404 | 409) { Ok(()) } else { Err(error) })
    {
        tracing::warn!(name, %error, "flow control object not written");
    }
}

async fn say(state: &State, name: &str, level: &str, exists: bool) -> Result<(), Status> {
    let served = state.resources.find_kind(API_VERSION, "FlowSchema").ok_or_else(Status::unknown_path)?;
    let mut target = Target::new(served, "", name);
    target.subresource = "status".into();
    let (status, reason, end) = if exists {
        ("False", "Found", "and it exists")
    } else {
        ("True", "NotFound", "but there is no such object")
    };
    let condition = json!({
        "type": "Dangling",
        "status": status,
        "lastTransitionTime": object::now(),
        "reason": reason,
        "message": format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {} {end}",
            crate::status::quote(level)
        ),
    });
    let change = |old: &Value| {
        let mut next = old.clone();
        let mut conditions: Vec<Value> = old["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|own| own["type"] != "Dangling");
        conditions.push(condition.clone());
        next["status"]["conditions"] = conditions.into();
        Ok(Changed::Patched(next.into()))
    };
    modify(state, &UserInfo::apiserver(), &target, &WriteOptions::default(), change).await.map(drop)
}
