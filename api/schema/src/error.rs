//! What can be wrong with an object or a patch. Messages that reach a client are the stock server's.

use crate::mismatch::Mismatch;
use std::fmt;

/// One way in which an object's JSON does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldIssue {
    /// `unknown field "spec.foo"`
    Unknown { path: String },
    /// `duplicate field "spec.foo"`
    Duplicate { path: String },
    /// Of the operations of a JSON patch: `json patch unknown field "[0].foo"`
    OfPatch(Box<FieldIssue>),
}

impl FieldIssue {
    pub fn path(&self) -> &str {
        match self {
            FieldIssue::Unknown { path } | FieldIssue::Duplicate { path } => path,
            FieldIssue::OfPatch(issue) => issue.path(),
        }
    }

    /// Puts an outer path before the issue's own: issues are found deep inside and carried outwards.
    pub(crate) fn prefix(&mut self, outer: fmt::Arguments<'_>) {
        let (FieldIssue::Unknown { path } | FieldIssue::Duplicate { path }) = self else { return };
        *path = if path.starts_with('[') { format!("{outer}{path}") } else { format!("{outer}.{path}") };
    }
}

impl fmt::Display for FieldIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldIssue::Unknown { path } => write!(f, "unknown field \"{path}\""),
            FieldIssue::Duplicate { path } => write!(f, "duplicate field \"{path}\""),
            FieldIssue::OfPatch(issue) => write!(f, "json patch {issue}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The message is the stock server's for malformed JSON or YAML.
    #[error("{0}")]
    Syntax(String),
    /// A field has the wrong JSON type.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// What else keeps a value from being one of its type. The message is the stock server's.
    #[error("{0}")]
    Type(String),
}

impl DecodeError {
    /// As the converter says it, which fills in what a strategic merge patch made.
    pub fn converted(&self) -> String {
        match self {
            DecodeError::Mismatch(mismatch) => mismatch.converted(),
            DecodeError::Type(text) if text.starts_with("illegal base64") => {
                format!("error decoding from json: {text}")
            }
            other => other.to_string(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("{0}")]
    Invalid(String),
    /// An item of a strategic merge patch lacks the key of its list: 500 without a reason on the stock server.
    #[error("{0}")]
    NoMergeKey(String),
    /// A path of a JSON patch is missing: 422 on the stock server.
    #[error("{0}")]
    NotApplicable(String),
    /// A `test` of a JSON patch failed: 422 as well, but policies pass over the patch.
    #[error("{0}")]
    TestFailed(String),
}
