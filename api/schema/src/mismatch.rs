//! A value whose JSON type is not its field's, in the words of Go's decoder and of Kubernetes' converter.
//!
//! Source: https://pkg.go.dev/sigs.k8s.io/json and https://pkg.go.dev/k8s.io/apimachinery/pkg/runtime (`FromUnstructured`)

use crate::error::DecodeError;
use crate::go_names;
use crate::go_type::json_type;
use serde_json::Value;
use std::fmt;

/// How the wanted type is filled in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By its kind in Go: `string`.
    Simple(&'static str),
    Slice,
    Map,
    Struct,
    /// By a decoder of its own.
    Own,
}

#[derive(Clone, Debug)]
pub struct Mismatch {
    found: Value,
    /// The type in Go.
    wanted: String,
    kind: Kind,
    /// How many lists and maps lie between the value and the nearest field.
    depth: usize,
    owner: Option<String>,
    /// The innermost field first.
    fields: Vec<String>,
}

impl Mismatch {
    pub(crate) fn error(found: &Value, wanted: String, kind: Kind) -> Box<DecodeError> {
        let found = match found {
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(Default::default()),
            simple => simple.clone(),
        };
        let mismatch = Mismatch { found, wanted, kind, depth: 0, owner: None, fields: Vec::new() };
        Box::new(DecodeError::Mismatch(Box::new(mismatch)))
    }

    /// The value is an element of a list or map.
    pub(crate) fn within(&mut self) {
        self.depth += usize::from(self.owner.is_none());
    }

    /// The value lies in a field of a struct.
    pub(crate) fn through(&mut self, package: &str, name: &str, field: &str) {
        let names = go_names::find(package, name, field).unwrap_or_default();
        if self.owner.is_none() {
            self.owner = Some(name.to_owned());
            if let Some(wanted) =
                names.types.split('|').nth(self.depth).filter(|name| !matches!(*name, "" | "-"))
            {
                self.wanted = wanted.to_owned();
            }
        }
        self.fields.push(match names.embedded {
            "" => field.to_owned(),
            embedded => format!("{embedded}.{field}"),
        });
    }

    /// As the converter says it.
    pub(crate) fn converted(&self) -> String {
        let found = match &self.found {
            Value::Array(_) => "slice",
            Value::Object(_) => "map",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            other => json_type(other),
        };
        match self.kind {
            Kind::Slice => format!("cannot restore slice from {found}"),
            Kind::Map => format!("cannot restore map from {found}"),
            Kind::Struct => format!("cannot restore struct from: {found}"),
            Kind::Simple("string") if found == "int64" => format!("cannot convert int64 to {}", self.wanted),
            Kind::Simple("int32" | "int64") if matches!(found, "int64" | "float64") => {
                format!("cannot convert {found} to {}", self.wanted)
            }
            Kind::Simple(kind) => format!("unrecognized type: {kind}"),
            Kind::Own => {
                format!("json: cannot unmarshal {} into Go value of type {}", self.told(), self.wanted)
            }
        }
    }

    /// A number is told where another number would do.
    fn told(&self) -> String {
        match (&self.found, &*self.wanted) {
            (Value::Number(number), "int32" | "int64") => format!("number {number}"),
            (found, _) => json_type(found).to_owned(),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "json: cannot unmarshal {} into Go ", self.told())?;
        match &self.owner {
            None => write!(f, "value of type {}", self.wanted),
            Some(owner) => {
                let path: Vec<&str> = self.fields.iter().rev().map(String::as_str).collect();
                write!(f, "struct field {owner}.{} of type {}", path.join("."), self.wanted)
            }
        }
    }
}
