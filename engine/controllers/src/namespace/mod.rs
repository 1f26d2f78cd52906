//! Empties a namespace that is being deleted, then lets it go.
//!
//! Reads:     Namespaces; the metadata of everything in a terminating one, also of what other servers hold.
//! Writes:    deletecollection of every resource with content; Namespace `status` and `finalize`.
//! Invariant: the finalizer `kubernetes` goes only once the store shows no content and every other server said the same.
//! Source:    https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/

mod plan;
mod remote;

use std::time::Duration;

use coracle_client::{Api, api_message};
use coracle_store::{Event, EventKind, Reader, Resource, Scope};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Client,
    api::{DeleteParams, ListParams, PostParams},
};
use plan::{Refused, Remaining};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    kinds::Kinds,
    read,
    runner::{Controller, Requeue, Source},
};

const FINALIZER: &str = "kubernetes";
/// While content is going. Pods bring the namespace back earlier; only a terminating one is looked at again.
const RETRY: Duration = Duration::from_millis(500);
/// Likewise, while other servers are asked every time.
const RETRY_REMOTE: Duration = Duration::from_secs(2);

pub struct NamespaceController {
    reader: Reader,
    client: Client,
    kinds: Kinds,
}

impl NamespaceController {
    pub fn new(reader: Reader, client: Client) -> NamespaceController {
        NamespaceController { kinds: Kinds::new(reader.clone()), reader, client }
    }

    fn remaining(&self, namespace: &str) -> Remaining {
        let snapshot = self.reader.snapshot();
        let mut remaining = Remaining::default();
        for (resource, _) in snapshot.resources() {
            let scope = Scope { resource: resource.clone(), namespace: Some(namespace.into()), name: None };
            for object in snapshot.list(&scope) {
                remaining.add(&resource.0, object.meta.finalizers.iter());
            }
        }
        remaining
    }

    /// Asks for the end of everything that is left; the texts of what was refused.
    async fn delete_content(&self, namespace: &str, remaining: &Remaining) -> Vec<String> {
        let mut failures = Vec::new();
        for resource in remaining.deletable() {
            let Some(kind) =
                self.kinds.of_resource(&Resource(resource.into())).filter(|kind| kind.namespaced)
            else {
                failures.push(format!("resource `{resource}` is not served"));
                continue;
            };
            let api = kind.api(&self.client, namespace);
            let deleted = api.delete_collection(&DeleteParams::background(), &ListParams::default()).await;
            if let Err(error) = absent_is_fine(deleted) {
                failures.push(api_message(&error));
            }
        }
        failures
    }

    async fn write_status(
        &self,
        namespace: &Namespace,
        remaining: &Remaining,
        refused: &Refused,
    ) -> Result<(), ControllerError> {
        let new = plan::status(namespace.status.as_ref(), remaining, refused, Timestamp::now());
        if namespace.status.as_ref() == Some(&new) {
            return Ok(());
        }
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let object = Namespace { status: Some(new), ..namespace.clone() };
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        absent_is_fine(namespaces.replace_status(name, &PostParams::default(), &object).await)
            .map_err(ControllerError::api("write status of", "Namespace", name))?;
        Ok(())
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), ControllerError> {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let mut object = namespace.clone();
        if let Some(finalizers) = object.spec.get_or_insert_default().finalizers.as_mut() {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let failed = |source| ControllerError::api("finalize", "Namespace", name)(source);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        absent_is_fine(
            namespaces.replace_subresource("finalize", name, &PostParams::default(), &object).await,
        )
        .map_err(failed)?;
        Ok(())
    }
}

impl Controller for NamespaceController {
    type Key = ObjectKey;
    const NAME: &'static str = "namespace-controller";
    const WORKERS: usize = 4;

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        let namespace_of_ended_pod = move |event: &Event| {
            let key = ObjectKey::new("", &event.object.key.namespace);
            let going = || {
                reader
                    .get(&key.in_resource("namespaces"))
                    .is_some_and(|it| it.meta.deletion_timestamp.is_some())
            };
            if event.kind == EventKind::Deleted && going() { vec![key.clone()] } else { Vec::new() }
        };
        vec![Source::primary("namespaces"), Source::new("pods", namespace_of_ended_pod)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let namespace = read::get::<Namespace>(&self.reader, "namespaces", "Namespace", key)?;
        let Some(namespace) = namespace.filter(|it| it.metadata.deletion_timestamp.is_some()) else {
            return Ok(Requeue::OnChange);
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        if finalizers.is_none_or(|all| !all.iter().any(|finalizer| finalizer == FINALIZER)) {
            return Ok(Requeue::OnChange);
        }
        let mut refused = Refused::default();
        let mut remaining = self.remaining(&key.name);
        // Most content goes at once: what is left after a few rounds waits for pods or finalizers.
        for _ in 0..4 {
            if remaining.resources.is_empty() {
                break;
            }
            refused.content = self.delete_content(&key.name, &remaining).await;
            let before = std::mem::replace(&mut remaining, self.remaining(&key.name));
            if remaining == before {
                break;
            }
        }
        if remaining.resources.is_empty() {
            refused.content.clear();
        }
        let remotes = remote::all(&self.reader);
        if !remaining.has_pods() {
            remote::empty(&self.client, &remotes, &key.name, &mut remaining, &mut refused).await;
        }
        if remaining.resources.is_empty() && refused == Refused::default() {
            if namespace.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty()) {
                // It stays for others: they see that nothing of it is left.
                self.write_status(&namespace, &remaining, &refused).await?;
            }
            self.finalize(&namespace).await?;
            return Ok(Requeue::OnChange);
        }
        self.write_status(&namespace, &remaining, &refused).await?;
        Ok(Requeue::After(if remotes.is_empty() || remaining.has_pods() { RETRY } else { RETRY_REMOTE }))
    }
}
