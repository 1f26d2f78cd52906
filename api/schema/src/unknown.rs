//! What protobuf said beyond the schema: fields whose numbers it does not know, as one visible member of their object.
//!
//! Kept true: the text is base64 of whole fields, in the order in which they came; an empty one is left out. Nobody owns
//! the member, and of custom resources it is a field as any other: they are never protobuf.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::node::{Node, Shape};
use crate::schema::Schema;
use crate::table::{Scalar, Type};
use crate::wire::Fields;

/// The member's name. No field of Kubernetes has such a one.
pub const UNKNOWN: &str = "$unknown";

/// The fields that the member holds. Err: it holds none.
pub fn unknown_fields(text: &str) -> Result<Vec<u8>, String> {
    let why = |error: String| format!("{UNKNOWN} must hold protobuf fields in base64: {error}");
    let bytes = STANDARD.decode(text).map_err(|error| why(error.to_string()))?;
    Fields(&bytes).try_for_each(|field| field.map(drop)).map_err(why)?;
    Ok(bytes)
}

impl Schema {
    /// Takes the members out, at every level: in another version their numbers would mean something else.
    pub fn forget_unknown(&self, object: &mut Value) {
        forget(self.node(), object);
    }
}

fn forget(node: Node<'_>, value: &mut Value) {
    match (node.shape(), value) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            fields.shift_remove(UNKNOWN);
            for (name, value) in fields {
                if let Some(field) = shape.field(name) {
                    forget(field.node(), value);
                }
            }
        }
        (Shape::List(element), Value::Array(items)) => {
            items.iter_mut().for_each(|item| forget(element, item));
        }
        (Shape::Map(element), Value::Object(entries)) => {
            entries.values_mut().for_each(|value| forget(element, value));
        }
        (Shape::Scalar(Scalar::SchemaOrArray | Scalar::SchemaOrBool | Scalar::SchemaOrStrings), value) => {
            let Some(schema) = node.table.json_schema_props.map(|id| Node { ty: Type::Ref(id), ..node })
            else {
                return;
            };
            match value {
                Value::Array(items) => items.iter_mut().for_each(|item| forget(schema, item)),
                one => forget(schema, one),
            }
        }
        _ => {}
    }
}
