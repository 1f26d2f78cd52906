//! All built-in kinds: the generated table and the list of what is served.

use crate::node::Node;
use crate::resource::{ApiResource, GroupVersionKind, read};
use crate::schema::Schema;
use crate::table::{Table, Type, TypeId};
use std::sync::OnceLock;

pub(crate) const TYPES: &str = include_str!("../data/types.txt");
pub(crate) const RESOURCES: &str = include_str!("../data/resources.txt");

/// All kinds that are known: the generated table.
pub struct Registry {
    table: Table,
    resources: Vec<ApiResource>,
    /// Ordered by group, version and kind.
    kinds: Vec<TypeId>,
}

/// Kinds of `meta/v1` that every group version knows.
const SHARED_KINDS: &[&str] = &[
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
    "WatchEvent",
];

/// Kinds of `meta/v1` that go by `v1` and `meta.k8s.io/v1`.
const META_KINDS: &[&str] = &[
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "Status",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "TableOptions",
];

pub(crate) const META_PACKAGE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

impl Registry {
    /// The built-in kinds of Kubernetes 1.36. Built once, shared.
    pub fn builtin() -> &'static Registry {
        static BUILTIN: OnceLock<Registry> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            let table = Table::read(TYPES);
            let mut kinds: Vec<TypeId> = (0..table.types.len() as TypeId)
                .filter(|&id| !table.str(table.ty(id).gvk).is_empty())
                .collect();
            kinds.sort_by_key(|&id| table.str(table.ty(id).gvk));
            Registry { table, resources: read(RESOURCES), kinds }
        })
    }

    /// Every resource version the stock server serves by default, in the order of discovery.
    pub fn resources(&self) -> &[ApiResource] {
        &self.resources
    }

    /// Also for kinds that are no resources: `Status`, `DeleteOptions`, `Scale`, `Eviction`, `TokenRequest` …
    pub fn schema(&'static self, gvk: &GroupVersionKind) -> Option<Schema> {
        self.type_id(gvk).map(|id| Schema::builtin(&self.table, id))
    }

    /// A type that is not a kind, by the name of its OpenAPI definition, e.g. `io.k8s.api.core.v1.PodSpec`.
    pub fn definition(&'static self, name: &str) -> Option<Schema> {
        let (package, name) = name.rsplit_once('.')?;
        self.table.find(package, name).map(|id| Schema::builtin(&self.table, id))
    }

    /// The same as a place of a shape.
    pub fn definition_node(&'static self, name: &str) -> Option<Node<'static>> {
        let (package, name) = name.rsplit_once('.')?;
        let id = self.table.find(package, name)?;
        Some(Node { table: &self.table, ty: Type::Ref(id) })
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn type_id(&self, gvk: &GroupVersionKind) -> Option<TypeId> {
        let kind: &str = &gvk.kind;
        let is_meta = &*gvk.version == "v1" && matches!(&*gvk.group, "" | "meta.k8s.io");
        if SHARED_KINDS.contains(&kind) || is_meta && META_KINDS.contains(&kind) {
            return self.table.find(META_PACKAGE, kind);
        }
        let wanted = [&*gvk.group, &*gvk.version, kind];
        let name = |id: TypeId| self.table.str(self.table.ty(id).gvk);
        let key = format!("{}/{}/{}", wanted[0], wanted[1], wanted[2]);
        self.kinds.binary_search_by(|&id| name(id).cmp(&key)).ok().map(|at| self.kinds[at])
    }
}
