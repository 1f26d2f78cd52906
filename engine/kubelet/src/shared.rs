//! What every pod worker works with, and the table through which exec, attach and logs find a pod's containers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use coracle_client::{EventRecorder, EventType};
use coracle_kinds::Kind;
use coracle_runtime::{Runtime, images::ImageStore};
use coracle_store::{Key, Reader, Resource, Scope};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Pod, Secret, Service};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::bookings::Bookings;
use crate::env::Sources;
use crate::node::capacity::Capacity;
use crate::{Config, PodNetwork};

pub struct Shared {
    pub config: Config,
    pub store: Reader,
    pub client: kube::Client,
    pub runtime: Runtime,
    pub images: ImageStore,
    pub network: Arc<dyn PodNetwork>,
    pub events: EventRecorder,
    pub capacity: Capacity,
    pub views: RwLock<HashMap<String, Arc<PodView>>>,
    /// Admission and booking are one step under this lock.
    pub bookings: Mutex<Bookings>,
    /// The processor shares of QoS classes as they were written.
    pub class_shares: tokio::sync::Mutex<HashMap<&'static str, u64>>,
}

/// What others may know of a pod. Replaced as a whole by its worker.
#[derive(Clone, Debug, Default)]
pub struct PodView {
    pub namespace: String,
    pub name: String,
    pub containers: HashMap<String, ContainerView>,
}

#[derive(Clone, Debug, Default)]
pub struct ContainerView {
    pub running: Option<String>,
    /// Which attempts' logs there are.
    pub current_attempt: Option<u32>,
    pub previous_attempt: Option<u32>,
    pub waiting_reason: Option<String>,
    /// Set when the current attempt has ended.
    pub ended: CancellationToken,
}

pub struct StoreSources(pub Reader);

impl StoreSources {
    fn get<K: Kind>(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = Key { resource: Resource(resource.into()), namespace: namespace.into(), name: name.into() };
        self.0.get(&key)?.decode::<K>().ok()
    }
}

impl Sources for StoreSources {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.get("configmaps", namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.get("secrets", namespace, name)
    }

    fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        let scope =
            Scope { resource: Resource("services".into()), namespace: Some(namespace.into()), name: None };
        self.0.snapshot().list(&scope).filter_map(|object| object.decode::<Service>().ok()).collect()
    }
}

/// The pod, or with a container's name that part of it, as an Event's `involvedObject`.
pub fn reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let field_path = container.map(|name| {
        let init =
            pod.spec.as_ref().is_some_and(|s| s.init_containers.iter().flatten().any(|c| c.name == name));
        format!("spec.{}{{{name}}}", if init { "initContainers" } else { "containers" })
    });
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}

impl Shared {
    pub fn event(&self, pod: &Pod, container: Option<&str>, kind: EventType, reason: &str, message: String) {
        self.events.event(&reference(pod, container), kind, reason, message);
    }

    pub fn normal(&self, pod: &Pod, container: Option<&str>, reason: &str, message: String) {
        self.event(pod, container, EventType::Normal, reason, message);
    }

    pub fn warning(&self, pod: &Pod, container: Option<&str>, reason: &str, message: String) {
        self.event(pod, container, EventType::Warning, reason, message);
    }

    pub fn node_ip(&self) -> IpAddr {
        self.config.node_ip
    }

    /// `<log_dir>/<ns>_<pod>_<uid>`
    pub fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> std::path::PathBuf {
        self.config.log_dir.join(format!("{namespace}_{name}_{uid}"))
    }
}
