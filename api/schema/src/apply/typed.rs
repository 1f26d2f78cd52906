//! Why a configuration is no value of its type, in the words of a stock server.
//!
//! Kept true: paths are put together only where something is wrong. Fields that the type does not have are not looked at:
//! pruning tells them.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/validate.go and helpers.go beside it

use super::place::Place;
use super::set::{Entry, FieldSet};
use crate::go_type::go_type;
use crate::node::{FieldRef, Node, Shape, Struct};
use crate::schema::Schema;
use crate::table::Scalar;
use serde_json::Value;

#[derive(Clone, Copy)]
enum Kind {
    Map,
    List,
    Text,
    Number,
    Bool,
    Scalar,
    Any,
}

impl Schema {
    /// `.spec.ports[0].port: expected numeric (int or float), got string`
    pub fn type_problem(&self, value: &Value) -> Option<String> {
        match self.as_custom() {
            Some(custom) => of_custom(custom.root(), Some(self.shape()), value),
            None => of_struct(self.shape(), value),
        }
    }
}

fn of_struct(shape: Struct<'_>, value: &Value) -> Option<String> {
    mismatch(Kind::Map, value).or_else(|| {
        under(value, |name, value| {
            let field = shape.field(name)?;
            of_node(field.node(), Some(field), value)
        })
    })
}

fn of_node(node: Node<'_>, field: Option<FieldRef<'_>>, value: &Value) -> Option<String> {
    match node.shape() {
        Shape::Struct(shape) => of_struct(shape, value),
        Shape::Map(element) => {
            mismatch(Kind::Map, value).or_else(|| under(value, |_, value| of_node(element, None, value)))
        }
        Shape::List(element) => mismatch(Kind::List, value).or_else(|| {
            let place = field.map_or(Place::Leaf, Place::of_field);
            items(place, value, |item| of_node(element, None, item))
        }),
        Shape::Scalar(scalar) => mismatch(kind_of(scalar), value),
    }
}

fn kind_of(scalar: Scalar) -> Kind {
    match scalar {
        Scalar::String | Scalar::Bytes => Kind::Text,
        Scalar::Bool => Kind::Bool,
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => Kind::Number,
        Scalar::Quantity | Scalar::IntOrString | Scalar::Time | Scalar::MicroTime => Kind::Scalar,
        _ => Kind::Any,
    }
}

/// By a structural schema; `resource` is the shape of what is a resource itself.
fn of_custom(schema: &Value, resource: Option<Struct<'_>>, value: &Value) -> Option<String> {
    let kind = match schema["type"].as_str() {
        Some("object") => Kind::Map,
        Some("array") => Kind::List,
        Some("string") => Kind::Text,
        Some("integer" | "number") => Kind::Number,
        Some("boolean") => Kind::Bool,
        _ if crate::custom::is_true(schema, "x-kubernetes-int-or-string") => Kind::Scalar,
        _ => Kind::Any,
    };
    mismatch(kind, value).or_else(|| match kind {
        Kind::Map => under(value, |name, value| {
            if let Some(field) = resource.and_then(|shape| shape.field(name)) {
                return of_node(field.node(), Some(field), value);
            }
            let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            of_custom(inner, None, value)
        }),
        Kind::List => {
            items(Place::of_custom(schema, None), value, |item| of_custom(&schema["items"], None, item))
        }
        _ => None,
    })
}

fn under(value: &Value, check: impl Fn(&str, &Value) -> Option<String>) -> Option<String> {
    let mut fields = value.as_object()?.iter();
    fields.find_map(|(name, value)| check(name, value).map(|why| prefixed(&format!(".{name}"), &why)))
}

fn items(place: Place<'_>, value: &Value, check: impl Fn(&Value) -> Option<String>) -> Option<String> {
    value.as_array()?.iter().enumerate().find_map(|(at, item)| {
        let why = check(item)?;
        let named = if place.has_items() { place.element(item).ok() } else { None };
        let step = named.map_or_else(
            || format!("[{at}]"),
            |element| {
                let mut one = FieldSet::default();
                one.put(&element, Entry::leaf());
                one.paths().concat()
            },
        );
        Some(prefixed(&step, &why))
    })
}

fn prefixed(step: &str, why: &str) -> String {
    let between = if why.starts_with(['.', '[']) { "" } else { ": " };
    format!("{step}{between}{why}")
}

fn mismatch(kind: Kind, value: &Value) -> Option<String> {
    let expected = match (kind, value) {
        (Kind::Any, _)
        | (_, Value::Null)
        | (Kind::Map, Value::Object(_))
        | (Kind::List, Value::Array(_))
        | (Kind::Text | Kind::Scalar, Value::String(_))
        | (Kind::Number | Kind::Scalar, Value::Number(_))
        | (Kind::Bool | Kind::Scalar, Value::Bool(_)) => return None,
        (Kind::Text, value) => {
            let shown = in_source(value);
            return Some(format!("expected string, got &value.valueUnstructured{{Value:{shown}}}"));
        }
        (Kind::Number, value) => {
            return Some(format!("expected numeric (int or float), got {}", go_type(value)));
        }
        (Kind::Map, _) => "map",
        (Kind::List, _) => "list",
        (Kind::Bool, _) => "boolean",
        (Kind::Scalar, _) => "any scalar",
    };
    Some(format!("expected {expected}, got &{{{}}}", printed(value)))
}

/// As Go's `%v`; maps in the order of their keys.
fn printed(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut all: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", printed(value))).collect();
            all.sort_unstable();
            format!("map[{}]", all.join(" "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// As Go's `%#v`.
fn in_source(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut all: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key:?}:{}", in_source(value))).collect();
            all.sort_unstable();
            format!("map[string]interface {{}}{{{}}}", all.join(", "))
        }
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(in_source).collect::<Vec<_>>().join(", "))
        }
        Value::Null => "interface {}(nil)".to_owned(),
        other => other.to_string(),
    }
}
