//! The columns of a custom resource's table: `additionalPrinterColumns`, or the age.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/registry/customresource/tableconvertor/tableconvertor.go

use jiff::Timestamp;
use serde_json::{Value, json};

use super::JsonPath;
use crate::tables::{NAME_DESCRIPTION, age, name};

pub struct Columns(Vec<Column>);

struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: Option<JsonPath>,
}

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

impl Columns {
    /// `columns` is a version's `additionalPrinterColumns`.
    pub fn new(columns: &Value) -> Columns {
        let default = json!([{
            "name": "Age", "type": "date", "description": AGE, "jsonPath": ".metadata.creationTimestamp"
        }]);
        let columns = if columns.as_array().is_none_or(Vec::is_empty) { &default } else { columns };
        // From the first path that is none, a stock server shows no column.
        let columns = columns.as_array().into_iter().flatten().map(column);
        Columns(columns.take_while(|column| column.path.is_some()).collect())
    }

    pub fn definitions(&self) -> Vec<Value> {
        let mut all = vec![json!({
            "name": "Name", "type": "string", "format": "name", "description": NAME_DESCRIPTION, "priority": 0,
        })];
        all.extend(self.0.iter().map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        }));
        all
    }

    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![name(object)];
        cells.extend(self.0.iter().map(|column| column.cell(object, now)));
        cells
    }
}

fn column(value: &Value) -> Column {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let description = text("description");
    let path = text("jsonPath");
    Column {
        name: text("name"),
        kind: text("type"),
        format: text("format"),
        description: if description.is_empty() {
            format!("Custom resource definition column (in JSONPath format): {path}")
        } else {
            description
        },
        priority: value["priority"].as_i64().unwrap_or_default(),
        path: JsonPath::parse(&path),
    }
}

impl Column {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.as_ref().map(|path| path.find(object)).unwrap_or_default();
        let Some(first) = found.first() else { return Value::Null };
        match (self.kind.as_str(), first) {
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", Value::Null) => Value::Null,
            ("string", other) => other.to_string().into(),
            ("date", Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(_) => age::since(first, now).into(),
                Err(_) => "<invalid>".into(),
            },
            ("integer", Value::Number(number)) => match number.as_i64() {
                Some(whole) => whole.into(),
                None => number.as_f64().map(|number| number as i64).into(),
            },
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*first).clone(),
            _ => Value::Null,
        }
    }
}
