//! Has every object of a resource written anew in the version that is stored now, once, for each StorageVersionMigration.
//!
//! Reads:     StorageVersionMigrations; the objects of their resources; CustomResourceDefinitions.
//! Writes:    an empty server-side apply to each object, which the API server encodes anew; the migration's `status`.
//! Invariant: a migration that succeeded has no object left in another version; what was changed or deleted meanwhile
//!            is in the stored version already, or gone.
//! Source:    https://kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/ and
//!            https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/storageversionmigrator

use std::{sync::Arc, time::Duration};

use coracle_client::is_reason;
use coracle_store::{Object, Reader, Resource};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    kinds::{Kind, Kinds},
    read,
    runner::{Controller, Requeue, Source},
};

const RESOURCE: &str = "storageversionmigrations.storagemigration.k8s.io";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// How long a resource may be on its way after its migration was asked for.
const PATIENCE_SECONDS: i64 = 60;
/// When the API server has not seen a definition's new storage version yet.
const AGAIN: Duration = Duration::from_secs(1);

pub struct StorageVersionMigrator {
    reader: Reader,
    client: Client,
    kinds: Kinds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Running,
    Succeeded,
    Failed,
}

impl Outcome {
    /// The condition's type and reason.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Outcome::Running => ("Running", "StorageVersionMigrationInProgress"),
            Outcome::Succeeded => ("Succeeded", "StorageVersionMigrationSucceeded"),
            Outcome::Failed => ("Failed", "StorageVersionMigrationFailed"),
        }
    }
}

impl StorageVersionMigrator {
    pub fn new(reader: Reader, client: Client) -> StorageVersionMigrator {
        StorageVersionMigrator { kinds: Kinds::new(reader.clone()), reader, client }
    }

    async fn migrate(&self, kind: &Kind, object: &Object) -> Result<(), kube::Error> {
        let mut patch = json!({ "apiVersion": kind.api.api_version, "kind": kind.api.kind });
        // Against what was read: never makes an object, and leaves alone what came in its place.
        patch["metadata"] =
            json!({ "uid": &*object.meta.uid, "resourceVersion": object.revision.0.to_string() });
        let api = kind.api(&self.client, &object.key.namespace);
        let params = PatchParams::apply(Self::NAME);
        match api.patch_metadata(&object.key.name, &params, &Patch::Apply(&patch)).await {
            Err(error) if is_reason(&error, "Conflict") || is_reason(&error, "NotFound") => Ok(()),
            result => result.map(drop),
        }
    }

    /// The `apiVersion` in which objects shall be; `None` for built-in resources, which are stored in one version only.
    fn storage_version(&self, resource: &Resource) -> Option<String> {
        let definition = self.reader.get(&ObjectKey::new("", &resource.0).in_resource(DEFINITIONS))?;
        let definition = definition.decode::<CustomResourceDefinition>().ok()?;
        let version = definition.spec.versions.iter().find(|version| version.storage)?;
        Some(format!("{}/{}", definition.spec.group, version.name))
    }

    fn left(&self, resource: &Resource, wanted: Option<&str>) -> Vec<Arc<Object>> {
        let snapshot = self.reader.snapshot();
        let scope = read::scope(&resource.0, None);
        let other = |object: &&Arc<Object>| wanted.is_none() || api_version(object).as_deref() != wanted;
        snapshot.list(&scope).filter(other).cloned().collect()
    }

    /// Returns the migration as it is then; `None` when it is gone.
    async fn set(
        &self,
        migration: &Value,
        outcome: Outcome,
        message: &str,
    ) -> Result<Option<Value>, ControllerError> {
        let status = status(migration, outcome, message, self.reader.revision().0, Timestamp::now());
        let name = text(&migration["metadata"]["name"]);
        let Some(kind) = self.kinds.of_resource(&Resource(RESOURCE.into())) else { return Ok(None) };
        let patch = json!({
            "metadata": { "resourceVersion": migration["metadata"]["resourceVersion"] }, "status": status,
        });
        let api = kind.api(&self.client, "");
        let written: Option<DynamicObject> =
            absent_is_fine(api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await)
                .map_err(ControllerError::api("update status of", "StorageVersionMigration", name))?;
        Ok(written.and_then(|object| serde_json::to_value(object).ok()))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn api_version(object: &Object) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        api_version: String,
    }
    serde_json::from_slice::<Typed>(&object.json).ok().map(|typed| typed.api_version)
}

fn holds(migration: &Value, kind: &str) -> bool {
    let conditions = migration["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
}

/// `status` with one more condition that holds; `revision` stays what it was at first.
fn status(migration: &Value, outcome: Outcome, message: &str, revision: u64, now: Timestamp) -> Value {
    let (kind, reason) = outcome.words();
    let now = json!(format!("{now:.0}"));
    let mut conditions = migration["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != kind);
    for running in conditions.iter_mut().filter(|condition| condition["type"] == "Running") {
        running["status"] = "False".into();
        running["lastTransitionTime"] = now.clone();
    }
    conditions.push(json!({
        "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now,
    }));
    let first = text(&migration["status"]["resourceVersion"]);
    let revision = if first.is_empty() { revision.to_string() } else { first.to_owned() };
    json!({ "conditions": conditions, "resourceVersion": revision })
}

/// Seconds that a resource may still be on its way.
fn patience(migration: &Value, now: Timestamp) -> u64 {
    let created: Option<Timestamp> = text(&migration["metadata"]["creationTimestamp"]).parse().ok();
    let left = created.map_or(0, |at| at.as_second() + PATIENCE_SECONDS - now.as_second());
    u64::try_from(left).unwrap_or_default()
}

impl Controller for StorageVersionMigrator {
    type Key = ObjectKey;
    const NAME: &'static str = "storage-version-migrator-controller";

    fn sources(&self) -> Vec<Source> {
        vec![Source::primary(RESOURCE)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let found = read::get::<Value>(&self.reader, RESOURCE, "StorageVersionMigration", key)?;
        let Some(mut migration) = found.map(|found| (*found).clone()) else { return Ok(Requeue::OnChange) };
        if holds(&migration, "Succeeded") || holds(&migration, "Failed") {
            return Ok(Requeue::OnChange);
        }
        let of = &migration["spec"]["resource"];
        let resource = match (text(&of["resource"]), text(&of["group"])) {
            (plural, "") => Resource(plural.into()),
            (plural, group) => Resource(format!("{plural}.{group}").into()),
        };
        let Some(kind) = self.kinds.of_resource(&resource).filter(|kind| kind.stored) else {
            let left = patience(&migration, Timestamp::now());
            if left > 0 {
                return Ok(Requeue::After(Duration::from_secs(left.min(5))));
            }
            self.set(&migration, Outcome::Failed, "resource not found").await?;
            return Ok(Requeue::OnChange);
        };
        if !holds(&migration, "Running") {
            match self.set(&migration, Outcome::Running, "").await? {
                Some(running) => migration = running,
                None => return Ok(Requeue::OnChange),
            }
        }
        let wanted = self.storage_version(&resource);
        for object in self.left(&resource, wanted.as_deref()) {
            if let Err(error) = self.migrate(&kind, &object).await {
                let why = coracle_client::api_message(&error);
                tracing::warn!(object = object.key.to_string(), error = why, "object cannot be migrated");
                self.set(&migration, Outcome::Failed, "migration encountered unhandled error").await?;
                return Ok(Requeue::OnChange);
            }
        }
        if wanted.is_some() && !self.left(&resource, wanted.as_deref()).is_empty() {
            return Ok(Requeue::After(AGAIN));
        }
        self.set(&migration, Outcome::Succeeded, "").await?;
        Ok(Requeue::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_runs_and_then_ends_at_its_first_revision() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let running = status(&json!({}), Outcome::Running, "", 7, at(0));
        assert_eq!(running["resourceVersion"], "7");
        let done = status(&json!({ "status": running }), Outcome::Succeeded, "", 9, at(5));
        let seen: Vec<String> = done["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                format!(
                    "{} {} {}",
                    text(&one["type"]),
                    text(&one["status"]),
                    text(&one["lastTransitionTime"])
                )
            })
            .collect();
        assert_eq!(
            (text(&done["resourceVersion"]), seen.join(", ").as_str()),
            ("7", "Running False 1970-01-01T00:00:05Z, Succeeded True 1970-01-01T00:00:05Z")
        );
    }

    #[test]
    fn an_absent_resource_is_waited_for_a_minute() {
        let migration = json!({ "metadata": { "creationTimestamp": "1970-01-01T00:00:10Z" } });
        let left = |second| patience(&migration, Timestamp::from_second(second).unwrap());
        assert_eq!((left(10), left(69), left(70), left(100)), (60, 1, 0, 0));
    }
}
