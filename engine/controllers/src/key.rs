//! What a pass is about, and how changes of other objects lead to it.

use std::{fmt, sync::Arc};

use coracle_store::{Event, Key, Meta, Resource};

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectKey {
    pub fn new(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }

    pub fn of(key: &Key) -> ObjectKey {
        ObjectKey { namespace: key.namespace.clone(), name: key.name.clone() }
    }

    pub fn in_resource(&self, resource: &str) -> Key {
        Key {
            resource: Resource(resource.into()),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// The `kind` that controls the object, now or before the change.
pub fn controllers_of(event: &Event, kind: &str) -> Vec<ObjectKey> {
    let namespace = &event.object.key.namespace;
    let mut keys: Vec<ObjectKey> = [Some(&event.object), event.previous.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|object| controller_of(&object.meta))
        .filter(|owner| &*owner.kind == kind)
        .map(|owner| ObjectKey { namespace: namespace.clone(), name: (&*owner.name).into() })
        .collect();
    keys.dedup();
    keys
}

pub fn controller_of(meta: &Meta) -> Option<&coracle_store::OwnerReference> {
    meta.owner_references.iter().find(|owner| owner.controller)
}
