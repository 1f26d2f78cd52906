//! Keeps `status` of every ResourceQuota: what it allows, and what its namespace uses of it.
//!
//! Reads:     ResourceQuotas; everything that they count, custom resources too.
//! Writes:    ResourceQuota `status`.
//! Invariant: admission does not depend on it: what is written here is for people to read.
//! Source:    https://kubernetes.io/docs/concepts/policy/resource-quotas/ and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/resourcequota/resource_quota_controller.go

use std::{collections::HashMap, sync::Arc, time::Duration};

use coracle_client::{Api, patch_status};
use coracle_quota::{Amounts, Quota, Usage, is_uniform};
use coracle_store::{Event, EventKind, Reader, Snapshot};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::Client;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    kinds, read,
    runner::{Controller, Requeue, Source},
};

const QUOTAS: &str = "resourcequotas";
/// As upstream (`resource-quota-sync-period`): by then a status that somebody else wrote is corrected.
const RESYNC: Duration = Duration::from_secs(5 * 60);

pub struct ResourceQuotaController {
    reader: Reader,
    client: Client,
    /// By namespace, while it has quotas.
    usages: Mutex<HashMap<Arc<str>, Usage>>,
}

impl ResourceQuotaController {
    pub fn new(reader: Reader, client: Client) -> ResourceQuotaController {
        ResourceQuotaController { reader, client, usages: Mutex::default() }
    }

    /// A change of something that is counted concerns the quotas of its namespace. Where there are none it costs a look.
    fn counted(&self, resource: &str) -> Source {
        let reader = self.reader.clone();
        let by_number = is_uniform(resource);
        Source::new(resource, move |event| {
            if event.kind == EventKind::Modified && by_number {
                return Vec::new();
            }
            quotas_of(&reader.snapshot(), &event.object.key.namespace)
        })
    }

    fn used(&self, key: &ObjectKey, quota: &Quota) -> Amounts {
        let snapshot = self.reader.snapshot();
        let mut usages = self.usages.lock();
        let usage = usages.entry(key.namespace.clone()).or_default();
        usage.read(&snapshot, &key.namespace, quota.resources(), &[]);
        usage.used(quota, &[], Timestamp::now())
    }
}

fn quotas_of(snapshot: &Snapshot, namespace: &str) -> Vec<ObjectKey> {
    let scope = read::scope(QUOTAS, Some(namespace));
    snapshot.list(&scope).map(|object| ObjectKey::of(&object.key)).collect()
}

/// What is wanted of a quota has changed, or it came or went. Its status is written here, or by a person whose word
/// stands until the next pass.
fn wanted_changed(event: &Event) -> bool {
    let spec = |json: &[u8]| -> Option<Value> {
        serde_json::from_slice::<Value>(json).ok().map(|mut quota| quota["spec"].take())
    };
    let before = event.previous.as_ref().map(|object| spec(&object.json));
    event.kind != EventKind::Modified || before != Some(spec(&event.object.json))
}

fn quantities(amounts: &Amounts) -> std::collections::BTreeMap<String, Quantity> {
    amounts.iter().map(|(name, amount)| (name.to_owned(), Quantity(amount.to_string()))).collect()
}

impl Controller for ResourceQuotaController {
    type Key = ObjectKey;
    const NAME: &'static str = "resourcequota-controller";

    fn sources(&self) -> Vec<Source> {
        let own = Source::new(QUOTAS, |event| {
            if wanted_changed(event) { vec![ObjectKey::of(&event.object.key)] } else { Vec::new() }
        });
        let builtin = kinds::builtin();
        let counted = builtin.iter().filter(|kind| kind.stored && kind.namespaced);
        counted.map(|kind| self.counted(&kind.resource().0)).chain([own]).collect()
    }

    const CUSTOM: bool = true;

    fn custom_source(&self, resource: &str) -> Option<Source> {
        Some(self.counted(resource))
    }

    /// A deletion may have been missed: count anew.
    fn relisted(&self) -> Vec<ObjectKey> {
        read::all_keys(&self.reader, QUOTAS)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(object) = self.reader.get(&key.in_resource(QUOTAS)) else {
            if quotas_of(&self.reader.snapshot(), &key.namespace).is_empty() {
                self.usages.lock().remove(&key.namespace);
            }
            return Ok(Requeue::OnChange);
        };
        let typed: Arc<ResourceQuota> = read::decode("ResourceQuota", &object)?;
        let value: Value = serde_json::from_slice(&object.json)
            .map_err(|source| ControllerError::Decode { kind: "ResourceQuota", key: key.clone(), source })?;
        let quota = Quota::of(&value);
        let status = ResourceQuotaStatus {
            hard: Some(quantities(&quota.hard)),
            used: Some(quantities(&self.used(key, &quota))),
        };
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &key.namespace);
        absent_is_fine(patch_status(&quotas, &key.name, typed.status.as_ref(), &status).await)
            .map_err(ControllerError::api("write status of", "ResourceQuota", key.to_string()))?;
        Ok(Requeue::After(RESYNC))
    }
}
