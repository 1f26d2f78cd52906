//! The table of types in memory: flat arrays that point into the text they were read from.
//!
//! Built once from `data/types.txt` (about 100 KiB of text that stays in the binary's pages, 150 KiB of arrays), or from
//! the schema of a CRD. Nothing in it depends on where it came from.

use crate::defaults::Defaults;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// A piece of the table's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u16,
}

pub(crate) type TypeId = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    /// Base64 in JSON.
    Bytes,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// Any JSON: `RawExtension`, `JSON` of apiextensions, `FieldsV1`.
    Raw,
    Json,
    Fields,
    /// A list of strings in JSON, a message with one repeated field in protobuf.
    Strings,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
    /// An object without known fields.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar(Scalar),
    Ref(TypeId),
    /// Index into `elements`.
    List(u16),
    Map(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

pub(crate) mod flag {
    pub const REQUIRED: u16 = 1;
    pub const MAP_ATOMIC: u16 = 2;
    pub const PATCH_MERGE: u16 = 4;
    pub const PATCH_RETAIN_KEYS: u16 = 8;
    pub const LIST_ATOMIC: u16 = 16;
    pub const LIST_SET: u16 = 32;
    pub const LIST_MAP: u16 = 64;
    pub const PATCH_REPLACE: u16 = 128;
    pub const POINTER: u16 = 256;
    pub const PRINTED: u16 = 512;
    pub const MAP_GRANULAR: u16 = 1024;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub name: Span,
    pub ty: Type,
    pub flags: u16,
    /// Up to four protobuf numbers, the outermost in the highest byte that is not 0.
    pub numbers: u32,
    /// Comma-separated.
    pub list_keys: Span,
    pub merge_key: Span,
    /// JSON text.
    pub default: Span,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeDef {
    pub name: Span,
    pub package: Span,
    pub first_field: u32,
    pub field_count: u16,
    pub atomic: bool,
    /// `GROUP/VERSION/KIND`, or empty.
    pub gvk: Span,
}

pub struct Table {
    text: Cow<'static, str>,
    pub(crate) types: Vec<TypeDef>,
    pub(crate) fields: Vec<Field>,
    /// For each type, its fields' positions (relative to `first_field`), ordered by name.
    by_name: Vec<u16>,
    /// The same, ordered by protobuf number; fields without one come first.
    by_number: Vec<u16>,
    elements: Vec<Type>,
    pub(crate) json_schema_props: Option<TypeId>,
    defaults: OnceLock<Defaults>,
}

impl Table {
    pub(crate) fn defaults(&self) -> &Defaults {
        self.defaults.get_or_init(|| Defaults::of(self))
    }

    pub(crate) fn str(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.start as usize + usize::from(span.len)).unwrap_or_default()
    }

    pub(crate) fn element(&self, index: u16) -> Type {
        self.elements[usize::from(index)]
    }

    pub(crate) fn ty(&self, id: TypeId) -> &TypeDef {
        &self.types[usize::from(id)]
    }

    pub(crate) fn fields_of(&self, id: TypeId) -> &[Field] {
        let def = self.ty(id);
        &self.fields[def.first_field as usize..][..usize::from(def.field_count)]
    }

    /// The position of a field in its type. `hint` is where it is if the object is ordered as the table is.
    pub(crate) fn position(&self, id: TypeId, name: &str, hint: usize) -> Option<usize> {
        let fields = self.fields_of(id);
        let near = fields.iter().enumerate().skip(hint).take(3);
        if let Some((at, _)) = near.into_iter().find(|(_, field)| self.str(field.name) == name) {
            return Some(at);
        }
        let def = self.ty(id);
        let sorted = &self.by_name[def.first_field as usize..][..usize::from(def.field_count)];
        let found = sorted.binary_search_by(|&at| self.str(fields[usize::from(at)].name).cmp(name)).ok()?;
        Some(usize::from(sorted[found]))
    }

    /// Positions of a type's fields in the order of their protobuf numbers.
    pub(crate) fn positions_by_number(&self, id: TypeId) -> &[u16] {
        let def = self.ty(id);
        &self.by_number[def.first_field as usize..][..usize::from(def.field_count)]
    }

    pub(crate) fn find(&self, package: &str, name: &str) -> Option<TypeId> {
        let at =
            self.types.iter().position(|ty| self.str(ty.name) == name && self.str(ty.package) == package)?;
        TypeId::try_from(at).ok()
    }

    /// The version and name that Go's errors print, e.g. `v1.PodSpec`.
    pub(crate) fn go_name(&self, id: TypeId) -> String {
        let def = self.ty(id);
        let package = self.str(def.package);
        format!("{}.{}", package.rsplit('.').next().unwrap_or_default(), self.str(def.name))
    }

    pub(crate) fn go_type(&self, ty: Type) -> String {
        match ty {
            Type::Ref(id) => self.go_name(id),
            Type::List(element) => format!("[]{}", self.go_type(self.element(element))),
            Type::Map(element) => format!("map[string]{}", self.go_type(self.element(element))),
            Type::Scalar(scalar) => match scalar {
                Scalar::String => "string",
                Scalar::Bool => "bool",
                Scalar::Int32 => "int32",
                Scalar::Int64 => "int64",
                Scalar::Double => "float64",
                Scalar::Bytes => "[]uint8",
                Scalar::Quantity => "resource.Quantity",
                Scalar::IntOrString => "intstr.IntOrString",
                Scalar::Time => "v1.Time",
                Scalar::MicroTime => "v1.MicroTime",
                Scalar::Raw => "runtime.RawExtension",
                Scalar::Json => "v1.JSON",
                Scalar::Fields => "v1.FieldsV1",
                Scalar::Strings => "[]string",
                Scalar::SchemaOrArray => "v1.JSONSchemaPropsOrArray",
                Scalar::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
                Scalar::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray",
                Scalar::Empty => "v1.CustomResourceSubresourceStatus",
            }
            .to_string(),
        }
    }

    /// Reads the format that the header of `data/types.txt` describes.
    pub fn read(text: impl Into<Cow<'static, str>>) -> Table {
        let text = text.into();
        let mut table = Table {
            text: Cow::Borrowed(""),
            types: Vec::new(),
            fields: Vec::new(),
            by_name: Vec::new(),
            by_number: Vec::new(),
            elements: Vec::new(),
            json_schema_props: None,
            defaults: OnceLock::new(),
        };
        Reader::new(&text).read(&mut table);
        table.text = text;
        table.types.shrink_to_fit();
        table.fields.shrink_to_fit();
        table.elements.shrink_to_fit();
        table.sort_fields();
        table.json_schema_props =
            table.types.iter().position(|ty| table.str(ty.name) == "JSONSchemaProps").map(|at| at as TypeId);
        table
    }

    fn sort_fields(&mut self) {
        let mut by_name = Vec::with_capacity(self.fields.len());
        let mut by_number = Vec::with_capacity(self.fields.len());
        for id in 0..self.types.len() {
            let fields = self.fields_of(id as TypeId);
            let mut order: Vec<u16> = (0..fields.len() as u16).collect();
            order.sort_by_key(|&at| self.str(fields[usize::from(at)].name));
            by_name.extend(&order);
            order.sort_by_key(|&at| numbers_outermost_first(fields[usize::from(at)].numbers));
            by_number.extend(order);
        }
        self.by_name = by_name;
        self.by_number = by_number;
    }
}

/// `2.1` sorts behind `2` and before `3`.
fn numbers_outermost_first(numbers: u32) -> u32 {
    numbers << (numbers.leading_zeros() / 8 * 8).min(24)
}

fn short(package: &str) -> &str {
    package.strip_prefix("io.k8s.").unwrap_or(package)
}

struct Reader<'a> {
    text: &'a str,
    /// Type numbers by package (without `io.k8s.`) and name: references may point forwards.
    ids: HashMap<(&'a str, &'a str), TypeId>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
        let mut ids = HashMap::new();
        let mut package = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("P ") {
                package = short(name);
            } else if let Some(rest) = line.strip_prefix("T ") {
                let id = ids.len() as TypeId;
                ids.insert((package, rest.split(' ').next().unwrap_or_default()), id);
            }
        }
        Reader { text, ids }
    }

    fn span(&self, part: &str) -> Span {
        // An empty `&str` need not lie inside the text.
        if part.is_empty() {
            return Span::default();
        }
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        Span { start: start as u32, len: part.len() as u16 }
    }

    fn read(&self, table: &mut Table) {
        let mut package = "";
        for line in self.text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix("P ") {
                package = name;
            } else if let Some(rest) = line.strip_prefix("T ") {
                let mut words = rest.split(' ');
                let name = words.next().unwrap_or_default();
                let mut def = TypeDef {
                    name: self.span(name),
                    package: self.span(package),
                    first_field: table.fields.len() as u32,
                    field_count: 0,
                    atomic: false,
                    gvk: Span::default(),
                };
                for word in words {
                    match word {
                        "atomic" => def.atomic = true,
                        gvk => def.gvk = self.span(gvk),
                    }
                }
                table.types.push(def);
            } else if let Some(field) = self.field(package, line, &mut table.elements)
                && let Some(ty) = table.types.last_mut()
            {
                table.fields.push(field);
                ty.field_count += 1;
            }
        }
    }

    fn field(&self, package: &str, line: &str, elements: &mut Vec<Type>) -> Option<Field> {
        let mut words = line.splitn(4, ' ');
        let (name, numbers, ty) = (words.next()?, words.next()?, words.next()?);
        let mut field = Field {
            name: self.span(name),
            ty: self.ty(package, ty, elements)?,
            flags: 0,
            numbers: numbers.split('.').filter_map(|n| n.parse::<u32>().ok()).fold(0, |all, n| all << 8 | n),
            list_keys: Span::default(),
            merge_key: Span::default(),
            default: Span::default(),
        };
        let mut rest = words.next().unwrap_or_default();
        if let Some((options, default)) = rest.split_once("default=") {
            field.default = self.span(default);
            rest = options;
        }
        for option in rest.split(' ') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let (value, keys) = value.split_once(':').unwrap_or((value, ""));
            match name {
                "required" => field.flags |= flag::REQUIRED,
                "map" => {
                    field.flags |= if value == "granular" { flag::MAP_GRANULAR } else { flag::MAP_ATOMIC };
                }
                "ptr" => field.flags |= flag::POINTER,
                "printed" => field.flags |= flag::PRINTED,
                "list" => {
                    field.list_keys = self.span(keys);
                    field.flags |= match value {
                        "map" => flag::LIST_MAP,
                        "set" => flag::LIST_SET,
                        _ => flag::LIST_ATOMIC,
                    };
                }
                "patch" => {
                    field.merge_key = self.span(keys);
                    for strategy in value.split(',') {
                        field.flags |= match strategy {
                            "merge" => flag::PATCH_MERGE,
                            "retainKeys" => flag::PATCH_RETAIN_KEYS,
                            _ => flag::PATCH_REPLACE,
                        };
                    }
                }
                _ => {}
            }
        }
        Some(field)
    }

    fn ty(&self, package: &str, name: &str, elements: &mut Vec<Type>) -> Option<Type> {
        let mut element = |name: &str| {
            let ty = self.ty(package, name, elements)?;
            let at = elements.iter().position(|known| *known == ty).unwrap_or_else(|| {
                elements.push(ty);
                elements.len() - 1
            });
            u16::try_from(at).ok()
        };
        let scalar = match name.split_at(1) {
            ("*", of) => return Some(Type::List(element(of)?)),
            ("%", of) => return Some(Type::Map(element(of)?)),
            ("@", path) => {
                let (package, name) = path.split_once(':').unwrap_or((short(package), path));
                let id = self.ids.get(&(package, name)).copied();
                return Some(Type::Ref(id?));
            }
            ("s", _) => Scalar::String,
            ("b", _) => Scalar::Bool,
            ("i", _) => Scalar::Int32,
            ("l", _) => Scalar::Int64,
            ("d", _) => Scalar::Double,
            ("B", _) => Scalar::Bytes,
            ("q", _) => Scalar::Quantity,
            ("x", _) => Scalar::IntOrString,
            ("t", _) => Scalar::Time,
            ("m", _) => Scalar::MicroTime,
            ("r", _) => Scalar::Raw,
            ("j", _) => Scalar::Json,
            ("f", _) => Scalar::Fields,
            ("S", _) => Scalar::Strings,
            ("a", _) => Scalar::SchemaOrArray,
            ("o", _) => Scalar::SchemaOrBool,
            ("p", _) => Scalar::SchemaOrStrings,
            ("e", _) => Scalar::Empty,
            _ => return None,
        };
        Some(Type::Scalar(scalar))
    }
}
