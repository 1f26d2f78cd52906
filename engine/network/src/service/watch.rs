//! Keeps the rules equal to the store.
//!
//! Reads:     Services, EndpointSlices, ServiceCIDRs.
//! Writes:    [`Rules`].
//! Invariant: a Service is planned anew from the current state whenever it or one of its slices changes; what changes
//!            at the same time becomes one transaction.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use coracle_kinds::Kind;
use coracle_store::{EventKind, Key, Object, Reader, Resource, Scope, Watch};
use futures::FutureExt;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Owner, Plan, Rules, endpoints_of, plan_service, ranges, service_of_slice};
use crate::{NetworkError, links};

/// How often we look whether our table is still there: firewalls reload.
const CHECK_PERIOD: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// The service proxy.
pub struct Proxy {
    store: Reader,
    rules: Arc<Mutex<Rules>>,
    /// Names of the EndpointSlices of each Service.
    slices: HashMap<ServiceName, BTreeSet<Arc<str>>>,
    services_watch: Watch,
    slices_watch: Watch,
    ranges_watch: Watch,
}

pub(super) fn scope(resource: &str) -> Scope {
    Scope { resource: Resource(resource.into()), namespace: None, name: None }
}

pub const SERVICES: &str = "services";
pub const SLICES: &str = "endpointslices.discovery.k8s.io";
pub(super) const RANGES: &str = "servicecidrs.networking.k8s.io";

impl Proxy {
    /// Stages the plans of everything that is in the store now; the caller makes the table of it.
    pub fn build(store: Reader, rules: Arc<Mutex<Rules>>) -> Proxy {
        let (_, services_watch) = store.list_watch(scope(SERVICES));
        let (_, slices_watch) = store.list_watch(scope(SLICES));
        let (_, ranges_watch) = store.list_watch(scope(RANGES));
        let slices = HashMap::new();
        let mut proxy = Proxy { store, rules, slices, services_watch, slices_watch, ranges_watch };
        let plans = proxy.relist();
        proxy.set_ranges();
        proxy.rules.lock().stage(plans);
        proxy
    }

    /// Until `stop`. The rules stay.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut check = tokio::time::interval(CHECK_PERIOD);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut dirty = HashSet::new();
            let fell_behind = tokio::select! {
                () = stop.cancelled() => return,
                event = self.services_watch.next() => match event {
                    Ok(event) => { self.note_service(&event.object, &mut dirty); false }
                    Err(coracle_store::WatchError::Closed) => return,
                    Err(coracle_store::WatchError::Compacted(_)) => true,
                },
                event = self.slices_watch.next() => match event {
                    Ok(event) => { self.note_slice(&event, &mut dirty); false }
                    Err(coracle_store::WatchError::Closed) => return,
                    Err(coracle_store::WatchError::Compacted(_)) => true,
                },
                event = self.ranges_watch.next() => match event {
                    Ok(_) => { self.follow_ranges(); false }
                    Err(coracle_store::WatchError::Closed) => return,
                    Err(coracle_store::WatchError::Compacted(_)) => true,
                },
                _ = check.tick() => {
                    report(self.rules.lock().restore_if_lost());
                    continue;
                }
            };
            if fell_behind {
                self.restart_watches();
                continue;
            }
            while let Some(Ok(event)) = self.services_watch.next().now_or_never() {
                self.note_service(&event.object, &mut dirty);
            }
            while let Some(Ok(event)) = self.slices_watch.next().now_or_never() {
                self.note_slice(&event, &mut dirty);
            }
            let changes = dirty.into_iter().map(|name| (owner(&name), self.plan(&name))).collect();
            report(self.rules.lock().update(changes));
        }
    }

    fn restart_watches(&mut self) {
        (_, self.services_watch) = self.store.list_watch(scope(SERVICES));
        (_, self.slices_watch) = self.store.list_watch(scope(SLICES));
        (_, self.ranges_watch) = self.store.list_watch(scope(RANGES));
        self.follow_ranges();
        let mut changes = self.relist();
        let known: HashSet<Owner> = changes.iter().map(|(owner, _)| owner.clone()).collect();
        let mut rules = self.rules.lock();
        let gone =
            rules.owners().filter(|owner| matches!(owner, Owner::Service { .. }) && !known.contains(owner));
        changes.extend(gone.map(|owner| (owner.clone(), Plan::default())).collect::<Vec<_>>());
        report(rules.update(changes));
    }

    fn follow_ranges(&self) {
        if self.set_ranges() {
            report(self.rules.lock().replace_all());
        }
    }

    /// Whether they changed.
    fn set_ranges(&self) -> bool {
        let mut rules = self.rules.lock();
        let networks = ranges::further(&self.store, rules.environment());
        let changed = rules.set_more_services(networks);
        report(links::bridge::route_services(rules.environment()));
        changed
    }

    /// Plans of all Services; fills the index of slices.
    fn relist(&mut self) -> Vec<(Owner, Plan)> {
        let snapshot = self.store.snapshot();
        self.slices.clear();
        for object in snapshot.list(&scope(SLICES)) {
            if let Some(name) = service_name_of(object) {
                self.slices.entry(name).or_default().insert(object.key.name.clone());
            }
        }
        let names = snapshot.list(&scope(SERVICES)).map(|object| ServiceName {
            namespace: object.key.namespace.clone(),
            name: object.key.name.clone(),
        });
        names.map(|name| (owner(&name), self.plan(&name))).collect()
    }

    fn note_service(&self, object: &Object, dirty: &mut HashSet<ServiceName>) {
        let Key { namespace, name, .. } = object.key.clone();
        dirty.insert(ServiceName { namespace, name });
    }

    fn note_slice(&mut self, event: &coracle_store::Event, dirty: &mut HashSet<ServiceName>) {
        let slice = &event.object.key.name;
        // The label may have moved the slice to another Service.
        let before = event.previous.as_ref().and_then(|object| service_name_of(object));
        let after = service_name_of(&event.object).filter(|_| event.kind != EventKind::Deleted);
        if let Some(name) = before.or_else(|| service_name_of(&event.object)) {
            if let Some(slices) = self.slices.get_mut(&name) {
                slices.remove(slice);
                if slices.is_empty() {
                    self.slices.remove(&name);
                }
            }
            dirty.insert(name);
        }
        if let Some(name) = after {
            self.slices.entry(name.clone()).or_default().insert(slice.clone());
            dirty.insert(name);
        }
    }

    fn plan(&self, name: &ServiceName) -> Plan {
        let Some(service) = self.read::<Service>(SERVICES, name, &name.name) else { return Plan::default() };
        let names = self.slices.get(name).into_iter().flatten();
        let slices: Vec<Arc<EndpointSlice>> =
            names.filter_map(|slice| self.read(SLICES, name, slice)).collect();
        let env = self.rules.lock().environment().clone();
        plan_service(&service, &env, |port, protocol| {
            endpoints_of(slices.iter().map(|slice| &**slice), port, protocol)
        })
    }

    fn read<K>(&self, resource: &str, service: &ServiceName, name: &Arc<str>) -> Option<Arc<K>>
    where
        K: Kind,
    {
        let key = Key {
            resource: Resource(resource.into()),
            namespace: service.namespace.clone(),
            name: name.clone(),
        };
        let object = self.store.get(&key)?;
        object
            .decode()
            .inspect_err(
                |error| tracing::warn!(resource, name = &*object.key.name, %error, "object does not decode"),
            )
            .ok()
    }
}

fn owner(name: &ServiceName) -> Owner {
    Owner::Service { namespace: name.namespace.clone(), name: name.name.clone() }
}

fn service_name_of(slice: &Object) -> Option<ServiceName> {
    let name = service_of_slice(&slice.meta.labels)?;
    Some(ServiceName { namespace: slice.key.namespace.clone(), name: name.into() })
}

/// The table keeps its last good state; the next change, or the next check, tries again.
fn report(result: Result<(), NetworkError>) {
    if let Err(error) = result {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, cause, "service rules are out of date");
    }
}
