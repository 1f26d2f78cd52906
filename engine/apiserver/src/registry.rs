//! Which resources are served under which paths, and what the verbs need to know about each.
//!
//! Reads: the schema's table of resources. Invariant: one store resource per group and plural, whatever the version;
//! objects are stored in one version (`storage`) and converted when another is asked for.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use coracle_schema::{ApiResource, GroupVersionKind, Registry, Schema, Subresource};
use coracle_store::{Key, Resource, Scope};

use tokio::sync::Notify;

use crate::{crd::Custom, kinds, status::GroupResource, strategy::Strategy};

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
    /// Whether a PUT may leave out the resourceVersion.
    pub updates_unconditionally: bool,
    /// Of custom resources.
    pub custom: Option<Arc<Custom>>,
}

impl Served {
    /// Whether the status only changes through its subresource, whoever sees to it.
    pub fn status_is_apart(&self) -> bool {
        self.has_status || self.custom.as_ref().is_some_and(|custom| custom.has_status)
    }

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

    /// Whether stored bytes may differ from what is shown.
    pub fn needs_conversion(&self) -> bool {
        let custom =
            || self.custom.as_ref().is_some_and(|custom| custom.mixed || custom.schema.has_defaults());
        self.api.gvk != self.storage || custom()
    }

    /// `DeploymentList`
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.to_string(),
            None => format!("{}List", self.api.gvk.kind),
        }
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

/// What is served now: the built-in resources, and the custom ones as definitions come and go. Reading takes no lock.
pub struct Resources {
    builtin: Vec<Arc<Served>>,
    now: ArcSwap<Catalog>,
    /// Told when the custom resources were replaced; one may wait.
    changed: Arc<Notify>,
}

struct Catalog {
    all: Arc<[Arc<Served>]>,
    /// By group, then version, then plural.
    by_path: HashMap<String, Arc<Served>>,
    /// How many of `all` are custom: the last ones.
    custom: usize,
    openapi_hash: Arc<str>,
}

impl Catalog {
    fn new(builtin: &[Arc<Served>], custom: Vec<Arc<Served>>, schemas: &str) -> Catalog {
        let mut by_path = HashMap::new();
        let mut all = Vec::with_capacity(builtin.len() + custom.len());
        // What is built in cannot be replaced.
        let groups: HashSet<&str> = builtin.iter().map(|served| &*served.api.gvk.group).collect();
        let own = |served: &&Arc<Served>| {
            !groups.contains(&*served.api.gvk.group)
                || !builtin.iter().any(|one| {
                    one.api.gvk.group == served.api.gvk.group && one.api.plural == served.api.plural
                })
        };
        let count = custom.len();
        for served in builtin.iter().chain(custom.iter().filter(own)) {
            let api = &served.api;
            by_path.insert(path_key(&api.gvk.group, &api.gvk.version, &api.plural), served.clone());
            all.push(served.clone());
        }
        let mut openapi_hash = coracle_schema::openapi_hash();
        if !schemas.is_empty() {
            let text = format!("{openapi_hash},{schemas}");
            let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
            openapi_hash = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02X}")).collect();
        }
        Catalog { all: all.into(), by_path, custom: count, openapi_hash: openapi_hash.into() }
    }
}

fn path_key(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

impl Resources {
    pub fn new(schema: &'static Registry) -> Resources {
        let builtin: Vec<Arc<Served>> =
            schema.resources().iter().map(|api| Arc::new(served(schema, api.clone()))).collect();
        let now = ArcSwap::from_pointee(Catalog::new(&builtin, Vec::new(), ""));
        Resources { builtin, now, changed: Arc::default() }
    }

    /// Replaces the custom resources; `schemas` names the state of their schemas.
    pub fn set_custom(&self, custom: Vec<Arc<Served>>, schemas: &str) {
        self.now.store(Arc::new(Catalog::new(&self.builtin, custom, schemas)));
        self.changed.notify_one();
    }

    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Whether the server itself has something in the group.
    pub fn is_builtin_group(&self, group: &str) -> bool {
        self.builtin.iter().any(|served| *served.api.gvk.group == *group)
    }

    pub fn custom_count(&self) -> usize {
        self.now.load().custom
    }

    /// Names the state of the OpenAPI documents.
    pub fn openapi_hash(&self) -> Arc<str> {
        self.now.load().openapi_hash.clone()
    }

    pub fn all(&self) -> Arc<[Arc<Served>]> {
        self.now.load().all.clone()
    }

    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Served>> {
        self.now.load().by_path.get(&path_key(group, version, plural)).cloned()
    }

    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Served>> {
        let all = self.all();
        all.iter()
            .find(|served| &*served.api.gvk.kind == kind && served.api_version() == api_version)
            .cloned()
    }

    /// Another version of a resource, served or not.
    pub fn version(&self, of: &Served, api_version: &str) -> Option<Arc<Served>> {
        let served = self.find_kind(api_version, &of.api.gvk.kind);
        served.filter(|served| served.resource == of.resource).or_else(|| {
            let mut unserved = of.custom.iter().flat_map(|custom| custom.unserved.iter());
            unserved.find(|version| version.api_version() == api_version).cloned()
        })
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
        updates_unconditionally: kinds::updates_unconditionally(&api.gvk.group, &api.plural),
        has_status,
        custom: None,
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
