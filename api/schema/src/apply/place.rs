//! One place in an object's shape, as server-side apply sees it: of parts, or one value that is owned whole.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy

use super::set;
use crate::node::{FieldRef, Node, Shape, Struct};
use crate::table::ListType;
use serde_json::Value;

#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A scalar, or something that only changes as a whole.
    Leaf,
    Struct(Struct<'a>),
    Map(Node<'a>),
    /// Of no known shape (custom resources): objects have parts, lists are one value.
    Deduced,
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

    pub fn of_struct(shape: Struct<'a>) -> Place<'a> {
        if shape.atomic() { Place::Leaf } else { Place::Struct(shape) }
    }

    /// What is under a field name or map key.
    pub fn under(self, name: &str) -> Place<'a> {
        match self {
            Place::Struct(shape) => shape.field(name).map_or(Place::Deduced, Place::of_field),
            Place::Deduced => Place::Deduced,
            Place::Map(element) => Place::of_node(element),
            _ => Place::Leaf,
        }
    }

    /// What the items of a list are.
    pub fn item(self) -> Place<'a> {
        match self {
            Place::Keyed(_, shape) => Place::of_struct(shape),
            _ => Place::Leaf,
        }
    }

    /// Whether its parts are fields of a type (and not keys of a map).
    pub fn names_fields(self) -> bool {
        matches!(self, Place::Struct(_) | Place::Deduced)
    }

    /// The element of a path that stands for an item. Err: what is wrong with the item.
    pub fn element(self, item: &Value) -> Result<String, String> {
        let Place::Keyed(field, shape) = self else {
            return match item {
                Value::Object(_) | Value::Array(_) | Value::Null => {
                    Err("associative list without keys has an element that's not a scalar".to_owned())
                }
                scalar => Ok(set::of_value(scalar)),
            };
        };
        let mut keys = Vec::new();
        for key in field.list_keys() {
            let own = item.get(key).filter(|value| !value.is_null()).cloned();
            let default = || serde_json::from_str(shape.field(key)?.default()?).ok();
            if let Some(value) = own.or_else(default) {
                keys.push((key.to_owned(), value));
            } else if field.list_keys().count() == 1 {
                return Err(format!(
                    "associative list with keys has an element that omits key field \"{key}\" (and doesn't have default value)"
                ));
            }
        }
        if keys.is_empty() {
            return Err("associative list with keys has an element that omits all key fields".to_owned());
        }
        Ok(set::of_keys(keys))
    }

    /// The items of a list with the elements that stand for them; items that have none are left out.
    pub fn elements(self, items: &[Value]) -> Vec<(String, &Value)> {
        items.iter().filter_map(|item| Some((self.element(item).ok()?, item))).collect()
    }
}
