//! Posts core/v1 Events as stock components do.
//!
//! Callers hand an Event to a bounded queue and go on; one task per recorder posts them. The task ends when the last
//! clone of the recorder is dropped and the queue is empty.
//! Writes:    Event create, and patches of `count`, `lastTimestamp` and `message` for repeats.
//! Invariant: never blocks or fails its caller; what the queue cannot hold is dropped.
//! Source:    https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/

mod correlate;

use std::time::Duration;

use correlate::{Correlator, Post, Seen};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{Api, api_message, is_reason};

/// As many as client-go's broadcaster holds.
const QUEUED_EVENTS: usize = 1000;
/// Attempts before an Event is given up because the API does not answer.
const ATTEMPTS: u32 = 4;

/// Posts core/v1 Events as stock components do: equal ones are counted (`count`, `lastTimestamp`), bursts are limited.
/// Never blocks or fails its caller.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Happening>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// What a caller saw, and when.
struct Happening {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

impl EventRecorder {
    /// `component` is the Event's `source.component`, e.g. `kubelet`; `host` its `source.host`.
    /// Must be called inside a tokio runtime.
    pub fn new(client: Client, component: &str, host: Option<&str>) -> EventRecorder {
        let (queue, happenings) = mpsc::channel(QUEUED_EVENTS);
        let source = EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) };
        tokio::spawn(Poster { client, source, correlator: Correlator::default() }.run(happenings));
        EventRecorder { queue }
    }

    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: String) {
        let happening = Happening {
            about: about.clone(),
            kind,
            reason: reason.to_owned(),
            message,
            at: Timestamp::now(),
        };
        if self.queue.try_send(happening).is_err() {
            tracing::debug!(reason, "event dropped: the queue is full or closed");
        }
    }
}

struct Poster {
    client: Client,
    source: EventSource,
    correlator: Correlator,
}

impl Poster {
    async fn run(mut self, mut happenings: mpsc::Receiver<Happening>) {
        while let Some(happening) = happenings.recv().await {
            if let Some(post) = self.correlator.observe(&happening) {
                self.deliver(&happening, post).await;
            }
        }
    }

    async fn deliver(&mut self, happening: &Happening, post: Post) {
        for attempt in 0..ATTEMPTS {
            match self.send(happening, &post).await {
                Ok(seen) => return self.correlator.posted(post.key, seen),
                Err(error @ kube::Error::Api(_)) => {
                    tracing::debug!(reason = happening.reason, error = api_message(&error), "event refused");
                    return;
                }
                Err(error) if attempt + 1 == ATTEMPTS => {
                    tracing::debug!(reason = happening.reason, error = api_message(&error), "event given up");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(250 << attempt)).await,
            }
        }
    }

    async fn send(&self, happening: &Happening, post: &Post) -> Result<Seen, kube::Error> {
        let namespace =
            happening.about.namespace.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(name) = &post.repeats {
            let patch = json!({
                "count": post.count, "lastTimestamp": Time(happening.at), "message": post.message,
            });
            match events.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => return Ok(Seen { name: name.clone(), first: post.first, count: post.count }),
                Err(error) if is_reason(&error, "NotFound") => {}
                Err(error) => return Err(error),
            }
        }
        let event = self.build(happening, post, namespace);
        events.create(&PostParams::default(), &event).await?;
        let name = event.metadata.name.unwrap_or_default();
        Ok(Seen { name, first: post.first, count: post.count })
    }

    fn build(&self, happening: &Happening, post: &Post, namespace: &str) -> Event {
        let about = happening.about.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{about}.{:016x}", happening.at.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..Default::default()
            },
            involved_object: happening.about.clone(),
            reason: Some(happening.reason.clone()),
            message: Some(post.message.clone()),
            type_: Some(happening.kind.as_str().to_owned()),
            first_timestamp: Some(Time(post.first)),
            last_timestamp: Some(Time(happening.at)),
            count: Some(post.count),
            reporting_component: self.source.component.clone(),
            reporting_instance: Some(self.source.host.clone().unwrap_or_default()),
            source: Some(self.source.clone()),
            ..Default::default()
        }
    }
}
