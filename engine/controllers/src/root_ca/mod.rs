//! Keeps the ConfigMap `kube-root-ca.crt` in every namespace, so that pods can check the API server's certificate.
//!
//! Reads:     Namespaces, ConfigMaps.
//! Writes:    ConfigMap create and update.
//! Invariant: its `ca.crt` is the cluster's certificate authority, whatever users write into it.
//! Source:    https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken

use coracle_client::Api;
use coracle_store::Reader;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, api::PostParams};

use crate::{
    error::ControllerError,
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
    service_account::{is_active, new_namespaces},
};

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

pub struct RootCaController {
    reader: Reader,
    client: Client,
    ca_pem: String,
}

impl RootCaController {
    pub fn new(reader: Reader, client: Client, ca_pem: String) -> RootCaController {
        RootCaController { reader, client, ca_pem }
    }

    fn wanted(&self, namespace: &str) -> ConfigMap {
        let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(namespace.to_owned()),
                annotations: Some(pair(DESCRIPTION.0, DESCRIPTION.1)),
                ..Default::default()
            },
            data: Some(pair("ca.crt", &self.ca_pem)),
            ..Default::default()
        }
    }
}

impl Controller for RootCaController {
    type Key = ObjectKey;
    const NAME: &'static str = "root-ca-certificate-publisher-controller";

    fn sources(&self) -> Vec<Source> {
        let of_map = Source::new("configmaps", |event| {
            let ours = *event.object.key.name == *NAME;
            if ours { vec![ObjectKey::new("", &event.object.key.namespace)] } else { Vec::new() }
        });
        vec![new_namespaces(), of_map]
    }

    /// A deletion may have been missed: look at everything.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, "namespaces")
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        if !is_active(&self.reader, key) {
            return Ok(Requeue::OnChange);
        }
        let name = ObjectKey { namespace: key.name.clone(), name: NAME.into() };
        let wanted = self.wanted(&key.name);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.name);
        let written = match read::get::<ConfigMap>(&self.reader, "configmaps", "ConfigMap", &name)? {
            None => maps.create(&PostParams::default(), &wanted).await,
            Some(existing) if existing.data == wanted.data => return Ok(Requeue::OnChange),
            Some(existing) => {
                let mut map = ConfigMap::clone(&existing);
                map.data = wanted.data;
                let annotation = (DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
                map.metadata.annotations.get_or_insert_default().extend([annotation]);
                maps.replace(NAME, &PostParams::default(), &map).await
            }
        };
        match written {
            Err(error) if !coracle_client::is_reason(&error, "AlreadyExists") => {
                Err(ControllerError::api("write", "ConfigMap", name.to_string())(error))
            }
            _ => Ok(Requeue::OnChange),
        }
    }
}
