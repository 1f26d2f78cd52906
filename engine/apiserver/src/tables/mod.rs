//! Server-side tables: what `kubectl get` shows.
//!
//! One file per group of kinds gives a [`Printer`]; a kind without one shows its name and age.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

pub mod age;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{present::partial_metadata, registry::Served};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`, `boolean`, `number`
    pub kind: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0: always shown; 1 and more: `-o wide` only.
    pub priority: i32,
}

/// How the objects of one resource are shown.
#[derive(Clone, Copy)]
pub struct Printer {
    pub columns: &'static [Column],
    /// One cell per column. `object` is in the served version.
    pub cells: fn(object: &Value, now: Timestamp) -> Vec<Value>,
}

pub const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
pub const AGE_DESCRIPTION: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

pub const NAME: Column =
    Column { name: "Name", kind: "string", format: "name", description: NAME_DESCRIPTION, priority: 0 };
pub const AGE: Column = Column { name: "Age", kind: "string", format: "", description: AGE_DESCRIPTION, priority: 0 };

const DEFAULT: Printer = Printer { columns: &[NAME, AGE], cells: |object, now| vec![name(object), age::of(object, now)] };

pub fn printer(group: &str, plural: &str) -> Printer {
    let _ = (group, plural);
    DEFAULT
}

pub fn name(object: &Value) -> Value {
    crate::object::name(object).into()
}

/// `metadata` is the table's ListMeta.
pub fn table(served: &Served, metadata: Value, objects: &[Value], include: IncludeObject) -> Value {
    let printer = printer(&served.api.gvk.group, &served.api.plural);
    let now = Timestamp::now();
    let columns: Vec<Value> = printer.columns.iter().map(column).collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": (printer.cells)(object, now)});
            match include {
                IncludeObject::None => {}
                IncludeObject::Metadata => row["object"] = partial_metadata(object),
                IncludeObject::Object => row["object"] = object.clone(),
            }
            row
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}
