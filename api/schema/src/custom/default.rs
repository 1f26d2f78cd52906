//! Fills in the defaults of a custom resource's schema.
//!
//! Kept true: only absent fields get one, and null where null is not allowed; a default never overwrites; what a default
//! brings is defaulted in turn.

use super::{CustomSchema, is_true, prune::inner};
use serde_json::Value;

impl CustomSchema {
    pub(crate) fn default(&self, object: &mut Value) {
        fill(&self.root, object);
    }
}

fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, known) in schema["properties"].as_object().into_iter().flatten() {
                let Some(default) = known.get("default") else { continue };
                let lacks =
                    fields.get(name).is_none_or(|value| value.is_null() && !is_true(known, "nullable"));
                if lacks {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(known) = inner(schema, name) {
                    if value.is_null()
                        && !is_true(known, "nullable")
                        && let Some(default) = known.get("default")
                    {
                        *value = default.clone();
                    }
                    fill(known, value);
                }
            }
        }
        Value::Array(items) => {
            let known = &schema["items"];
            for item in items {
                if item.is_null()
                    && !is_true(known, "nullable")
                    && let Some(default) = known.get("default")
                {
                    *item = default.clone();
                }
                fill(known, item);
            }
        }
        _ => {}
    }
}
