//! Keeps a ServiceAccount `default` in every namespace.
//!
//! Reads:     Namespaces, ServiceAccounts.
//! Writes:    ServiceAccount create.
//! Invariant: nothing is created in a namespace that is being deleted.
//! Source:    https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts

use coracle_client::Api;
use coracle_store::{Event, EventKind, Reader};
use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, api::PostParams};

use crate::{
    error::ControllerError,
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const NAME: &str = "default";

pub struct ServiceAccountController {
    reader: Reader,
    client: Client,
}

impl ServiceAccountController {
    pub fn new(reader: Reader, client: Client) -> ServiceAccountController {
        ServiceAccountController { reader, client }
    }
}

/// The namespace of a deleted object of this name.
pub fn namespace_of_deleted(name: &'static str) -> impl Fn(&Event) -> Vec<ObjectKey> {
    move |event| {
        let deleted = event.kind == EventKind::Deleted && *event.object.key.name == *name;
        if deleted { vec![ObjectKey::new("", &event.object.key.namespace)] } else { Vec::new() }
    }
}

/// Namespaces matter when they come; what they become later does not.
pub fn new_namespaces() -> Source {
    Source::new("namespaces", |event| {
        if event.kind == EventKind::Added { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
    })
}

/// Does the namespace exist, and is it there to stay?
pub fn is_active(reader: &Reader, namespace: &ObjectKey) -> bool {
    reader.get(&namespace.in_resource("namespaces")).is_some_and(|it| it.meta.deletion_timestamp.is_none())
}

impl Controller for ServiceAccountController {
    type Key = ObjectKey;
    const NAME: &'static str = "service-account-controller";

    fn sources(&self) -> Vec<Source> {
        vec![new_namespaces(), Source::new("serviceaccounts", namespace_of_deleted(NAME))]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, "namespaces")
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let wanted = ObjectKey { namespace: key.name.clone(), name: NAME.into() };
        if !is_active(&self.reader, key) || self.reader.get(&wanted.in_resource("serviceaccounts")).is_some()
        {
            return Ok(Requeue::OnChange);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(key.name.to_string()),
                ..Default::default()
            },
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &key.name);
        match accounts.create(&PostParams::default(), &account).await {
            Err(error) if !coracle_client::is_reason(&error, "AlreadyExists") => {
                Err(ControllerError::api("create", "ServiceAccount", wanted.to_string())(error))
            }
            _ => Ok(Requeue::OnChange),
        }
    }
}
