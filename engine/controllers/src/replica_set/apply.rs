//! The writes of a ReplicaSet's pass: create and delete Pods, adopt and release them.

use std::sync::Arc;

use coracle_client::{
    Api, EventRecorder, EventType, api_message, is_namespace_terminating, is_reason, object_reference,
};
use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client,
    api::{DeleteParams, PostParams, Preconditions},
};

use super::{
    plan::{Plan, slow_start},
    status::Failure,
};
use crate::{error::ControllerError, freshness::Freshness, key::ObjectKey, ownership};

/// Requests at a time: the store commits what is waiting as one group.
const PARALLEL: usize = 16;

pub struct Writes<'a> {
    pub client: &'a Client,
    pub events: &'a EventRecorder,
    pub freshness: &'a Freshness,
    pub key: &'a ObjectKey,
    pub set: &'a ReplicaSet,
}

impl Writes<'_> {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }

    pub async fn apply(&self, plan: Plan) -> Result<(), Failure> {
        match plan {
            Plan::Nothing => Ok(()),
            Plan::Create { count } => self.create(count).await,
            Plan::Delete { pods } => self.delete(pods).await,
        }
    }

    /// In growing batches; stops at the first batch with a failure. Nobody misses the pods of a namespace that is being
    /// deleted.
    async fn create(&self, count: usize) -> Result<(), Failure> {
        for batch in slow_start(count) {
            let created = stream::iter(0..batch).map(|_| self.create_one()).buffer_unordered(PARALLEL);
            let failures: Vec<_> = created.filter_map(|result| async { result.err() }).collect().await;
            match failures.first() {
                None => {}
                Some(error) if is_namespace_terminating(error) => return Ok(()),
                Some(error) => return Err(Failure { reason: "FailedCreate", message: api_message(error) }),
            }
        }
        Ok(())
    }

    async fn create_one(&self) -> Result<(), kube::Error> {
        match self.pods().create(&PostParams::default(), &pod_of(self.set)).await {
            Ok(pod) => {
                self.freshness.wrote(self.key, pod.metadata.resource_version.as_deref());
                let name = pod.metadata.name.unwrap_or_default();
                self.record(EventType::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(error) => {
                if !is_namespace_terminating(&error) {
                    let message = format!("Error creating: {}", api_message(&error));
                    self.record(EventType::Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, pods: Vec<Arc<Pod>>) -> Result<(), Failure> {
        let deleted = stream::iter(pods).map(|pod| self.delete_one(pod)).buffer_unordered(PARALLEL);
        let failures: Vec<Failure> = deleted.filter_map(|result| async { result.err() }).collect().await;
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    async fn delete_one(&self, pod: Arc<Pod>) -> Result<(), Failure> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..Default::default() };
        match self.pods().delete(name, &params).await {
            Ok(answer) => {
                if let Some(pod) = answer {
                    self.freshness.wrote(self.key, pod.metadata.resource_version.as_deref());
                }
                self.record(EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) if is_reason(&error, "NotFound") || is_reason(&error, "Conflict") => Ok(()),
            Err(error) => {
                let message = api_message(&error);
                self.record(EventType::Warning, "FailedDelete", format!("Error deleting: {message}"));
                Err(Failure { reason: "FailedDelete", message })
            }
        }
    }

    /// Makes this ReplicaSet the controller of a pod that has none.
    pub async fn adopt(&self, pod: &Pod) -> Result<(), ControllerError> {
        let pod = ownership::adopt(&self.pods(), pod, self.set).await?;
        self.note(pod);
        Ok(())
    }

    /// Gives up a pod whose labels no longer match.
    pub async fn release(&self, pod: &Pod) -> Result<(), ControllerError> {
        let pod = ownership::release(&self.pods(), pod, self.set).await?;
        self.note(pod);
        Ok(())
    }

    fn note(&self, pod: Option<Pod>) {
        if let Some(pod) = pod {
            self.freshness.wrote(self.key, pod.metadata.resource_version.as_deref());
        }
    }

    fn record(&self, kind: EventType, reason: &str, message: String) {
        self.events.event(&object_reference(self.set), kind, reason, message);
    }
}

/// A new pod as the template says.
fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![ownership::reference(set)]),
            ..Default::default()
        },
        spec: template.spec,
        status: None,
    }
}
