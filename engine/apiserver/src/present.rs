//! The forms in which objects leave: as stored, in another version, as metadata only, as tables.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources

use std::sync::Arc;

use bytes::Bytes;
use coracle_schema::{Registry, Schema};
use coracle_store::Object;
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
    /// `as=PartialObjectMetadata`, or its list.
    Metadata {
        of_list: bool,
    },
    /// `as=Table`
    Table(IncludeObject),
}

/// Writes objects of one resource in one form and encoding.
#[derive(Clone)]
pub struct Presenter {
    pub served: Arc<Served>,
    pub form: Form,
    pub encoding: Encoding,
    /// The apiVersion of metadata and tables.
    pub meta: &'static str,
    /// Tables come with their columns. In a watch only the first one does.
    pub columns: bool,
}

impl Presenter {
    pub fn new(served: &Arc<Served>, accepted: Accepted) -> Presenter {
        let Accepted { encoding, form, meta } = accepted;
        Presenter { served: served.clone(), form, encoding, meta, columns: true }
    }

    /// Err: the client wants the metadata of a list where one object is, or the other way round.
    pub fn check(&self, is_list: bool) -> Result<(), Status> {
        check_form(self.form, is_list, || go_type(&self.served, is_list))
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
            Form::Metadata { .. } => partial_metadata(&value, self.meta),
            Form::Table(include) => {
                let metadata = tables::list_metadata(&value);
                let rows = vec![tables::row(&self.served, &value, include, self.meta)];
                self.with_columns(tables::table(&self.served, metadata, rows, self.meta))
            }
        }
    }

    /// A bookmark's object in this form.
    pub fn bookmark(&self, mut object: Value) -> Value {
        match self.form {
            Form::Object => {}
            Form::Metadata { .. } => object = partial_metadata(&object, self.meta),
            Form::Table(_) => {
                let metadata = tables::list_metadata(&object);
                let row = json!({"cells": [], "object": partial_metadata(&object, self.meta)});
                object = self.with_columns(tables::table(&self.served, metadata, vec![row], self.meta));
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
        let mut table = tables::table(&self.served, metadata, Vec::new(), self.meta);
        remove(&mut table, "rows");
        table
    }

    /// One item of a list, or one row of a table. `value` is in the served version.
    pub fn item(&self, value: Value) -> Value {
        match self.form {
            Form::Object => value,
            Form::Metadata { .. } => partial_metadata(&value, self.meta),
            Form::Table(include) => tables::row(&self.served, &value, include, self.meta),
        }
    }

    /// What [`Presenter::item`] gives; none of custom resources and of rows.
    pub fn item_schema(&self) -> Option<Schema> {
        const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata";
        match self.form {
            Form::Object => Registry::builtin().schema(&self.served.api.gvk),
            Form::Metadata { .. } => Registry::builtin().definition(METADATA),
            Form::Table(_) => None,
        }
    }
}

/// Err: the client wants the metadata of a list where one object of this Go type is, or the other way round.
pub fn check_form(form: Form, is_list: bool, go_type: impl FnOnce() -> String) -> Result<(), Status> {
    let (kind, seen) = match (form, is_list) {
        (Form::Metadata { of_list: false }, true) => ("PartialObjectMetadata", "a list"),
        (Form::Metadata { of_list: true }, false) => ("PartialObjectMetadataList", "not a list"),
        _ => return Ok(()),
    };
    let message = format!("you requested {kind}, but the requested object is {seen} ({})", go_type());
    Err(Status::new(406, "NotAcceptable", message))
}

/// `meta`: its apiVersion.
pub fn partial_metadata(object: &Value, meta: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": meta, "metadata": object["metadata"]})
}

/// What messages of a stock server call the type: `*core.ConfigMapList`.
fn go_type(served: &Served, is_list: bool) -> String {
    let list = if is_list { "List" } else { "" };
    let (group, kind) = (&*served.api.gvk.group, &*served.api.gvk.kind);
    let package = match group {
        "" | "events.k8s.io" => "core",
        _ => group.split('.').next().unwrap_or(group),
    };
    let (package, kind) =
        if served.custom.is_some() { ("unstructured", "Unstructured") } else { (package, kind) };
    format!("*{package}.{kind}{list}")
}
