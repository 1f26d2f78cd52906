//! Keeps an IPAddress for every cluster address that a Service holds.
//!
//! Reads:     Services, IPAddresses.
//! Writes:    IPAddress create and delete.
//! Invariant: only addresses labelled as managed by the allocator are deleted; which address a Service gets is the API
//!            server's to say, these objects follow.
//! Source:    https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects

use coracle_store::{Object, Reader};
use k8s_openapi::{
    api::{
        core::v1::Service,
        networking::v1::{IPAddress, IPAddressSpec, ParentReference},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const RESOURCE: &str = "ipaddresses.networking.k8s.io";
const FAMILY_LABEL: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_LABEL: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

pub struct IpAddressController {
    reader: Reader,
    client: Client,
}

impl IpAddressController {
    pub fn new(reader: Reader, client: Client) -> IpAddressController {
        IpAddressController { reader, client }
    }

    /// The Service that holds the address.
    fn holder(&self, address: &str) -> Option<ObjectKey> {
        let snapshot = self.reader.snapshot();
        let scope = read::scope("services", None);
        let holds = |object: &&std::sync::Arc<Object>| addresses(object).iter().any(|own| own == address);
        snapshot.list(&scope).find(holds).map(|object| ObjectKey::of(&object.key))
    }
}

/// The cluster addresses of a Service; none of what is no Service.
fn addresses(service: &Object) -> Vec<String> {
    let Ok(service) = service.decode::<Service>() else { return Vec::new() };
    let addresses = service.spec.as_ref().and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
    addresses.into_iter().filter(|address| address.parse::<std::net::IpAddr>().is_ok()).collect()
}

fn keys(service: &Object) -> Vec<ObjectKey> {
    addresses(service).iter().map(|address| ObjectKey::new("", address)).collect()
}

fn wanted(address: &str, holder: &ObjectKey) -> IPAddress {
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    IPAddress {
        metadata: ObjectMeta {
            name: Some(address.to_owned()),
            labels: Some([pair((FAMILY_LABEL, family)), pair(MANAGED_LABEL)].into()),
            ..Default::default()
        },
        spec: IPAddressSpec {
            parent_ref: ParentReference {
                group: None,
                resource: "services".to_owned(),
                namespace: Some(holder.namespace.to_string()),
                name: holder.name.to_string(),
            },
        },
    }
}

impl Controller for IpAddressController {
    type Key = ObjectKey;
    const NAME: &'static str = "ip-address-controller";

    fn sources(&self) -> Vec<Source> {
        let of_service = Source::new("services", |event| {
            let before = event.previous.as_ref().map(|previous| keys(previous)).unwrap_or_default();
            keys(&event.object).into_iter().chain(before).collect()
        });
        vec![of_service, Source::primary(RESOURCE)]
    }

    /// A Service's deletion may have been missed.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, RESOURCE)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let api: Api<IPAddress> = Api::all(self.client.clone());
        let existing = read::get::<IPAddress>(&self.reader, RESOURCE, "IPAddress", key)?;
        let holder = self.holder(&key.name);
        let wanted = holder.map(|holder| wanted(&key.name, &holder));
        if let Some(existing) = existing {
            let labels = existing.metadata.labels.as_ref();
            let ours = labels
                .is_some_and(|labels| labels.get(MANAGED_LABEL.0).is_some_and(|by| by == MANAGED_LABEL.1));
            let right = wanted.as_ref().is_some_and(|wanted| wanted.spec == existing.spec);
            if right || !ours {
                return Ok(Requeue::OnChange);
            }
            // Its parent cannot be changed: it is made anew.
            absent_is_fine(api.delete(&key.name, &DeleteParams::default()).await)
                .map_err(ControllerError::api("delete", "IPAddress", key.to_string()))?;
        }
        let Some(wanted) = wanted else { return Ok(Requeue::OnChange) };
        match api.create(&PostParams::default(), &wanted).await {
            Err(error) if !coracle_client::is_reason(&error, "AlreadyExists") => {
                Err(ControllerError::api("create", "IPAddress", key.to_string())(error))
            }
            _ => Ok(Requeue::OnChange),
        }
    }
}
