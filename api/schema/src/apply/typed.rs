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
use std::collections::HashSet;

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
    /// `.spec.ports[0].port: expected numeric (int or float), got string`; several problems below `errors:`, a line each.
    pub fn type_problem(&self, value: &Value) -> Option<String> {
        let mut problems = Vec::new();
        let start = At(None);
        match self.as_custom() {
            Some(custom) => of_custom(custom.root(), Some(self.shape()), value, start, &mut problems),
            None => of_struct(self.shape(), value, start, &mut problems),
        }
        match &problems[..] {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("errors:\n  {}", several.join("\n  "))),
        }
    }
}

/// Where a value stands: below its parent.
#[derive(Clone, Copy)]
struct At<'a>(Option<(&'a At<'a>, Step<'a>)>);

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Element(&'a str),
}

impl<'a> At<'a> {
    fn below(&'a self, step: Step<'a>) -> At<'a> {
        At(Some((self, step)))
    }

    fn path(&self) -> String {
        let Some((parent, step)) = self.0 else { return String::new() };
        match step {
            Step::Field(name) => format!("{}.{name}", parent.path()),
            Step::Index(index) => format!("{}[{index}]", parent.path()),
            Step::Element(element) => format!("{}{}", parent.path(), printed_element(element)),
        }
    }

    fn says(&self, why: &str, problems: &mut Vec<String>) {
        let path = self.path();
        problems.push(if path.is_empty() { why.to_owned() } else { format!("{path}: {why}") });
    }
}

fn printed_element(element: &str) -> String {
    let mut one = FieldSet::default();
    one.put(element, Entry::leaf());
    one.paths().concat()
}

fn of_struct(shape: Struct<'_>, value: &Value, at: At<'_>, problems: &mut Vec<String>) {
    if fits(Kind::Map, value, at, problems) {
        for (name, value) in value.as_object().into_iter().flatten() {
            if let Some(field) = shape.field(name) {
                of_node(field.node(), Some(field), value, at.below(Step::Field(name)), problems);
            }
        }
    }
}

fn of_node(
    node: Node<'_>,
    field: Option<FieldRef<'_>>,
    value: &Value,
    at: At<'_>,
    problems: &mut Vec<String>,
) {
    match node.shape() {
        Shape::Struct(shape) => of_struct(shape, value, at, problems),
        Shape::Map(element) => {
            if fits(Kind::Map, value, at, problems) {
                for (name, value) in value.as_object().into_iter().flatten() {
                    of_node(element, None, value, at.below(Step::Field(name)), problems);
                }
            }
        }
        Shape::List(element) => {
            let place = field.map_or(Place::Leaf, Place::of_field);
            items(place, value, at, problems, |item, at, problems| {
                of_node(element, None, item, at, problems)
            });
        }
        Shape::Scalar(scalar) => {
            fits(kind_of(scalar), value, at, problems);
        }
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
fn of_custom(
    schema: &Value,
    resource: Option<Struct<'_>>,
    value: &Value,
    at: At<'_>,
    problems: &mut Vec<String>,
) {
    let kind = match schema["type"].as_str() {
        Some("object") => Kind::Map,
        Some("array") => {
            return items(Place::of_custom(schema, None), value, at, problems, |item, at, problems| {
                of_custom(&schema["items"], None, item, at, problems);
            });
        }
        Some("string") => Kind::Text,
        Some("integer" | "number") => Kind::Number,
        Some("boolean") => Kind::Bool,
        _ => Kind::Any,
    };
    if fits(kind, value, at, problems) && matches!(kind, Kind::Map) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let at = at.below(Step::Field(name));
            if let Some(field) = resource.and_then(|shape| shape.field(name)) {
                of_node(field.node(), Some(field), value, at, problems);
            } else {
                let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                of_custom(inner, None, value, at, problems);
            }
        }
    }
}

/// The items of a list: what stands for one must be there and stand for no other.
fn items(
    place: Place<'_>,
    value: &Value,
    at: At<'_>,
    problems: &mut Vec<String>,
    check: impl Fn(&Value, At<'_>, &mut Vec<String>),
) {
    if !fits(Kind::List, value, at, problems) {
        return;
    }
    let mut seen = HashSet::new();
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if !place.has_items() {
            check(item, at.below(Step::Index(index)), problems);
            continue;
        }
        match place.element(item) {
            Ok(element) => {
                if seen.contains(&element) {
                    at.says(&format!("duplicate entries for key {}", printed_element(&element)), problems);
                }
                check(item, at.below(Step::Element(&element)), problems);
                seen.insert(element);
            }
            Err(why) => return at.says(&format!("element {index}: {why}"), problems),
        }
    }
}

fn fits(kind: Kind, value: &Value, at: At<'_>, problems: &mut Vec<String>) -> bool {
    let problem = mismatch(kind, value);
    if let Some(why) = &problem {
        at.says(why, problems);
    }
    problem.is_none()
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
