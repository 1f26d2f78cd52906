//! How large the objects of a schema can become, for the cost of rules.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/cel/common/schemas.go (`SchemaDeclType`) and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/cel/limits.go

use coracle_expressions::Sizes;
use serde_json::Value;

use super::declare::{escape, is_embedded};
use crate::object::strings;

/// No request is larger.
const REQUEST_MAX_BYTES: u64 = 3 * 1024 * 1024;

/// Of a value: how large it can become, and how many bytes of JSON it has at least.
pub struct Measured {
    pub sizes: Sizes,
    pub least_bytes: u64,
}

/// How often data of at least that size fits into a request.
pub fn cardinality(least_bytes: u64) -> u64 {
    REQUEST_MAX_BYTES / (least_bytes + 1)
}

/// None: expressions cannot see it.
pub fn measure(schema: &Value, is_resource: bool) -> Option<Measured> {
    let limit = |field: &str| schema[field].as_u64();
    let simple = |most: u64, least_bytes: u64| {
        Some(Measured { sizes: Sizes { most, ..Sizes::default() }, least_bytes })
    };
    if schema["x-kubernetes-int-or-string"] == true {
        return simple(REQUEST_MAX_BYTES - 2, 1);
    }
    match schema["type"].as_str()? {
        "boolean" => simple(0, 4),
        "integer" | "number" => simple(0, 1),
        "string" => {
            let (open, least) = match schema["format"].as_str() {
                Some("duration") => (32, 4),
                Some("date") => (12, 12),
                Some("date-time") => (38, 21),
                _ => (REQUEST_MAX_BYTES - 2, 2),
            };
            let longest = schema["enum"].as_array().map(|all| {
                all.iter().filter_map(Value::as_str).map(|own| own.len() as u64).max().unwrap_or(open)
            });
            // A character has up to four bytes.
            let most = limit("maxLength").map(|characters| match schema["format"].as_str() {
                Some("byte") => characters,
                _ => characters.saturating_mul(4),
            });
            simple(most.or(longest).unwrap_or(open), least)
        }
        "array" => {
            let items = measure(&schema["items"], is_embedded(&schema["items"]))?;
            let open = (REQUEST_MAX_BYTES - 2) / (items.least_bytes + 1);
            let most = limit("maxItems").unwrap_or(open);
            let sizes = Sizes { most, items: Some(Box::new(items.sizes)), ..Sizes::default() };
            Some(Measured { sizes, least_bytes: 2 })
        }
        "object" if schema["additionalProperties"].is_object() && !is_resource => {
            let values = &schema["additionalProperties"];
            let values = measure(values, is_embedded(values))?;
            // A key has quotes, a colon and a comma.
            let open = (REQUEST_MAX_BYTES - 2) / (values.least_bytes + 6);
            let most = limit("maxProperties").unwrap_or(open);
            // The stock estimate takes keys for empty: rules of the CRDs of Istio read the text of labels' names.
            let keys = Sizes::default();
            let sizes = Sizes {
                most,
                items: Some(Box::new(values.sizes)),
                keys: Some(Box::new(keys)),
                ..Sizes::default()
            };
            Some(Measured { sizes, least_bytes: 2 })
        }
        "object" => Some(object(schema, is_resource)),
        _ => None,
    }
}

fn object(schema: &Value, is_resource: bool) -> Measured {
    let required = strings(&schema["required"]);
    let (mut sizes, mut least_bytes) = (Sizes::default(), 2);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let (Some(escaped), Some(own)) = (escape(name), measure(inner, is_embedded(inner))) else { continue };
        if required.contains(&name.as_str()) && inner["default"].is_null() {
            least_bytes += name.len() as u64 + own.least_bytes + 4;
        }
        sizes.fields.insert(escaped, own.sizes);
    }
    if is_resource {
        let text = || Sizes { most: REQUEST_MAX_BYTES - 2, ..Sizes::default() };
        let mut metadata = Sizes::default();
        for field in ["name", "generateName"] {
            metadata.fields.insert(field.into(), text());
        }
        for (field, own) in [("apiVersion", text()), ("kind", text()), ("metadata", metadata)] {
            sizes.fields.insert(field.into(), own);
        }
    }
    Measured { sizes, least_bytes }
}
