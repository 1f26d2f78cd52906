//! What the objects of one namespace use: read from the store, kept by revision, so that only what changed is read again.
//!
//! Invariant: after [`Usage::read`] the charges are those of the snapshot, no older, no newer.

use std::{collections::BTreeMap, sync::Arc};

use coracle_store::{Object, Resource, Revision, Scope, Snapshot};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Amounts, Charge, Quota, charge};

/// An object on its way into the store.
#[derive(Clone, Debug)]
pub struct Pending {
    pub resource: String,
    pub uid: String,
    pub charge: Arc<Charge>,
}

#[derive(Debug, Default)]
pub struct Usage {
    /// By resource; each in the order of names.
    charged: BTreeMap<String, Vec<Charged>>,
}

#[derive(Debug)]
struct Charged {
    name: Arc<str>,
    uid: Box<str>,
    revision: Revision,
    charge: Arc<Charge>,
}

impl Usage {
    /// Takes in what `resources` have in `namespace`.
    pub fn read<'a>(
        &mut self,
        snapshot: &Snapshot,
        namespace: &str,
        resources: impl IntoIterator<Item = &'a str>,
    ) {
        for resource in resources {
            let scope =
                Scope { resource: Resource(resource.into()), namespace: Some(namespace.into()), name: None };
            let mut before = self.charged.remove(resource).unwrap_or_default().into_iter().peekable();
            let uniform = charge::is_uniform(resource).then(|| Arc::new(Charge::of_one(resource)));
            let mut now = Vec::new();
            for object in snapshot.list(&scope) {
                while before.next_if(|known| known.name < object.key.name).is_some() {}
                let known = before.next_if(|known| known.name == object.key.name);
                let known = known.filter(|known| known.revision == object.revision);
                now.push(known.unwrap_or_else(|| Charged::of(resource, object, uniform.as_ref())));
            }
            self.charged.insert(resource.to_owned(), now);
        }
    }

    /// What `quota` has to count, with what is `pending` in its place.
    pub fn used(&self, quota: &Quota, pending: &[Pending], now: Timestamp) -> Amounts {
        let mut used = quota.nothing_used();
        let mut add = |charge: &Charge| {
            if quota.covers(&charge.facts) {
                for (name, amount) in charge.amounts(now).filter(|(name, _)| quota.hard.get(name).is_some()) {
                    used.add_one(name, amount);
                }
            }
        };
        for resource in quota.resources() {
            let pending: Vec<&Pending> = pending.iter().filter(|one| one.resource == resource).collect();
            let stored = self.charged.get(resource).map(Vec::as_slice).unwrap_or_default();
            for charged in stored {
                let changing = pending.iter().filter(|one| *one.uid == *charged.uid);
                match changing.fold(None, |so_far: Option<Arc<Charge>>, one| {
                    Some(so_far.unwrap_or_else(|| charged.charge.clone()).larger(&one.charge))
                }) {
                    Some(larger) => add(&larger),
                    None => add(&charged.charge),
                }
            }
            let stored_too = |one: &&&Pending| stored.iter().any(|charged| *charged.uid == *one.uid);
            pending.iter().filter(|one| !stored_too(one)).for_each(|one| add(&one.charge));
        }
        used
    }

    /// Whether the store has the object.
    pub fn has(&self, resource: &str, uid: &str) -> bool {
        self.charged.get(resource).is_some_and(|all| all.iter().any(|charged| *charged.uid == *uid))
    }
}

impl Charged {
    fn of(resource: &str, object: &Object, uniform: Option<&Arc<Charge>>) -> Charged {
        let measured = || {
            // What does not decode was never written by the API server; it counts as one.
            let value: Value = serde_json::from_slice(&object.json).unwrap_or_default();
            Arc::new(Charge::of(resource, &value))
        };
        Charged {
            name: object.key.name.clone(),
            uid: object.meta.uid.as_ref().into(),
            revision: object.revision,
            charge: uniform.cloned().unwrap_or_else(measured),
        }
    }
}
