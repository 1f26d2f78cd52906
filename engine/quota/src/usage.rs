//! What the objects of one namespace use: read from the store, kept by revision, so that only what changed is read again.
//!
//! Invariant: after [`Usage::read`] the charges are those of the snapshot, no older, no newer.

use std::{collections::BTreeMap, sync::Arc};

use coracle_store::{Key, Object, Resource, Revision, Scope, Snapshot};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Amounts, Charge, Quota, charge};

/// An object on its way into the store.
#[derive(Clone, Debug)]
pub struct Pending {
    pub resource: String,
    pub name: String,
    pub uid: String,
    pub charge: Arc<Charge>,
}

impl Pending {
    pub fn is_stored(&self, snapshot: &Snapshot, namespace: &str) -> bool {
        let key = Key::new(Resource(self.resource.as_str().into()), namespace, &self.name);
        snapshot.get(&key).is_some_and(|object| *object.meta.uid == *self.uid)
    }
}

#[derive(Debug, Default)]
pub struct Usage {
    /// Of resources whose objects are charged alike: how many there are, pending ones included.
    counted: BTreeMap<String, i64>,
    /// Of the others: each object, in the order of names.
    measured: BTreeMap<String, Vec<Charged>>,
}

#[derive(Debug)]
struct Charged {
    name: Arc<str>,
    uid: Box<str>,
    revision: Revision,
    charge: Arc<Charge>,
}

impl Usage {
    /// Takes in what `resources` have in `namespace`, and what is `pending` there.
    pub fn read<'a>(
        &mut self,
        snapshot: &Snapshot,
        namespace: &str,
        resources: impl IntoIterator<Item = &'a str>,
        pending: &[Pending],
    ) {
        for resource in resources {
            let scope =
                Scope { resource: Resource(resource.into()), namespace: Some(namespace.into()), name: None };
            if charge::is_uniform(resource) {
                let coming = pending.iter().filter(|one| one.resource == resource);
                let coming = coming.filter(|one| !one.is_stored(snapshot, namespace)).count();
                self.counted.insert(resource.to_owned(), (snapshot.count(&scope) + coming) as i64);
                continue;
            }
            let mut before = self.measured.remove(resource).unwrap_or_default().into_iter().peekable();
            let mut now = Vec::new();
            for object in snapshot.list(&scope) {
                while before.next_if(|known| known.name < object.key.name).is_some() {}
                let known = before.next_if(|known| known.name == object.key.name);
                let known = known.filter(|known| known.revision == object.revision);
                now.push(known.unwrap_or_else(|| Charged::of(resource, object)));
            }
            self.measured.insert(resource.to_owned(), now);
        }
    }

    /// What `quota` has to count, with what is `pending` in its place.
    pub fn used(&self, quota: &Quota, pending: &[Pending], now: Timestamp) -> Amounts {
        let mut used = quota.nothing_used();
        let mut add = |charge: &Charge, times: i64| {
            if quota.covers(&charge.facts) {
                for (name, amount) in charge.amounts(now).filter(|(name, _)| quota.hard.get(name).is_some()) {
                    used.add_one(name, amount.times(times));
                }
            }
        };
        for resource in quota.resources() {
            if charge::is_uniform(resource) {
                let count = self.counted.get(resource).copied().unwrap_or_default();
                add(&Charge::of_one(resource), count);
                continue;
            }
            let pending: Vec<&Pending> = pending.iter().filter(|one| one.resource == resource).collect();
            let stored = self.measured.get(resource).map(Vec::as_slice).unwrap_or_default();
            for charged in stored {
                let changing = pending.iter().filter(|one| *one.uid == *charged.uid);
                match changing.fold(None, |so_far: Option<Arc<Charge>>, one| {
                    Some(so_far.unwrap_or_else(|| charged.charge.clone()).larger(&one.charge))
                }) {
                    Some(larger) => add(&larger, 1),
                    None => add(&charged.charge, 1),
                }
            }
            let stored_too = |one: &&&Pending| stored.iter().any(|charged| *charged.uid == *one.uid);
            pending.iter().filter(|one| !stored_too(one)).for_each(|one| add(&one.charge, 1));
        }
        used
    }
}

impl Charged {
    fn of(resource: &str, object: &Object) -> Charged {
        // What does not decode was never written by the API server; it counts as one.
        let value: Value = serde_json::from_slice(&object.json).unwrap_or_default();
        Charged {
            name: object.key.name.clone(),
            uid: object.meta.uid.as_ref().into(),
            revision: object.revision,
            charge: Arc::new(Charge::of(resource, &value)),
        }
    }
}
