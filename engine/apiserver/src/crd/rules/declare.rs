//! What expressions know of a custom resource: its schema as types.
//!
//! Kept true: fields whose type is unknown, or whose name cannot be written, do not exist for expressions.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/cel/common/schemas.go and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/cel/escaping.go

use std::{collections::HashMap, sync::Arc};

use coracle_expressions::{Field, ListType, ObjectType, Order, Type};
use serde_json::Value;

use crate::object::strings;

const KEYWORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// None: expressions cannot see it.
pub fn declare(schema: &Value, is_resource: bool) -> Option<Type> {
    if schema["x-kubernetes-int-or-string"] == true {
        return Some(Type::Dyn);
    }
    Some(match (schema["type"].as_str()?, schema["format"].as_str()) {
        ("boolean", _) => Type::Bool,
        ("integer", _) => Type::Int,
        ("number", _) => Type::Double,
        ("string", Some("byte")) => Type::Bytes,
        ("string", Some("duration")) => Type::Duration,
        ("string", Some("date" | "date-time")) => Type::Timestamp,
        ("string", _) => Type::String,
        ("array", _) => {
            let order = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Order::Set,
                Some("map") => Order::Keys(list_keys(schema)),
                _ => Order::Atomic,
            };
            let items = &schema["items"];
            Type::List(Arc::new(ListType { item: declare(items, is_embedded(items))?, order }))
        }
        ("object", _) if schema["additionalProperties"].is_object() && !is_resource => {
            let values = &schema["additionalProperties"];
            Type::map(Type::String, declare(values, is_embedded(values))?)
        }
        ("object", _) => object(schema, is_resource),
        _ => return None,
    })
}

pub fn is_embedded(schema: &Value) -> bool {
    schema["x-kubernetes-embedded-resource"] == true
}

pub fn list_keys(schema: &Value) -> Vec<String> {
    strings(&schema["x-kubernetes-list-map-keys"]).into_iter().map(String::from).collect()
}

fn object(schema: &Value, is_resource: bool) -> Type {
    let mut fields = HashMap::new();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let (Some(escaped), Some(ty)) = (escape(name), declare(inner, is_embedded(inner))) {
            fields.insert(escaped, Field { json: name.clone(), ty });
        }
    }
    if is_resource {
        let metadata = Type::object("object", [("name", Type::String), ("generateName", Type::String)]);
        for (name, ty) in [("apiVersion", Type::String), ("kind", Type::String), ("metadata", metadata)] {
            fields.insert(name.to_owned(), Field { json: name.to_owned(), ty });
        }
    }
    Type::Object(Arc::new(ObjectType { name: "object".into(), fields }))
}

/// The name of a field in expressions.
pub fn escape(name: &str) -> Option<String> {
    if KEYWORDS.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && bytes.all(|c| c.is_ascii_alphanumeric() || b"_./-".contains(&c));
    let escaped = || {
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__")
    };
    good.then(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_stock_servers_do_it() {
        for (name, expected) in [
            ("plain", Some("plain")),
            ("namespace", Some("__namespace__")),
            ("a__b", Some("a__underscores__b")),
            ("a-b.c/d", Some("a__dash__b__dot__c__slash__d")),
            ("9a", None),
            ("a b", None),
        ] {
            assert_eq!(escape(name).as_deref(), expected, "{name}");
        }
    }
}
