//! Tells the owner of an Ingress which of its annotations have no effect here.
//!
//! Writes:    Events on Ingresses.
//! Invariant: one Event for each change of what is ignored.

use std::{collections::HashMap, sync::Arc};

use coracle_client::{EventRecorder, EventType, object_reference};
use k8s_openapi::api::networking::v1::Ingress;

use crate::annotations::Annotations;

/// What was said last, by uid.
#[derive(Default)]
pub struct Notices(HashMap<String, Vec<String>>);

impl Notices {
    pub fn post(&mut self, served: &[Arc<Ingress>], events: &EventRecorder) {
        for (ingress, ignored) in self.changed(served) {
            let message = format!("these annotations have no effect: {}", ignored.join(", "));
            events.event(&object_reference(ingress), EventType::Warning, "AnnotationIgnored", message);
        }
    }

    /// Those with something new to say.
    fn changed<'a>(&mut self, served: &'a [Arc<Ingress>]) -> Vec<(&'a Ingress, Vec<String>)> {
        let mut said = HashMap::new();
        let mut changed = Vec::new();
        for ingress in served {
            let annotations = ingress.metadata.annotations.as_ref();
            let ignored = annotations.map(Annotations::read).unwrap_or_default().ignored;
            if ignored.is_empty() {
                continue;
            }
            let uid = ingress.metadata.uid.clone().unwrap_or_default();
            if self.0.get(&uid) != Some(&ignored) {
                changed.push((ingress.as_ref(), ignored.clone()));
            }
            said.insert(uid, ignored);
        }
        self.0 = said;
        changed
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
            let served = ingress(annotation);
            notices.changed(&served).into_iter().flat_map(|(_, ignored)| ignored).collect::<Vec<_>>()
        };
        assert_eq!(told("use-regex"), ["nginx.ingress.kubernetes.io/use-regex"]);
        assert!(told("use-regex").is_empty());
        assert_eq!(told("app-root").len(), 1);
        assert!(told("proxy-buffer-size").is_empty());
        assert_eq!(told("app-root").len(), 1);
    }
}
