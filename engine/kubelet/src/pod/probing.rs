//! The probe tasks of one pod: started with a container, ended with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::EventType;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::worker::Message;
use crate::probes::{self, Attempt, Kind, Report, Target};
use crate::shared::Shared;

#[derive(Default)]
pub struct Probing {
    tasks: JoinSet<()>,
    running: HashMap<String, Vec<(Kind, AbortHandle)>>,
}

impl Probing {
    pub fn start(
        &mut self,
        shared: &Arc<Shared>,
        pod: &Arc<Pod>,
        target: Target,
        kind: Kind,
        initial: Option<bool>,
        outbox: mpsc::UnboundedSender<Message>,
    ) {
        let name = target.container.name.clone();
        let (shared, pod, about) = (shared.clone(), pod.clone(), name.clone());
        let id = target.id.0.to_string();
        let task = async move {
            let report = |healthy: bool| {
                let report = Report { container: about.clone(), id: id.clone(), kind, healthy };
                // The worker ends its probes with itself, so nobody is there only while both end.
                let _ = outbox.send(Message::Probe(report));
            };
            let notice = |attempt: &Attempt| tell(&shared, &pod, &about, kind, attempt);
            probes::run(target, kind, initial, report, notice).await;
        };
        let handle = self.tasks.spawn(task);
        self.running.entry(name).or_default().push((kind, handle));
        while self.tasks.try_join_next().is_some() {}
    }

    /// Ends the container's probes of these kinds.
    pub fn end(&mut self, container: &str, kinds: &[Kind]) {
        if let Some(running) = self.running.get_mut(container) {
            running.retain(|(kind, handle)| {
                let ends = kinds.contains(kind);
                if ends {
                    handle.abort();
                }
                !ends
            });
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

fn tell(shared: &Shared, pod: &Pod, container: &str, kind: Kind, attempt: &Attempt) {
    let kind_text = kind.as_str();
    let (reason, message) = match attempt {
        Attempt::Success => return,
        Attempt::Warning(text) => ("ProbeWarning", format!("{kind_text} probe warning: {text}")),
        Attempt::Failure(text) => ("Unhealthy", format!("{kind_text} probe failed: {text}")),
        Attempt::Error(text) => {
            ("Unhealthy", format!("{kind_text} probe errored and resulted in unknown state: {text}"))
        }
    };
    shared.event(pod, Some(container), EventType::Warning, reason, message);
}

/// When probing of a container that has run since `started_ms_ago` began.
pub fn begun(started_ms_ago: i64) -> tokio::time::Instant {
    let ago = Duration::from_millis(u64::try_from(started_ms_ago).unwrap_or(0));
    tokio::time::Instant::now().checked_sub(ago).unwrap_or_else(tokio::time::Instant::now)
}
