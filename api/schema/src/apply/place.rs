//! One place in an object's shape, as server-side apply sees it: of parts, or one value that is owned whole.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy

use super::set;
use crate::node::{FieldRef, Node, Shape, Struct};
use crate::registry::{META_PACKAGE, Registry};
use crate::table::ListType;
use crate::unknown::UNKNOWN;
use serde_json::Value;

#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A scalar, or something that only changes as a whole.
    Leaf,
    Struct(Struct<'a>),
    Map(Node<'a>),
    /// Of no known shape: objects have parts, lists are one value.
    Deduced,
    /// An object of a custom resource's schema; the shape is that of every object, where it is a resource.
    Custom(&'a Value, Option<Struct<'a>>),
    /// Any keys; the schema is that of the values.
    CustomMap(&'a Value),
    /// A list whose items have keys, by its schema.
    CustomKeyed(&'a Value),
    /// A list of scalars without order.
    Set,
    /// A list whose elements have keys.
    Keyed(FieldRef<'a>, Struct<'a>),
}

impl<'a> Place<'a> {
    pub fn of_field(field: FieldRef<'a>) -> Place<'a> {
        if field.map_atomic() {
            return Place::Leaf;
        }
        match field.node().shape() {
            Shape::List(element) => match (field.list_type(), element.as_struct()) {
                (Some(ListType::Set), _) => Place::Set,
                (Some(ListType::Map), Some(element)) => Place::Keyed(field, element),
                _ => Place::Leaf,
            },
            Shape::Struct(shape) if field.map_granular() => Place::Struct(shape),
            _ => Place::of_node(field.node()),
        }
    }

    fn of_node(node: Node<'a>) -> Place<'a> {
        match node.shape() {
            Shape::Struct(shape) => Place::of_struct(shape),
            Shape::Map(element) => Place::Map(element),
            Shape::Scalar(_) | Shape::List(_) => Place::Leaf,
        }
    }

    /// By a structural schema; `resource` is the shape of what is a resource itself.
    /// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#custom-resources-and-server-side-apply
    pub fn of_custom(schema: &'a Value, resource: Option<Struct<'a>>) -> Place<'a> {
        let text = |field: &str| schema[field].as_str();
        match (text("type"), text("x-kubernetes-list-type")) {
            (Some("object"), _) if text("x-kubernetes-map-type") == Some("atomic") => Place::Leaf,
            (Some("object"), _) if schema["additionalProperties"].is_object() && resource.is_none() => {
                Place::CustomMap(&schema["additionalProperties"])
            }
            (Some("object"), _) => Place::Custom(schema, resource),
            (Some("array"), Some("set")) => Place::Set,
            (Some("array"), Some("map")) => Place::CustomKeyed(schema),
            (None, _) if crate::custom::is_true(schema, "x-kubernetes-preserve-unknown-fields") => {
                Place::Deduced
            }
            _ => Place::Leaf,
        }
    }

    pub fn of_struct(shape: Struct<'a>) -> Place<'a> {
        if shape.atomic() { Place::Leaf } else { Place::Struct(shape) }
    }

    /// What is under a field name or map key.
    pub fn under(self, name: &str) -> Place<'a> {
        match self {
            Place::Struct(shape) => shape.field(name).map_or(Place::Deduced, Place::of_field),
            Place::Deduced => Place::Deduced,
            Place::Map(element) => Place::of_node(element),
            Place::Custom(_, Some(shape)) if shape.field(name).is_some() => Place::Struct(shape).under(name),
            Place::Custom(schema, _) => match schema["properties"].get(name) {
                Some(inner) => Place::of_custom(inner, embedded(inner)),
                None => Place::Deduced,
            },
            Place::CustomMap(inner) => Place::of_custom(inner, embedded(inner)),
            _ => Place::Leaf,
        }
    }

    /// Whether the part of this name belongs to nobody: what protobuf said beyond the schema.
    pub fn disowns(self, name: &str) -> bool {
        matches!(self, Place::Struct(_)) && name == UNKNOWN
    }

    /// An object whose fields or keys belong to someone each.
    pub fn has_parts(self) -> bool {
        matches!(
            self,
            Place::Struct(_) | Place::Map(_) | Place::Deduced | Place::Custom(..) | Place::CustomMap(_)
        )
    }

    /// A list whose items belong to someone each.
    pub fn has_items(self) -> bool {
        matches!(self, Place::Set | Place::Keyed(..) | Place::CustomKeyed(_))
    }

    /// What the items of a list are.
    pub fn item(self) -> Place<'a> {
        match self {
            Place::Keyed(_, shape) => Place::of_struct(shape),
            Place::CustomKeyed(schema) => Place::of_custom(&schema["items"], embedded(&schema["items"])),
            _ => Place::Leaf,
        }
    }

    /// Whether its parts are fields of a type (and not keys of a map).
    pub fn names_fields(self) -> bool {
        matches!(self, Place::Struct(_) | Place::Deduced | Place::Custom(..))
    }

    /// The element of a path that stands for an item. Err: what is wrong with the item.
    pub fn element(self, item: &Value) -> Result<String, String> {
        let names: Vec<&str> = match self {
            Place::Keyed(field, _) => field.list_keys().collect(),
            Place::CustomKeyed(schema) => schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
            _ => {
                return match item {
                    Value::Object(_) => {
                        Err("associative list without keys has an element that's a map type".to_owned())
                    }
                    Value::Array(_) => {
                        Err("not supported: associative list with lists as elements".to_owned())
                    }
                    Value::Null => {
                        Err("associative list without keys has an element that's an explicit null".to_owned())
                    }
                    scalar => Ok(set::of_value(scalar)),
                };
            }
        };
        match item {
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            Value::Object(_) => {}
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        }
        let mut keys = Vec::new();
        for key in &names {
            if let Some(value) = item.get(key).cloned().or_else(|| self.key_default(key)) {
                keys.push(((*key).to_owned(), value));
            }
        }
        if keys.is_empty() {
            let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ");
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{names}] (and doesn't have default values for any key fields)"
            ));
        }
        Ok(set::of_keys(keys))
    }

    fn key_default(self, key: &str) -> Option<Value> {
        match self {
            Place::Keyed(_, shape) => {
                let field = shape.field(key)?;
                field.default().and_then(|text| serde_json::from_str(text).ok()).or_else(|| field.zero())
            }
            Place::CustomKeyed(schema) => schema["items"]["properties"].get(key)?.get("default").cloned(),
            _ => None,
        }
    }

    /// The items of a list with the elements that stand for them; items that have none are left out.
    pub fn elements(self, items: &[Value]) -> Vec<(String, &Value)> {
        items.iter().filter_map(|item| Some((self.element(item).ok()?, item))).collect()
    }
}

/// The shape of every object, where a schema says that it is one.
fn embedded(schema: &Value) -> Option<Struct<'static>> {
    if !crate::custom::is_true(schema, "x-kubernetes-embedded-resource") {
        return None;
    }
    let table = Registry::builtin().table();
    table.find(META_PACKAGE, "PartialObjectMetadata").map(|id| Struct { table, id })
}
