//! Which resources are served under which paths, and what the verbs need to know about each.
//!
//! Reads: the schema's table of resources. Invariant: one store resource per group and plural, whatever the version;
//! objects are stored in one version (`storage`) and converted when another is asked for.

use std::{collections::HashMap, sync::Arc};

use coracle_schema::{ApiResource, GroupVersionKind, Registry, Schema, Subresource};
use coracle_store::{Key, Resource, Scope};

use crate::{kinds, status::GroupResource, strategy::Strategy};

/// One served resource version.
pub struct Served {
    pub api: ApiResource,
    /// The name of the objects in the store.
    pub resource: Resource,
    /// Absent for virtual resources whose kind has no schema.
    pub schema: Option<Schema>,
    /// The version that is stored.
    pub storage: GroupVersionKind,
    pub strategy: &'static dyn Strategy,
    pub has_status: bool,
    /// Whether `metadata.generation` counts changes of what the user wants.
    pub counts_generation: bool,
}

impl Served {
    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource::from(&self.api)
    }

    /// For messages about the object rather than the resource.
    pub fn group_kind(&self) -> GroupResource<'_> {
        GroupResource::new(&self.api.gvk.group, &self.api.gvk.kind)
    }

    pub fn api_version(&self) -> String {
        api_version(&self.api.gvk.group, &self.api.gvk.version)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.api.subresources.iter().find(|subresource| &*subresource.name == name)
    }

    pub fn allows(&self, verb: &str) -> bool {
        self.api.verbs.iter().any(|own| &**own == verb)
    }

    pub fn key(&self, namespace: &str, name: &str) -> Key {
        Key { resource: self.resource.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// Everything of this resource in the namespace (all of them when empty).
    pub fn scope(&self, namespace: &str, name: Option<&str>) -> Scope {
        Scope {
            resource: self.resource.clone(),
            namespace: (!namespace.is_empty()).then(|| namespace.into()),
            name: name.map(Arc::from),
        }
    }

    pub fn needs_conversion(&self) -> bool {
        self.api.gvk != self.storage
    }
}

/// `apps/v1`, or `v1` for the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// The store's name of a group's resource.
pub fn store_resource(group: &str, plural: &str) -> Resource {
    match (group, plural) {
        ("events.k8s.io", "events") => Resource("events".into()),
        _ => Resource(GroupResource::new(group, plural).to_string().into()),
    }
}

pub struct Resources {
    all: Vec<Arc<Served>>,
    /// By group, then version, then plural.
    by_path: HashMap<String, Arc<Served>>,
}

fn path_key(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

impl Resources {
    pub fn new(schema: &'static Registry) -> Resources {
        let all: Vec<Arc<Served>> =
            schema.resources().iter().map(|api| Arc::new(served(schema, api.clone()))).collect();
        let by_path = all
            .iter()
            .map(|served| {
                let api = &served.api;
                (path_key(&api.gvk.group, &api.gvk.version, &api.plural), served.clone())
            })
            .collect();
        Resources { all, by_path }
    }

    pub fn all(&self) -> &[Arc<Served>] {
        &self.all
    }

    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.by_path.get(&path_key(group, version, plural))
    }

    /// In the preferred version.
    pub fn find(&self, group: &str, plural: &str) -> Option<&Arc<Served>> {
        self.all.iter().find(|served| &*served.api.gvk.group == group && &*served.api.plural == plural)
    }

    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Served>> {
        self.all.iter().find(|served| &*served.api.gvk.kind == kind && served.api_version() == api_version)
    }

    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.all.iter().any(|served| &*served.api.gvk.group == group && &*served.api.gvk.version == version)
    }
}

fn served(schema: &'static Registry, api: ApiResource) -> Served {
    let has_status = api.subresources.iter().any(|subresource| &*subresource.name == "status");
    Served {
        resource: store_resource(&api.gvk.group, &api.plural),
        schema: schema.schema(&api.gvk),
        storage: storage_version(schema, &api),
        strategy: kinds::strategy(&api.gvk.group, &api.plural),
        counts_generation: kinds::counts_generation(&api.gvk.group, &api.plural),
        has_status,
        api,
    }
}

fn storage_version(schema: &Registry, api: &ApiResource) -> GroupVersionKind {
    if &*api.gvk.group == "events.k8s.io" {
        return GroupVersionKind { group: "".into(), version: "v1".into(), kind: "Event".into() };
    }
    schema
        .resources()
        .iter()
        .find(|other| other.gvk.group == api.gvk.group && other.plural == api.plural)
        .map_or_else(|| api.gvk.clone(), |first| first.gvk.clone())
}
