//! Tells the owner of an Ingress what of it has no effect here: annotations, backends, certificates, paths.
//!
//! Reads:     Events, once: what was said before this process began is not said again.
//! Writes:    Events on Ingresses.
//! Invariant: one Event for each change of a problem; nothing about what lasts less than [`SETTLE`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use coracle_client::{EventRecorder, EventType, object_reference};
use k8s_openapi::api::{core::v1::Event, networking::v1::Ingress};
use kube::{Api, api::ListParams};
use tokio::sync::watch;

use crate::annotations::Annotations;

/// The `source.component` of Events, as ingress-nginx names itself.
const COMPONENT: &str = "nginx-ingress-controller";

/// An Ingress is often made a moment before its Service.
const SETTLE: Duration = Duration::from_secs(1);

/// Of the Ingress `uid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    pub uid: String,
    pub reason: &'static str,
    pub message: String,
}

pub fn uid_of(ingress: &Ingress) -> &str {
    ingress.metadata.uid.as_deref().unwrap_or_default()
}

/// The Ingresses served, and what is wrong with them.
pub type Told = (Vec<Arc<Ingress>>, Vec<Problem>);

/// Until the sender is gone.
pub async fn keep(client: &kube::Client, mut told: watch::Receiver<Told>) {
    let events = EventRecorder::new(client.clone(), COMPONENT, None);
    let mut notices = Notices::default();
    let mut earlier = None;
    while told.changed().await.is_ok() {
        tokio::time::sleep(SETTLE).await;
        let (served, mut problems) = told.borrow_and_update().clone();
        problems.extend(served.iter().filter_map(|ingress| ignored(ingress)));
        let new = notices.changed(problems);
        if new.is_empty() {
            continue;
        }
        if earlier.is_none() {
            earlier = Some(said(client).await);
        }
        let by_uid: HashMap<&str, &Ingress> =
            served.iter().map(|ingress| (uid_of(ingress), ingress.as_ref())).collect();
        for problem in new {
            let key = (problem.uid.clone(), problem.reason.to_string(), problem.message.clone());
            // Once: if it comes again, it is news.
            let repeats = earlier.as_mut().is_some_and(|earlier| earlier.remove(&key));
            if let Some(ingress) = by_uid.get(problem.uid.as_str()).filter(|_| !repeats) {
                let about = object_reference(*ingress);
                events.event(&about, EventType::Warning, problem.reason, problem.message);
            }
        }
    }
}

fn ignored(ingress: &Ingress) -> Option<Problem> {
    let Annotations { ignored, denies, .. } = Annotations::read(ingress.metadata.annotations.as_ref()?);
    let closed = if denies { "; who may come is not checked here, so requests are answered 503" } else { "" };
    let message = format!("these annotations have no effect: {}{closed}", ignored.join(", "));
    let uid = uid_of(ingress).to_string();
    (!ignored.is_empty()).then_some(Problem { uid, reason: "AnnotationIgnored", message })
}

/// By uid, reason and message; empty where it cannot be read.
async fn said(client: &kube::Client) -> HashSet<(String, String, String)> {
    let of_ingresses = ListParams::default().fields("involvedObject.kind=Ingress");
    let events = Api::<Event>::all(client.clone()).list(&of_ingresses).await;
    let ours = events.into_iter().flatten().filter(|event| {
        event.source.as_ref().and_then(|source| source.component.as_deref()) == Some(COMPONENT)
    });
    ours.map(|event| {
        let uid = event.involved_object.uid.unwrap_or_default();
        (uid, event.reason.unwrap_or_default(), event.message.unwrap_or_default())
    })
    .collect()
}

/// What was said last.
#[derive(Default)]
struct Notices(HashSet<Problem>);

impl Notices {
    /// Those that are new.
    fn changed(&mut self, problems: Vec<Problem>) -> Vec<Problem> {
        let mut now = HashSet::new();
        let mut new = Vec::new();
        for problem in problems {
            if now.insert(problem.clone()) && !self.0.contains(&problem) {
                new.push(problem);
            }
        }
        self.0 = now;
        new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(annotation: &str) -> Vec<Arc<Ingress>> {
        let key = format!("nginx.ingress.kubernetes.io/{annotation}");
        let metadata = json!({"name": "i", "namespace": "default", "uid": "1", "annotations": {key: "x"}});
        vec![Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())]
    }

    #[test]
    fn each_change_is_told_once() {
        let mut notices = Notices::default();
        let mut told = |annotation| {
            let problems = ingress(annotation).iter().filter_map(|ingress| ignored(ingress)).collect();
            notices.changed(problems).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(
            told("use-regex"),
            ["these annotations have no effect: nginx.ingress.kubernetes.io/use-regex"]
        );
        assert!(told("use-regex").is_empty());
        assert_eq!(told("app-root").len(), 1);
        assert!(told("proxy-buffer-size").is_empty());
        assert_eq!(told("app-root").len(), 1);
    }
}
