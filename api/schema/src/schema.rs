//! The shape of one object type, and everything that is done with it.

use crate::custom::CustomSchema;
use crate::error::{DecodeError, FieldIssue, PatchError};
use crate::node::{Node, Struct};
use crate::table::{Table, Type, TypeId};
use crate::{defaults, prune, strategic};
use serde_json::Value;
use std::ops::Deref;
use std::sync::Arc;

/// The shape of one object type. Cheap to clone; the same type for built-in kinds and CRDs.
#[derive(Clone)]
pub struct Schema {
    table: TableRef,
    id: TypeId,
    /// Of a custom resource; then the table knows only what every object has.
    custom: Option<Arc<CustomSchema>>,
}

#[derive(Clone)]
enum TableRef {
    Builtin(&'static Table),
    Shared(Arc<Table>),
}

impl Deref for TableRef {
    type Target = Table;
    fn deref(&self) -> &Table {
        match self {
            TableRef::Builtin(table) => table,
            TableRef::Shared(table) => table,
        }
    }
}

impl Schema {
    pub(crate) fn builtin(table: &'static Table, id: TypeId) -> Schema {
        Schema { table: TableRef::Builtin(table), id, custom: None }
    }

    /// Of custom resources. To those who walk the shape it has `apiVersion`, `kind` and `metadata`.
    pub fn custom(custom: Arc<CustomSchema>) -> Option<Schema> {
        let registry = crate::Registry::builtin();
        let id = registry.table().find(crate::registry::META_PACKAGE, "PartialObjectMetadata")?;
        Some(Schema { table: TableRef::Builtin(registry.table()), id, custom: Some(custom) })
    }

    /// The schema of a custom resource, if it is one.
    pub fn as_custom(&self) -> Option<&Arc<CustomSchema>> {
        self.custom.as_ref()
    }

    /// A type of a table that is not built in, by its package and name.
    pub fn of(table: Arc<Table>, package: &str, name: &str) -> Option<Schema> {
        let id = table.find(package, name)?;
        Some(Schema { table: TableRef::Shared(table), id, custom: None })
    }

    /// The fields, for those who walk the shape.
    pub fn shape(&self) -> Struct<'_> {
        Struct { table: &self.table, id: self.id }
    }

    pub fn node(&self) -> Node<'_> {
        Node { table: &self.table, ty: Type::Ref(self.id) }
    }

    /// Types are checked, unknown fields removed and reported, fields ordered as the table orders them. Strings of
    /// quantity, int-or-string and time fields are brought into canonical form.
    pub fn prune(&self, object: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
        match &self.custom {
            Some(custom) => custom.prune(object),
            None => prune::prune(&self.table, self.id, object, true),
        }
    }

    /// [`Schema::prune`] of what stands in a custom resource.
    pub(crate) fn prune_in_custom(&self, value: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
        prune::prune(&self.table, self.id, value, false)
    }

    /// Whether it is the schema of a custom resource.
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// Fills in the defaults that a stock server fills in.
    pub fn default(&self, object: &mut Value) {
        match &self.custom {
            Some(custom) => custom.default(object),
            None => defaults::apply(&self.table, self.id, object),
        }
    }

    pub fn strategic_merge(&self, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
        strategic::merge(self.shape(), target, patch)
    }
}
