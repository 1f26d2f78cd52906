//! The forms in which objects leave: as stored, in another version, as metadata only, as tables.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources

use std::sync::Arc;

use bytes::Bytes;
use coracle_store::Object;
use serde_json::{Value, json};

use crate::{
    conversion,
    object::remove,
    registry::Served,
    status::Status,
    tables::{self, IncludeObject},
    verbs,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Object,
    /// `as=PartialObjectMetadata` (or its list) of meta.k8s.io/v1.
    Metadata,
    /// `as=Table` of meta.k8s.io/v1.
    Table(IncludeObject),
}

/// Writes objects of one resource in one form.
#[derive(Clone)]
pub struct Presenter {
    pub served: Arc<Served>,
    pub form: Form,
}

impl Presenter {
    pub fn stored(&self, object: &Arc<Object>) -> Result<Bytes, Status> {
        if self.form == Form::Object && !self.served.needs_conversion() {
            return Ok(object.json.clone());
        }
        self.value(verbs::decode(object)?)
    }

    /// `value` is in the stored version.
    pub fn value(&self, mut value: Value) -> Result<Bytes, Status> {
        conversion::from_storage(&self.served, &mut value);
        let shown = self.served_value(value);
        serde_json::to_vec(&shown).map(Bytes::from).map_err(Status::internal)
    }

    /// `value` is in the served version already.
    pub fn served_value(&self, value: Value) -> Value {
        match self.form {
            Form::Object => value,
            Form::Metadata => partial_metadata(&value),
            Form::Table(include) => {
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                tables::table(&self.served, metadata, std::slice::from_ref(&value), include)
            }
        }
    }

    /// A bookmark's object in this form.
    pub fn bookmark(&self, mut object: Value) -> Value {
        match self.form {
            Form::Object => {}
            Form::Metadata => {
                object["kind"] = "PartialObjectMetadata".into();
                object["apiVersion"] = "meta.k8s.io/v1".into();
            }
            Form::Table(_) => {
                let metadata = object["metadata"].clone();
                object = tables::table(
                    &self.served,
                    json!({"resourceVersion": metadata["resourceVersion"]}),
                    &[],
                    IncludeObject::None,
                );
                object["rows"] = json!([{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata
                }}]);
            }
        }
        object
    }

    /// A whole list in a form other than its own.
    pub fn list(&self, metadata: Value, objects: Vec<Value>) -> Value {
        match self.form {
            Form::Table(include) => tables::table(&self.served, metadata, &objects, include),
            _ => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": objects.iter().map(partial_metadata).collect::<Vec<_>>(),
            }),
        }
    }
}

pub fn partial_metadata(object: &Value) -> Value {
    let mut metadata = object["metadata"].clone();
    remove(&mut metadata, "managedFields");
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}
