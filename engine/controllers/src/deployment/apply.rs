//! The writes of a Deployment's pass.

use coracle_client::{
    Api, EventRecorder, EventType, api_message, is_namespace_terminating, is_reason, object_reference,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    plan::{Change, Plan},
    sets, status,
};
use crate::{
    error::{ControllerError, absent_is_fine},
    freshness::Freshness,
    key::ObjectKey,
};

pub struct Writes<'a> {
    pub client: &'a Client,
    pub events: &'a EventRecorder,
    pub freshness: &'a Freshness,
    pub key: &'a ObjectKey,
    pub deployment: &'a Deployment,
}

impl Writes<'_> {
    pub fn sets(&self) -> Api<ReplicaSet> {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }

    /// The status is written in any case; the first failure is returned after it.
    pub async fn apply(&self, mut plan: Plan, now: Timestamp) -> Result<(), ControllerError> {
        let mut result = Ok(());
        if let Some(set) = plan.create.take() {
            result = self.create(&set, &mut plan, now).await;
        }
        for change in &plan.changes {
            result = result.and(self.change(change).await);
        }
        for name in &plan.delete {
            result = result.and(self.delete(name).await);
        }
        let mut deployment = self.deployment.clone();
        if let Some(revision) = &plan.revision {
            match self.show_revision(revision).await {
                Ok(changed) => deployment = changed,
                Err(error) => return result.and(Err(error)),
            }
        }
        result.and(self.write_status(deployment, plan.status).await)
    }

    async fn create(&self, set: &ReplicaSet, plan: &mut Plan, now: Timestamp) -> Result<(), ControllerError> {
        let name = set.metadata.name.clone().unwrap_or_default();
        match self.sets().create(&PostParams::default(), set).await {
            Ok(created) => {
                self.freshness.wrote(self.key, created.metadata.resource_version.as_deref());
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                if replicas > 0 {
                    self.record_scaling("up", &name, 0, replicas);
                }
                Ok(())
            }
            Err(error) if is_reason(&error, "AlreadyExists") => self.met_existing(&name, plan).await,
            Err(error) => {
                let text = api_message(&error);
                if !is_namespace_terminating(&error) {
                    let message = format!("Failed to create new replica set \"{name}\": {text}");
                    let verdict = status::Verdict {
                        kind: status::PROGRESSING,
                        status: "False",
                        reason: "ReplicaSetCreateError",
                        message: message.clone(),
                    };
                    if status::deadline(self.deployment).is_some() {
                        status::set(plan.status.conditions.get_or_insert_default(), verdict, now);
                    }
                    let about = object_reference(self.deployment);
                    self.events.event(&about, EventType::Warning, "ReplicaSetCreateError", message);
                }
                Err(ControllerError::api("create", "ReplicaSet", name)(error))
            }
        }
    }

    /// The name is taken: by our own set, which the next pass sees, or by a foreign one, whose name the next pass avoids.
    async fn met_existing(&self, name: &str, plan: &mut Plan) -> Result<(), ControllerError> {
        let existing = absent_is_fine(self.sets().get(name).await).map_err(ControllerError::api(
            "get",
            "ReplicaSet",
            name,
        ))?;
        let Some(existing) = existing else { return Ok(()) };
        let uid = self.deployment.metadata.uid.as_deref();
        let controller =
            existing.metadata.owner_references.iter().flatten().find(|it| it.controller == Some(true));
        let ours = controller.is_some_and(|owner| Some(owner.uid.as_str()) == uid);
        let template = self.deployment.spec.as_ref().map(|spec| &spec.template);
        if ours && template.is_some_and(|template| sets::same_template(&existing, template)) {
            self.freshness.wrote(self.key, existing.metadata.resource_version.as_deref());
            return Ok(());
        }
        let collisions = plan.status.collision_count.unwrap_or(0) + 1;
        plan.status.collision_count = Some(collisions);
        tracing::debug!(deployment = %self.key, replica_set = name, collisions, "hash collision");
        Ok(())
    }

    async fn change(&self, change: &Change) -> Result<(), ControllerError> {
        let mut patch = json!({});
        if !change.annotations.is_empty() {
            patch["metadata"] = json!({ "annotations": change.annotations });
        }
        if let Some((_, size)) = change.replicas {
            patch["spec"]["replicas"] = size.into();
        }
        if let Some(seconds) = change.min_ready_seconds {
            patch["spec"]["minReadySeconds"] = seconds.into();
        }
        let changed = self
            .sets()
            .patch(&change.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(ControllerError::api("change", "ReplicaSet", &change.name))?;
        self.freshness.wrote(self.key, changed.metadata.resource_version.as_deref());
        if let Some((from, to)) = change.replicas {
            self.record_scaling(if to > from { "up" } else { "down" }, &change.name, from, to);
        }
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), ControllerError> {
        absent_is_fine(self.sets().delete(name, &DeleteParams::default()).await)
            .map_err(ControllerError::api("delete", "ReplicaSet", name))?;
        Ok(())
    }

    /// The Deployment as it is after its revision was written on it.
    async fn show_revision(&self, revision: &str) -> Result<Deployment, ControllerError> {
        let mut deployment = self.deployment.clone();
        let annotations = deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(sets::REVISION.to_owned(), revision.to_owned());
        let changed = self
            .deployments()
            .replace(&self.key.name, &PostParams::default(), &deployment)
            .await
            .map_err(ControllerError::api("annotate", "Deployment", self.key.to_string()))?;
        self.freshness.wrote(self.key, changed.metadata.resource_version.as_deref());
        Ok(changed)
    }

    async fn write_status(
        &self,
        deployment: Deployment,
        new: DeploymentStatus,
    ) -> Result<(), ControllerError> {
        if deployment.status.as_ref() == Some(&new) {
            return Ok(());
        }
        let object = Deployment { status: Some(new), ..deployment };
        let written = self
            .deployments()
            .replace_status(&self.key.name, &PostParams::default(), &object)
            .await
            .map_err(ControllerError::api("write status of", "Deployment", self.key.to_string()))?;
        self.freshness.wrote(self.key, written.metadata.resource_version.as_deref());
        Ok(())
    }

    fn record_scaling(&self, direction: &str, name: &str, from: i32, to: i32) {
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.events.event(
            &object_reference(self.deployment),
            EventType::Normal,
            "ScalingReplicaSet",
            message,
        );
    }
}
