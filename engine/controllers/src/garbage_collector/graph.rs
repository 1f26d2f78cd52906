//! Who names whom as its owner: dependents by the uid of their owner.
//!
//! Invariant: holds a key for every dependent that a watch showed and that is not known to be gone; what it says is
//!            checked against the store before anything is done.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use coracle_store::{Event, EventKind, Key, Object};
use parking_lot::Mutex;

#[derive(Default)]
pub struct Graph(Mutex<HashMap<Arc<str>, HashSet<Key>>>);

impl Graph {
    pub fn observe(&self, event: &Event) {
        let mut dependents = self.0.lock();
        if let Some(previous) = &event.previous {
            remove(&mut dependents, previous);
        }
        if event.kind == EventKind::Deleted {
            remove(&mut dependents, &event.object);
        } else {
            for owner in event.object.meta.owner_references.iter() {
                dependents.entry(owner.uid.clone()).or_default().insert(event.object.key.clone());
            }
        }
    }

    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.0.lock().get(uid).into_iter().flatten().cloned().collect()
    }

    /// Every dependent there is.
    pub fn all(&self) -> Vec<Key> {
        let all: HashSet<Key> = self.0.lock().values().flatten().cloned().collect();
        all.into_iter().collect()
    }
}

fn remove(dependents: &mut HashMap<Arc<str>, HashSet<Key>>, object: &Object) {
    for owner in object.meta.owner_references.iter() {
        if let Some(keys) = dependents.get_mut(&owner.uid) {
            keys.remove(&object.key);
            if keys.is_empty() {
                dependents.remove(&owner.uid);
            }
        }
    }
}
