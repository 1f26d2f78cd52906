//! Says of ServiceCIDRs that addresses are given from them, and keeps those whose addresses are in use.
//!
//! Reads:     ServiceCIDRs, IPAddresses.
//! Writes:    ServiceCIDR `metadata.finalizers`, `status.conditions`.
//! Invariant: one that is being deleted stays while it alone holds an address of a Service, and for as long as a Service
//!            may still be on its way that was given one.
//! Source:    https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/

use std::{net::IpAddr, sync::Arc, time::Duration};

use coracle_client::Api;
use coracle_store::{Object, Reader};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::ServiceCIDR,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{Client, api::PostParams};

use crate::{
    error::{ControllerError, absent_is_fine},
    guard,
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const RANGES: &str = "servicecidrs.networking.k8s.io";
const ADDRESSES: &str = "ipaddresses.networking.k8s.io";
const GUARD: &str = "networking.k8s.io/service-cidr-finalizer";
/// From the deletion on; requests that read the range as good end within it.
const GRACE: Duration = Duration::from_secs(10);

pub struct ServiceCidrController {
    reader: Reader,
    client: Client,
}

impl ServiceCidrController {
    pub fn new(reader: Reader, client: Client) -> ServiceCidrController {
        ServiceCidrController { reader, client }
    }

    /// Whether an address of a Service is in this range and in no other that stays.
    fn is_needed(&self, name: &str, own: &[IpNet]) -> bool {
        let snapshot = self.reader.snapshot();
        let others: Vec<IpNet> = snapshot
            .list(&read::scope(RANGES, None))
            .filter(|object| &*object.key.name != name && object.meta.deletion_timestamp.is_none())
            .filter_map(|object| object.decode::<ServiceCIDR>().ok())
            .flat_map(|range| networks(&range))
            .collect();
        let addresses = read::scope(ADDRESSES, None);
        let mut addresses =
            snapshot.list(&addresses).filter_map(|object| object.key.name.parse::<IpAddr>().ok());
        addresses.any(|address| {
            let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
            is_in(own) && !is_in(&others)
        })
    }

    async fn write(
        &self,
        key: &ObjectKey,
        range: &ServiceCIDR,
        (status, reason, message): Ready,
    ) -> Result<(), ControllerError> {
        let mut object = range.clone();
        let conditions = object.status.get_or_insert_default().conditions.get_or_insert_default();
        let is_same = |it: &Condition| it.status == status && it.reason == reason && it.message == message;
        if conditions.iter().any(|it| it.type_ == READY && is_same(it)) {
            return Ok(());
        }
        conditions.retain(|it| it.type_ != READY);
        conditions.push(Condition {
            type_: READY.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(Timestamp::now()),
            observed_generation: None,
        });
        let api: Api<ServiceCIDR> = Api::all(self.client.clone());
        absent_is_fine(api.replace_status(&key.name, &PostParams::default(), &object).await)
            .map_err(ControllerError::api("write status of", "ServiceCIDR", key.to_string()))?;
        Ok(())
    }
}

const READY: &str = "Ready";
/// Status, reason and message of the condition Ready.
type Ready = (&'static str, &'static str, &'static str);

const GOOD: Ready = ("True", "", "Kubernetes Service CIDR is ready");
const IN_USE: Ready = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
);
const NO_IPV4: Ready = ("False", "NotSupported", "This server gives IPv4 addresses to Services only");

fn networks(range: &ServiceCIDR) -> Vec<IpNet> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
    cidrs.into_iter().flatten().filter_map(|cidr| cidr.parse().ok()).collect()
}

impl Controller for ServiceCidrController {
    type Key = ObjectKey;
    const NAME: &'static str = "service-cidr-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        // An address that went, or another range that came, may let a range go.
        let all = |reader: Reader| {
            move |_: &coracle_store::Event| -> Vec<ObjectKey> {
                let snapshot = reader.snapshot();
                let goes = |object: &&Arc<Object>| object.meta.deletion_timestamp.is_some();
                let scope = read::scope(RANGES, None);
                snapshot.list(&scope).filter(goes).map(|object| ObjectKey::of(&object.key)).collect()
            }
        };
        vec![
            Source::primary(RANGES),
            Source::new(RANGES, all(self.reader.clone())),
            Source::new(ADDRESSES, all(self.reader.clone())),
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(object) = self.reader.get(&key.in_resource(RANGES)) else { return Ok(Requeue::OnChange) };
        let range: Arc<ServiceCIDR> = read::decode("ServiceCIDR", &object)?;
        let own = networks(&range);
        let deleted = range.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let in_use = deleted.is_some() && self.is_needed(&key.name, &own);
        if in_use {
            self.write(key, &range, IN_USE).await?;
            return Ok(Requeue::OnChange);
        }
        let age = deleted.map(|time| Timestamp::now().duration_since(time).unsigned_abs());
        if let Some(left) = age.and_then(|age| GRACE.checked_sub(age)).filter(|left| !left.is_zero()) {
            return Ok(Requeue::After(left));
        }
        if let Some(finalizers) = guard::plan(&object, GUARD, || false) {
            let api: Api<ServiceCIDR> = Api::all(self.client.clone());
            guard::write(api, &object, "ServiceCIDR", finalizers).await?;
            return Ok(Requeue::OnChange);
        }
        if deleted.is_none() {
            let has_ipv4 = own.iter().any(|network| matches!(network, IpNet::V4(_)));
            self.write(key, &range, if has_ipv4 { GOOD } else { NO_IPV4 }).await?;
        }
        Ok(Requeue::OnChange)
    }
}
