//! What the scheduler writes: bindings, why a pod waits, and the end of pods that have to give way.

use coracle_client::{Api, EventRecorder, EventType, api_message, is_reason, object_reference};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, PersistentVolumeClaim, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Map, Value, json};

use crate::cluster::nominated;

/// The annotation that tells a provisioner where a claim's volume is needed.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{verb} pod `{namespace}/{name}`")]
    Pod { verb: &'static str, namespace: String, name: String, source: Box<kube::Error> },
}

impl WriteError {
    /// The pod or the binding is no longer what it was: nothing to report.
    pub fn is_outdated(&self) -> bool {
        let WriteError::Pod { source, .. } = self;
        is_reason(source, "NotFound") || is_reason(source, "Conflict")
    }

    pub fn chain(&self) -> String {
        let WriteError::Pod { source, .. } = self;
        format!("{self}: {}", api_message(source))
    }
}

pub struct Writes {
    pub client: Client,
    pub events: EventRecorder,
}

impl Writes {
    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }

    pub async fn bind(&self, pod: &Pod, node: &str) -> Result<(), WriteError> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..Default::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..Default::default()
            },
        };
        self.pods(pod)
            .create_subresource("binding", &name, &PostParams::default(), &binding)
            .await
            .map_err(|source| failed("bind", pod, source))?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let message = format!("Successfully assigned {namespace}/{name} to {node}");
        self.events.event(&object_reference(pod), EventType::Normal, "Scheduled", message);
        Ok(())
    }

    /// Says on the pod why it waits, and as an Event. Unless it keeps its place, it is nominated for none any more.
    pub async fn report(
        &self,
        pod: &Pod,
        reason: &str,
        message: &str,
        keeps_place: bool,
    ) -> Result<(), WriteError> {
        let about = object_reference(pod);
        self.events.event(&about, EventType::Warning, "FailedScheduling", message.to_owned());
        let mut status = Map::new();
        if let Some(condition) = changed_condition(pod, reason, message, Timestamp::now()) {
            status.insert("conditions".to_owned(), json!([condition]));
        }
        if !keeps_place && nominated(pod).is_some() {
            status.insert("nominatedNodeName".to_owned(), Value::Null);
        }
        if status.is_empty() { Ok(()) } else { self.patch_status(pod, Value::Object(status)).await }
    }

    pub async fn nominate(&self, pod: &Pod, node: &str) -> Result<(), WriteError> {
        self.patch_status(pod, json!({ "nominatedNodeName": node })).await
    }

    async fn patch_status(&self, pod: &Pod, status: Value) -> Result<(), WriteError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.metadata.uid }, "status": status }));
        match self.pods(pod).patch_status(name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(()),
            Err(source) => Err(failed("write status of", pod, source)),
        }
    }

    /// Ends `victim` gracefully, for the sake of `preemptor`.
    pub async fn evict(&self, victim: &Pod, preemptor: &Pod, node: &str) -> Result<(), WriteError> {
        let condition = PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("PreemptionByScheduler".to_owned()),
            message: Some("default-scheduler: preempting to accommodate a higher priority pod".to_owned()),
            last_transition_time: Some(Time(Timestamp::now())),
            ..Default::default()
        };
        self.patch_status(victim, json!({ "conditions": [condition] })).await?;
        let name = victim.metadata.name.as_deref().unwrap_or_default();
        self.pods(victim)
            .delete(name, &DeleteParams::default())
            .await
            .map_err(|source| failed("evict", victim, source))?;
        let uid = preemptor.metadata.uid.as_deref().unwrap_or_default();
        let message = format!("Preempted by pod {uid} on node {node}");
        self.events.event(&object_reference(victim), EventType::Normal, "Preempted", message);
        Ok(())
    }

    /// Asks for the volume of a claim to be made where the pod will run.
    pub async fn select_node(&self, claim: &PersistentVolumeClaim, node: &str) -> Result<(), kube::Error> {
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({ "metadata": { "annotations": { SELECTED_NODE: node } } });
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        claims.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }
}

fn failed(verb: &'static str, pod: &Pod, source: kube::Error) -> WriteError {
    WriteError::Pod {
        verb,
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        source: Box::new(source),
    }
}

/// `PodScheduled=False`; `None` when the pod says so already.
pub fn changed_condition(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Option<PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let before = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    let same = |it: &&PodCondition| {
        it.status == "False" && it.reason.as_deref() == Some(reason) && it.message.as_deref() == Some(message)
    };
    if before.filter(same).is_some() {
        return None;
    }
    let since = before
        .filter(|before| before.status == "False")
        .and_then(|before| before.last_transition_time.clone());
    Some(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.or(Some(Time(now))),
        observed_generation: pod.metadata.generation,
        ..Default::default()
    })
}
