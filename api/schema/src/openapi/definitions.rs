//! Schemas of types, with the `x-kubernetes-*` extensions that clients read.

use super::{Descriptions, Dialect, descriptions, gvk_value};
use crate::node::{FieldRef, Node, Shape, Struct};
use crate::registry::{META_PACKAGE, Registry};
use crate::resource::GroupVersionKind;
use crate::table::{ListType, Scalar, Table, TypeId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Definitions {
    registry: &'static Registry,
    dialect: Dialect,
    wanted: BTreeSet<TypeId>,
    descriptions: Descriptions,
}

/// Kinds whose definition lists every group version.
const OF_EVERY_GROUP: &[&str] = &["DeleteOptions", "WatchEvent"];

impl Definitions {
    pub(super) fn new(registry: &'static Registry, dialect: Dialect) -> Definitions {
        Definitions { registry, dialect, wanted: BTreeSet::new(), descriptions: descriptions() }
    }

    /// The name of the kind's definition, which will be rendered with all it refers to.
    pub(super) fn want_kind(&mut self, gvk: &GroupVersionKind) -> Option<String> {
        let id = self.registry.type_id(gvk)?;
        self.want(id);
        Some(Struct { table: self.registry.table(), id }.definition())
    }

    fn want(&mut self, id: TypeId) {
        if !self.wanted.insert(id) {
            return;
        }
        let shape = Struct { table: self.registry.table(), id };
        for field in shape.fields() {
            if let Some(inner) = innermost(field.node()) {
                self.want(inner);
            }
        }
    }

    /// Ordered by name.
    pub(super) fn render(&self) -> Value {
        let table = self.registry.table();
        let mut rendered: BTreeMap<String, Value> = BTreeMap::new();
        for &id in &self.wanted {
            let shape = Struct { table, id };
            rendered.insert(shape.definition(), self.render_type(table, shape));
            for field in shape.fields() {
                if let Some(scalar) = innermost_scalar(field.node())
                    && let Some((name, schema)) = named_scalar(scalar, self.dialect)
                {
                    rendered.insert(name.to_string(), schema);
                }
            }
        }
        Value::Object(rendered.into_iter().collect())
    }

    fn render_type(&self, table: &Table, shape: Struct<'_>) -> Value {
        let mut properties = Map::new();
        for (at, field) in shape.fields().enumerate() {
            let description = self.descriptions.of_field(table, shape.id, at);
            properties.insert(field.name().to_string(), self.render_field(field, description));
        }
        let mut schema = Map::new();
        let description = self.descriptions.of_type(table, shape.id);
        if !description.is_empty() {
            schema.insert("description".into(), description.into());
        }
        schema.insert("type".into(), "object".into());
        let required: Vec<Value> =
            shape.fields().filter(|field| field.required()).map(|field| field.name().into()).collect();
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        if !properties.is_empty() {
            schema.insert("properties".into(), properties.into());
        }
        let kinds = self.kinds(shape);
        if !kinds.is_empty() {
            schema.insert("x-kubernetes-group-version-kind".into(), kinds.into());
        }
        if shape.atomic() {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        schema.into()
    }

    fn kinds(&self, shape: Struct<'_>) -> Vec<Value> {
        if shape.package() == META_PACKAGE && OF_EVERY_GROUP.contains(&shape.name()) {
            let groups: BTreeSet<_> = self
                .registry
                .resources()
                .iter()
                .map(|resource| (&resource.gvk.group, &resource.gvk.version))
                .collect();
            let kinds = groups.into_iter().map(
                |(group, version)| json!({ "group": &**group, "kind": shape.name(), "version": &**version }),
            );
            return kinds.collect();
        }
        let gvk = shape.group_version_kind();
        gvk.map(|(group, version, kind)| gvk_value(&GroupVersionKind::new(group, version, kind)))
            .into_iter()
            .collect()
    }

    fn render_field(&self, field: FieldRef<'_>, description: &str) -> Value {
        let mut schema = self.render_node(field.node(), true);
        if let Some(default) = field.default().and_then(|text| serde_json::from_str(text).ok()) {
            schema.insert("default".into(), default);
        }
        if !description.is_empty() {
            schema.insert("description".into(), description.into());
        }
        if let Some(list_type) = field.list_type() {
            let keys: Vec<Value> = field.list_keys().map(Value::from).collect();
            if !keys.is_empty() {
                schema.insert("x-kubernetes-list-map-keys".into(), keys.into());
            }
            let name = match list_type {
                ListType::Atomic => "atomic",
                ListType::Set => "set",
                ListType::Map => "map",
            };
            schema.insert("x-kubernetes-list-type".into(), name.into());
        }
        for (is_so, name) in [(field.map_atomic(), "atomic"), (field.map_granular(), "granular")] {
            if is_so {
                schema.insert("x-kubernetes-map-type".into(), name.into());
            }
        }
        if let Some(key) = field.patch_merge_key() {
            schema.insert("x-kubernetes-patch-merge-key".into(), key.into());
        }
        let strategies = [
            (field.patch_merge(), "merge"),
            (field.patch_retain_keys(), "retainKeys"),
            (field.patch_replace(), "replace"),
        ];
        let strategies: Vec<&str> =
            strategies.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
        if !strategies.is_empty() {
            schema.insert("x-kubernetes-patch-strategy".into(), strategies.join(",").into());
        }
        schema.into()
    }

    /// A field's reference stands in an `allOf`: what is beside a `$ref` is ignored in OpenAPI 3.
    fn render_node(&self, node: Node<'_>, of_field: bool) -> Map<String, Value> {
        let reference = |definition: &str| {
            let reference = self.dialect.reference(definition);
            let wrapped = if of_field && self.dialect == Dialect::V3 {
                json!({ "allOf": [reference] })
            } else {
                reference
            };
            object(wrapped)
        };
        match node.shape() {
            Shape::Struct(shape) => reference(&shape.definition()),
            Shape::List(element) => {
                object(json!({ "type": "array", "items": self.render_node(element, false) }))
            }
            Shape::Map(element) => {
                object(json!({ "type": "object", "additionalProperties": self.render_node(element, false) }))
            }
            Shape::Scalar(scalar) => match named_scalar(scalar, self.dialect) {
                Some((name, _)) => reference(name),
                None => object(plain_scalar(scalar)),
            },
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn innermost(node: Node<'_>) -> Option<TypeId> {
    match node.shape() {
        Shape::Struct(shape) => Some(shape.id),
        Shape::List(element) | Shape::Map(element) => innermost(element),
        Shape::Scalar(Scalar::SchemaOrArray | Scalar::SchemaOrBool | Scalar::SchemaOrStrings) => {
            node.table.json_schema_props
        }
        Shape::Scalar(_) => None,
    }
}

fn innermost_scalar(node: Node<'_>) -> Option<Scalar> {
    match node.shape() {
        Shape::Scalar(scalar) => Some(scalar),
        Shape::List(element) | Shape::Map(element) => innermost_scalar(element),
        Shape::Struct(_) => None,
    }
}

fn plain_scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => json!({ "type": "boolean" }),
        Scalar::Int32 => json!({ "type": "integer", "format": "int32" }),
        Scalar::Int64 => json!({ "type": "integer", "format": "int64" }),
        Scalar::Double => json!({ "type": "number", "format": "double" }),
        Scalar::Bytes => json!({ "type": "string", "format": "byte" }),
        Scalar::Strings => json!({ "type": "array", "items": { "type": "string" } }),
        _ => json!({ "type": "string" }),
    }
}

/// Scalars of the table that have a definition of their own.
fn named_scalar(scalar: Scalar, dialect: Dialect) -> Option<(&'static str, Value)> {
    const QUANTITY: &str = "Quantity is a fixed-point representation of a number. It provides convenient marshaling/unmarshaling in JSON and YAML, in addition to String() and AsInt64() accessors.";
    const INT_OR_STRING: &str = "IntOrString is a type that can hold an int32 or a string.  When used in JSON or YAML marshalling and unmarshalling, it produces or consumes the inner type.  This allows you to have, for example, a JSON field that can accept a name or number.";
    const EXTENSIONS: [&str; 5] = [
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceStatus",
    ];
    let v2 = dialect == Dialect::V2;
    Some(match scalar {
        Scalar::Quantity if v2 => (
            "io.k8s.apimachinery.pkg.api.resource.Quantity",
            json!({ "description": QUANTITY, "type": "string" }),
        ),
        Scalar::Quantity => (
            "io.k8s.apimachinery.pkg.api.resource.Quantity",
            json!({ "description": QUANTITY, "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        ),
        Scalar::IntOrString if v2 => (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            json!({ "description": INT_OR_STRING, "type": "string", "format": "int-or-string" }),
        ),
        Scalar::IntOrString => (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            json!({ "description": INT_OR_STRING, "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        ),
        Scalar::Time => (
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
            json!({ "description": "Time is a wrapper around time.Time which supports correct marshaling to YAML and JSON.  Wrappers are provided for many of the factory methods that the time package offers.", "type": "string", "format": "date-time" }),
        ),
        Scalar::MicroTime => (
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
            json!({ "description": "MicroTime is version of Time with microsecond level precision.", "type": "string", "format": "date-time" }),
        ),
        Scalar::Raw => (
            "io.k8s.apimachinery.pkg.runtime.RawExtension",
            json!({ "description": "RawExtension is used to hold extensions in external versions.", "type": "object" }),
        ),
        Scalar::Fields => (
            "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
            json!({ "description": "FieldsV1 stores a set of fields in a data structure like a Trie, in JSON format.", "type": "object" }),
        ),
        Scalar::Json => (
            EXTENSIONS[0],
            json!({ "description": "JSON represents any valid JSON value. These types are supported: bool, int64, float64, string, []interface{}, map[string]interface{} and nil." }),
        ),
        Scalar::SchemaOrArray => (
            EXTENSIONS[1],
            json!({ "description": "JSONSchemaPropsOrArray represents a value that can either be a JSONSchemaProps or an array of JSONSchemaProps. Mainly here for serialization purposes." }),
        ),
        Scalar::SchemaOrBool => (
            EXTENSIONS[2],
            json!({ "description": "JSONSchemaPropsOrBool represents JSONSchemaProps or a boolean value. Defaults to true for the boolean property." }),
        ),
        Scalar::SchemaOrStrings => (
            EXTENSIONS[3],
            json!({ "description": "JSONSchemaPropsOrStringArray represents a JSONSchemaProps or a string array." }),
        ),
        Scalar::Empty => (
            EXTENSIONS[4],
            json!({ "description": "CustomResourceSubresourceStatus defines how to serve the status subresource for CustomResources.", "type": "object" }),
        ),
        Scalar::String
        | Scalar::Bool
        | Scalar::Int32
        | Scalar::Int64
        | Scalar::Double
        | Scalar::Bytes
        | Scalar::Strings => return None,
    })
}
