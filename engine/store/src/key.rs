//! Names of things: a revision, a resource, one object's key, and the scope of a list or a watch.

use std::{cmp::Ordering, fmt, sync::Arc};

/// A position in the one order of all commits; the `resourceVersion` of an object. An empty store is at 1,
/// so that no list ever has the version 0, which clients read as "any".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A group resource as clients name it: `pods`, `deployments.apps`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(pub Arc<str>);

impl Resource {
    pub fn new(name: &str) -> Self {
        Resource(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Resource {
    fn from(name: &str) -> Self {
        Resource::new(name)
    }
}

/// Where an object lives. `namespace` is empty for cluster-scoped resources. Ordered as lists are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub resource: Resource,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Key { resource, namespace: namespace.into(), name: name.into() }
    }
}

impl Ord for Key {
    /// By resource, namespace, name. Keys mostly share the strings of the first two: what is the same is not compared.
    fn cmp(&self, other: &Self) -> Ordering {
        let shared = |own: &Arc<str>, other: &Arc<str>| {
            if Arc::ptr_eq(own, other) { Ordering::Equal } else { own.cmp(other) }
        };
        shared(&self.resource.0, &other.resource.0)
            .then_with(|| shared(&self.namespace, &other.namespace))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `pods/default/web-0`, or `nodes/one` for a cluster-scoped object.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.resource, self.name)
        } else {
            write!(f, "{}/{}/{}", self.resource, self.namespace, self.name)
        }
    }
}

/// Which objects a list or a watch covers. `None` means all; a cluster-scoped object is in the namespace `""`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub resource: Resource,
    pub namespace: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
}

impl Scope {
    /// Every object of the resource.
    pub fn all(resource: Resource) -> Self {
        Scope { resource, namespace: None, name: None }
    }

    /// The objects of one namespace.
    pub fn namespace(resource: Resource, namespace: &str) -> Self {
        Scope { resource, namespace: Some(namespace.into()), name: None }
    }

    /// One object.
    pub fn object(key: &Key) -> Self {
        Scope {
            resource: key.resource.clone(),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
        }
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.resource == key.resource && self.contains_in_resource(key)
    }

    /// Like [`Scope::contains`] for a key that is known to have this resource.
    pub(crate) fn contains_in_resource(&self, key: &Key) -> bool {
        self.name.as_ref().is_none_or(|name| *name == key.name)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<Arc<str>>| part.clone().unwrap_or_else(|| "*".into());
        write!(f, "{}/{}/{}", self.resource, part(&self.namespace), part(&self.name))
    }
}
