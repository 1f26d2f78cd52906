//! The forms in which objects leave: as stored, in another version, as metadata only, as tables.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources

use std::sync::Arc;

use bytes::Bytes;
use coracle_schema::{Registry, Schema};
use coracle_store::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    conversion,
    negotiate::{Accepted, Encoding},
    object::remove,
    protobuf,
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

/// Writes objects of one resource in one form and encoding.
#[derive(Clone)]
pub struct Presenter {
    pub served: Arc<Served>,
    pub form: Form,
    pub encoding: Encoding,
    /// Tables come with their columns. In a watch only the first one does.
    pub columns: bool,
}

impl Presenter {
    pub fn new(served: &Arc<Served>, accepted: Accepted) -> Presenter {
        Presenter { served: served.clone(), form: accepted.form, encoding: accepted.encoding, columns: true }
    }

    pub fn stored(&self, object: &Arc<Object>) -> Result<Bytes, Status> {
        let as_stored = self.form == Form::Object && self.encoding == Encoding::Json;
        if as_stored && !self.served.needs_conversion() {
            return Ok(object.json.clone());
        }
        self.value(verbs::decode(object)?)
    }

    /// `value` is in the stored version.
    pub fn value(&self, mut value: Value) -> Result<Bytes, Status> {
        conversion::from_storage(&self.served, &mut value);
        self.bytes(&self.served_value(value))
    }

    /// What is shown already.
    pub fn bytes(&self, shown: &Value) -> Result<Bytes, Status> {
        match self.encoding {
            Encoding::Protobuf => protobuf::encode(shown).map(Bytes::from).map_err(Status::internal),
            _ => serde_json::to_vec(shown).map(Bytes::from).map_err(Status::internal),
        }
    }

    /// `value` is in the served version already.
    pub fn served_value(&self, value: Value) -> Value {
        match self.form {
            Form::Object => value,
            Form::Metadata => partial_metadata(&value),
            Form::Table(include) => {
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                let table = tables::table(&self.served, metadata, std::slice::from_ref(&value), include);
                self.with_columns(table)
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
                object = self.with_columns(object);
                object["rows"] = json!([{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata
                }}]);
            }
        }
        object
    }

    fn with_columns(&self, mut table: Value) -> Value {
        if !self.columns {
            table["columnDefinitions"] = Value::Null;
        }
        table
    }

    /// A table without rows.
    pub fn table(&self, metadata: Value) -> Value {
        let mut table = tables::table(&self.served, metadata, &[], IncludeObject::None);
        remove(&mut table, "rows");
        table
    }

    /// One item of a list, or one row of a table. `value` is in the served version.
    pub fn item(&self, value: Value) -> Value {
        match self.form {
            Form::Object => value,
            Form::Metadata => partial_metadata(&value),
            Form::Table(include) => tables::row(&self.served, &value, include, Timestamp::now()),
        }
    }

    /// What [`Presenter::item`] gives; none of custom resources and of rows.
    pub fn item_schema(&self) -> Option<Schema> {
        const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata";
        match self.form {
            Form::Object => Registry::builtin().schema(&self.served.api.gvk),
            Form::Metadata => Registry::builtin().definition(METADATA),
            Form::Table(_) => None,
        }
    }
}

pub fn partial_metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
