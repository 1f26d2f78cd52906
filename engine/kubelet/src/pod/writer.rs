//! Writes a pod's status, one request at a time: what changes meanwhile goes into the next.
//!
//! Invariant: nothing is sent while the status stays the same; a failed write is tried again later and later.

use std::sync::Arc;

use coracle_client::Api;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};

use super::status;
use crate::clock::Millis;
use crate::shared::Shared;

const FIRST_RETRY_MS: Millis = 200;
const LAST_RETRY_MS: Millis = 10_000;

/// How a request to the API server ended.
#[derive(Debug)]
pub enum Written {
    Done,
    /// The object is gone, or another one has its name.
    Gone,
    Failed(String),
}

pub struct StatusWriter {
    /// What the API server has.
    pub written: PodStatus,
    in_flight: Option<PodStatus>,
    failures: u32,
    pub retry_at: Millis,
}

impl StatusWriter {
    pub fn new(pod: &Pod) -> StatusWriter {
        let written = pod.status.clone().unwrap_or_default();
        StatusWriter { written, in_flight: None, failures: 0, retry_at: 0 }
    }

    /// The patch to send now, if there is one.
    pub fn next(&mut self, uid: &str, wanted: &PodStatus, now: Millis) -> Option<serde_json::Value> {
        if self.in_flight.is_some() || self.retry_at > now {
            return None;
        }
        let patch = status::patch(uid, &self.written, wanted)?;
        self.in_flight = Some(wanted.clone());
        Some(patch)
    }

    pub fn clean(&self, wanted: &PodStatus) -> bool {
        self.in_flight.is_none() && status::patch("", &self.written, wanted).is_none()
    }

    pub fn finished(&mut self, outcome: &Written, now: Millis) {
        let sent = self.in_flight.take();
        match (outcome, sent) {
            (Written::Done | Written::Gone, Some(sent)) => {
                self.written = sent;
                (self.failures, self.retry_at) = (0, 0);
            }
            _ => {
                self.failures += 1;
                self.retry_at = now + retry_after(self.failures);
            }
        }
    }
}

pub fn retry_after(failures: u32) -> Millis {
    (FIRST_RETRY_MS << failures.saturating_sub(1).min(10)).min(LAST_RETRY_MS)
}

fn outcome<T>(result: Result<T, kube::Error>) -> Written {
    match result {
        Ok(_) => Written::Done,
        Err(kube::Error::Api(status)) if status.code == 404 => Written::Gone,
        // The uid does not match: the object was replaced by another of its name.
        Err(kube::Error::Api(status)) if status.code == 409 && status.message.contains("UID") => {
            Written::Gone
        }
        Err(error) => Written::Failed(crate::api_message(&error)),
    }
}

fn api(shared: &Shared, pod: &Pod) -> Api<Pod> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Api::namespaced(shared.client.clone(), namespace)
}

pub async fn send(shared: Arc<Shared>, pod: Arc<Pod>, patch: serde_json::Value) -> Written {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    outcome(api(&shared, &pod).patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await)
}

/// Removes the object of a pod of which nothing is left on the node.
pub async fn delete(shared: Arc<Shared>, pod: Arc<Pod>) -> Written {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    outcome(api(&shared, &pod).delete(name, &params).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_at_a_time_and_none_without_a_change() {
        let mut writer = StatusWriter::new(&Pod::default());
        let status = |phase: &str| PodStatus { phase: Some(phase.into()), ..PodStatus::default() };
        assert!(writer.next("u", &PodStatus::default(), 0).is_none());
        assert!(writer.next("u", &status("Pending"), 0).is_some());
        assert!(writer.next("u", &status("Running"), 0).is_none());
        writer.finished(&Written::Done, 0);
        assert!(writer.clean(&status("Pending")) && writer.next("u", &status("Pending"), 0).is_none());
        assert!(writer.next("u", &status("Running"), 0).is_some());
        writer.finished(&Written::Failed("x".into()), 1000);
        assert!(writer.next("u", &status("Running"), 1100).is_none());
        assert!(writer.next("u", &status("Running"), 1200).is_some());
    }
}
