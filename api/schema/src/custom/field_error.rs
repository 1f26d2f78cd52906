//! What is wrong with one field, in the terms of the stock server's `field.Error`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub path: String,
    pub kind: FieldErrorKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FieldErrorKind {
    Required {
        detail: String,
    },
    /// `FieldValueTypeInvalid`
    Type {
        value: Value,
        detail: String,
    },
    Invalid {
        value: Value,
        detail: String,
    },
    NotSupported {
        value: Value,
        allowed: Vec<String>,
    },
    Duplicate {
        value: Value,
    },
    /// `max` may be negative: schemas may say so.
    TooLong {
        max: i64,
    },
    TooMany {
        actual: usize,
        max: i64,
    },
    Forbidden {
        detail: String,
    },
}

impl FieldError {
    pub(crate) fn required(path: &str, detail: &str) -> FieldError {
        FieldError { path: path.into(), kind: FieldErrorKind::Required { detail: detail.into() } }
    }

    pub(crate) fn forbidden(path: &str, detail: impl Into<String>) -> FieldError {
        FieldError { path: path.into(), kind: FieldErrorKind::Forbidden { detail: detail.into() } }
    }

    pub(crate) fn invalid(path: &str, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError {
            path: path.into(),
            kind: FieldErrorKind::Invalid { value: value.into(), detail: detail.into() },
        }
    }
}
