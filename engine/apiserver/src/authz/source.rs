//! Where roles and bindings come from: one snapshot of the store, or a list in tests.

use std::sync::Arc;

use coracle_kinds::Kind;
use coracle_store::{Key, Object, Reader, Resource, Scope, Snapshot};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde_json::Value;

/// A binding of either kind.
pub enum Binding {
    Cluster(Arc<ClusterRoleBinding>),
    Namespaced(Arc<RoleBinding>),
}

impl Binding {
    pub fn role_ref(&self) -> &RoleRef {
        match self {
            Binding::Cluster(binding) => &binding.role_ref,
            Binding::Namespaced(binding) => &binding.role_ref,
        }
    }

    pub fn subjects(&self) -> &[Subject] {
        match self {
            Binding::Cluster(binding) => binding.subjects.as_deref(),
            Binding::Namespaced(binding) => binding.subjects.as_deref(),
        }
        .unwrap_or_default()
    }
}

/// The rules of a role of either kind.
pub enum Rules {
    Cluster(Arc<ClusterRole>),
    Namespaced(Arc<Role>),
}

impl Rules {
    pub fn rules(&self) -> &[PolicyRule] {
        match self {
            Rules::Cluster(role) => role.rules.as_deref(),
            Rules::Namespaced(role) => role.rules.as_deref(),
        }
        .unwrap_or_default()
    }
}

pub trait Source {
    /// Those of the whole cluster, or of one namespace.
    fn bindings<'a>(&'a self, namespace: Option<&str>) -> Box<dyn Iterator<Item = Binding> + 'a>;
    /// A ClusterRole, or a Role of the namespace.
    fn role(&self, namespace: Option<&str>, name: &str) -> Option<Rules>;
    /// Those of a namespace.
    fn pods<'a>(&'a self, namespace: &str) -> Box<dyn Iterator<Item = Value> + 'a>;
    /// By the name of its resource in the store.
    fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value>;
}

pub struct StoreSource {
    reader: Reader,
    resources: Resources,
}

#[derive(Clone)]
struct Resources {
    roles: Resource,
    cluster_roles: Resource,
    role_bindings: Resource,
    cluster_role_bindings: Resource,
}

impl StoreSource {
    pub fn new(reader: Reader) -> StoreSource {
        let resource = |name: &str| Resource(format!("{name}.rbac.authorization.k8s.io").into());
        let resources = Resources {
            roles: resource("roles"),
            cluster_roles: resource("clusterroles"),
            role_bindings: resource("rolebindings"),
            cluster_role_bindings: resource("clusterrolebindings"),
        };
        StoreSource { reader, resources }
    }

    pub fn now(&self) -> SnapshotSource<'_> {
        SnapshotSource { snapshot: self.reader.snapshot(), resources: &self.resources }
    }
}

pub struct SnapshotSource<'a> {
    snapshot: Snapshot,
    resources: &'a Resources,
}

impl Source for SnapshotSource<'_> {
    fn bindings<'a>(&'a self, namespace: Option<&str>) -> Box<dyn Iterator<Item = Binding> + 'a> {
        let resource = match namespace {
            Some(_) => &self.resources.role_bindings,
            None => &self.resources.cluster_role_bindings,
        };
        let scope = Scope { resource: resource.clone(), namespace: namespace.map(Into::into), name: None };
        let namespaced = namespace.is_some();
        Box::new(self.snapshot.list(&scope).filter_map(move |object| {
            if namespaced {
                decode(object).map(Binding::Namespaced)
            } else {
                decode(object).map(Binding::Cluster)
            }
        }))
    }

    fn pods<'a>(&'a self, namespace: &str) -> Box<dyn Iterator<Item = Value> + 'a> {
        let resource = Resource("pods".into());
        let scope = Scope { resource, namespace: Some(namespace.into()), name: None };
        Box::new(self.snapshot.list(&scope).filter_map(|pod| serde_json::from_slice(&pod.json).ok()))
    }

    fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key { resource: Resource(resource.into()), namespace: namespace.into(), name: name.into() };
        serde_json::from_slice(&self.snapshot.get(&key)?.json).ok()
    }

    fn role(&self, namespace: Option<&str>, name: &str) -> Option<Rules> {
        let key = |resource: &Resource| Key {
            resource: resource.clone(),
            namespace: namespace.unwrap_or_default().into(),
            name: name.into(),
        };
        match namespace {
            Some(_) => decode(self.snapshot.get(&key(&self.resources.roles))?).map(Rules::Namespaced),
            None => decode(self.snapshot.get(&key(&self.resources.cluster_roles))?).map(Rules::Cluster),
        }
    }
}

fn decode<K: Kind>(object: &Object) -> Option<Arc<K>> {
    object
        .decode()
        .inspect_err(|error| {
            tracing::warn!(
                name = &*object.key.name,
                error = error as &dyn std::error::Error,
                "RBAC object not readable"
            )
        })
        .ok()
}
