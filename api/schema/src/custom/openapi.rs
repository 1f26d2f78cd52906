//! The schema of a custom resource as OpenAPI documents show it.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/controller/openapi/builder/builder.go

use super::CustomSchema;
use crate::openapi::{Dialect, gvk_value};
use crate::resource::GroupVersionKind;
use serde_json::{Value, json};

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl CustomSchema {
    pub(crate) fn definition(&self, gvk: &GroupVersionKind, dialect: Dialect) -> Value {
        let mut schema = self.root.clone();
        if dialect == Dialect::V2 {
            simplify(&mut schema);
        }
        if !schema.is_object() {
            schema = json!({ "type": "object" });
        }
        schema["type"] = "object".into();
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        let meta = match dialect {
            Dialect::V2 => {
                let mut meta = dialect.reference(OBJECT_META);
                meta["description"] = METADATA.into();
                meta
            }
            Dialect::V3 => json!({ "description": METADATA, "allOf": [dialect.reference(OBJECT_META)] }),
        };
        schema["properties"]["apiVersion"] = json!({ "type": "string", "description": API_VERSION });
        schema["properties"]["kind"] = json!({ "type": "string", "description": KIND });
        schema["properties"]["metadata"] = meta;
        schema["x-kubernetes-group-version-kind"] = json!([gvk_value(gvk)]);
        schema
    }
}

/// OpenAPI v2 knows no junctors, no nullable, and nothing about fields that are not specified.
fn simplify(schema: &mut Value) {
    let keeps = schema["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(true);
    let nullable = schema["nullable"].as_bool() == Some(true);
    let int_or_string = schema["x-kubernetes-int-or-string"].as_bool() == Some(true);
    let Some(fields) = schema.as_object_mut() else { return };
    for name in ["oneOf", "anyOf", "not", "nullable", "allOf", "default"] {
        fields.shift_remove(name);
    }
    if keeps || nullable || int_or_string {
        for name in ["type", "items", "properties", "additionalProperties", "required"] {
            fields.shift_remove(name);
        }
        return;
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(simplify);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(name).filter(|inner| inner.is_object()) {
            simplify(inner);
        }
    }
}
