//! A view of the table for those who walk it: OpenAPI, `explain`, protobuf, server-side apply.

use crate::table::{Field, ListType, Scalar, Table, Type, TypeDef, TypeId, flag};
use serde_json::Value;

/// One place in an object's shape.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub(crate) table: &'a Table,
    pub(crate) ty: Type,
}

#[derive(Clone, Copy)]
pub enum Shape<'a> {
    Scalar(Scalar),
    Struct(Struct<'a>),
    List(Node<'a>),
    /// From strings.
    Map(Node<'a>),
}

#[derive(Clone, Copy)]
pub struct Struct<'a> {
    pub(crate) table: &'a Table,
    pub(crate) id: TypeId,
}

#[derive(Clone, Copy)]
pub struct FieldRef<'a> {
    table: &'a Table,
    field: &'a Field,
}

impl<'a> Node<'a> {
    pub fn shape(self) -> Shape<'a> {
        let element = |index| Node { table: self.table, ty: self.table.element(index) };
        match self.ty {
            Type::Scalar(scalar) => Shape::Scalar(scalar),
            Type::Ref(id) => Shape::Struct(Struct { table: self.table, id }),
            Type::List(index) => Shape::List(element(index)),
            Type::Map(index) => Shape::Map(element(index)),
        }
    }

    pub fn as_struct(self) -> Option<Struct<'a>> {
        match self.shape() {
            Shape::Struct(shape) => Some(shape),
            _ => None,
        }
    }
}

impl<'a> Struct<'a> {
    fn def(self) -> &'a TypeDef {
        self.table.ty(self.id)
    }

    /// `Deployment`
    pub fn name(self) -> &'a str {
        self.table.str(self.def().name)
    }

    /// `io.k8s.api.apps.v1`
    pub fn package(self) -> &'a str {
        self.table.str(self.def().package)
    }

    /// The name of its OpenAPI definition: `io.k8s.api.apps.v1.Deployment`.
    pub fn definition(self) -> String {
        format!("{}.{}", self.package(), self.name())
    }

    /// `GROUP/VERSION/KIND`, where it is a kind of its own.
    pub fn group_version_kind(self) -> Option<(&'a str, &'a str, &'a str)> {
        let mut parts = self.table.str(self.def().gvk).split('/');
        parts
            .next()
            .zip(parts.next())
            .zip(parts.next())
            .map(|((group, version), kind)| (group, version, kind))
    }

    /// To server-side apply, one value without parts.
    pub fn atomic(self) -> bool {
        self.def().atomic
    }

    /// In the order in which a stock server prints them.
    pub fn fields(self) -> impl Iterator<Item = FieldRef<'a>> {
        self.table.fields_of(self.id).iter().map(move |field| FieldRef { table: self.table, field })
    }

    /// In the order of their protobuf numbers; what Go embeds lies together. Fields without a number are not among them.
    pub fn numbered_fields(self) -> impl DoubleEndedIterator<Item = FieldRef<'a>> {
        let fields = self.table.fields_of(self.id);
        let positions = self.table.positions_by_number(self.id).iter();
        let fields =
            positions.map(move |&at| FieldRef { table: self.table, field: &fields[usize::from(at)] });
        fields.filter(|field| field.field.numbers != 0)
    }

    /// Fields that protobuf cannot carry, since nobody told their numbers. (`kind` and `apiVersion` stand in the envelope.)
    pub fn unnumbered_fields(self) -> impl Iterator<Item = FieldRef<'a>> {
        let fields = self.table.fields_of(self.id);
        let positions = self.table.positions_by_number(self.id).iter();
        positions
            .map(move |&at| FieldRef { table: self.table, field: &fields[usize::from(at)] })
            .take_while(|field| field.field.numbers == 0)
            .filter(|field| !matches!(field.name(), "kind" | "apiVersion"))
    }

    pub fn field(self, name: &str) -> Option<FieldRef<'a>> {
        let at = self.table.position(self.id, name, 0)?;
        Some(FieldRef { table: self.table, field: &self.table.fields_of(self.id)[at] })
    }
}

impl<'a> FieldRef<'a> {
    fn has(self, flag: u16) -> bool {
        self.field.flags & flag != 0
    }

    fn text(self, text: &'a str) -> Option<&'a str> {
        (!text.is_empty()).then_some(text)
    }

    /// Its name in JSON.
    pub fn name(self) -> &'a str {
        self.table.str(self.field.name)
    }

    pub fn node(self) -> Node<'a> {
        Node { table: self.table, ty: self.field.ty }
    }

    pub fn required(self) -> bool {
        self.has(flag::REQUIRED)
    }

    /// A pointer in Go: its zero is a value, and it is only sent when it is set.
    pub fn pointer(self) -> bool {
        self.has(flag::POINTER)
    }

    /// Whether Go's JSON leaves it out when it is empty or zero.
    pub fn omits_zero(self) -> bool {
        !self.has(flag::REQUIRED | flag::POINTER | flag::PRINTED)
    }

    /// What Go's JSON shows of it when nobody set it, if it is shown then and no struct.
    pub fn zero(self) -> Option<Value> {
        let shown = match self.node().shape() {
            _ if self.omits_zero() => return None,
            Shape::Struct(_) => return None,
            _ if self.pointer() => Value::Null,
            Shape::Scalar(Scalar::String) => "".into(),
            Shape::Scalar(Scalar::Bool) => false.into(),
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString) => 0.into(),
            Shape::Scalar(Scalar::Quantity) => "0".into(),
            _ => Value::Null,
        };
        Some(shown)
    }

    /// Protobuf field numbers, from the outermost message inwards: more than one where Go embeds a struct. Empty for
    /// `kind` and `apiVersion`, and for a field whose number is not known.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        self.field.numbers.to_be_bytes().into_iter().filter(|byte| *byte != 0).map(u32::from)
    }

    /// The number at one level of [`FieldRef::numbers`].
    pub fn number_at(self, level: usize) -> Option<u32> {
        self.numbers().nth(level)
    }

    pub fn list_type(self) -> Option<ListType> {
        match () {
            () if self.has(flag::LIST_MAP) => Some(ListType::Map),
            () if self.has(flag::LIST_SET) => Some(ListType::Set),
            () if self.has(flag::LIST_ATOMIC) => Some(ListType::Atomic),
            () => None,
        }
    }

    pub fn list_keys(self) -> impl Iterator<Item = &'a str> {
        self.table.str(self.field.list_keys).split(',').filter(|key| !key.is_empty())
    }

    pub fn map_atomic(self) -> bool {
        self.has(flag::MAP_ATOMIC)
    }

    /// Its parts belong to someone each, whatever its type says.
    pub fn map_granular(self) -> bool {
        self.has(flag::MAP_GRANULAR)
    }

    pub fn patch_merge(self) -> bool {
        self.has(flag::PATCH_MERGE)
    }

    pub fn patch_retain_keys(self) -> bool {
        self.has(flag::PATCH_RETAIN_KEYS)
    }

    pub fn patch_replace(self) -> bool {
        self.has(flag::PATCH_REPLACE)
    }

    pub fn patch_merge_key(self) -> Option<&'a str> {
        self.text(self.table.str(self.field.merge_key))
    }

    /// JSON text, where the type declares a default.
    pub fn default(self) -> Option<&'a str> {
        self.text(self.table.str(self.field.default))
    }
}
