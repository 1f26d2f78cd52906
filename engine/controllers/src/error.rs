//! What a controller's pass can fail with.

use coracle_client::{api_message, is_namespace_terminating, is_reason};

use crate::key::ObjectKey;

#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("decode {kind} `{key}`")]
    Decode { kind: &'static str, key: ObjectKey, source: serde_json::Error },
    #[error("{verb} {kind} `{name}`")]
    Api { verb: &'static str, kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("{kind} `{key}` has an invalid selector")]
    Selector { kind: &'static str, key: ObjectKey, source: coracle_client::selector::SelectorError },
    /// `reason` is that of the condition `ReplicaFailure`.
    #[error("{reason} for ReplicaSet `{key}`: {message}")]
    Pods { reason: &'static str, key: ObjectKey, message: String },
    #[error("sign a token for Secret `{key}`: {why}")]
    Token { key: ObjectKey, why: String },
    #[error("pass panicked: {what}")]
    Panicked { what: String },
}

impl ControllerError {
    pub fn api(
        verb: &'static str,
        kind: &'static str,
        name: impl Into<String>,
    ) -> impl FnOnce(kube::Error) -> ControllerError {
        let name = name.into();
        move |source| ControllerError::Api { verb, kind, name, source: Box::new(source) }
    }

    /// Another writer was faster; the next pass sees its work.
    pub fn is_conflict(&self) -> bool {
        self.has_reason(&["Conflict", "AlreadyExists", "NotFound"])
    }

    /// No later pass can do better.
    pub fn is_namespace_terminating(&self) -> bool {
        matches!(self, ControllerError::Api { source, .. } if is_namespace_terminating(source))
    }

    pub fn has_reason(&self, reasons: &[&str]) -> bool {
        matches!(self, ControllerError::Api { source, .. } if reasons.iter().any(|reason| is_reason(source, reason)))
    }

    /// The whole chain for a log, with the API server's words at its end.
    pub fn chain(&self) -> String {
        match self {
            ControllerError::Api { source, .. } => format!("{self}: {}", api_message(source)),
            _ => match std::error::Error::source(self) {
                Some(source) => format!("{self}: {source}"),
                None => self.to_string(),
            },
        }
    }
}

/// Absence is what was wanted.
pub fn absent_is_fine<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_reason(&error, "NotFound") => Ok(None),
        Err(error) => Err(error),
    }
}
