//! What can go wrong: with an expression's text, and with its evaluation.

/// Texts are those of cel-go, as stock servers pass them on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("no such overload")]
    NoOverload,
    #[error("{0}")]
    Failed(String),
    /// One expression took more than [`crate::PER_CALL_LIMIT`].
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// All expressions together took more than they may.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}

impl Error {
    /// Nothing may be evaluated after it.
    pub fn is_final(&self) -> bool {
        matches!(self, Error::CostLimit | Error::OutOfBudget)
    }
}

pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Failed(why.into()))
}

/// The text of an expression makes no sense. Printed as cel-go prints its issues, with the place of each.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct CompileError {
    pub text: String,
}

/// One issue at a line (from 1) and column (from 0).
pub(crate) fn issue(source: &str, line: usize, column: usize, message: &str) -> String {
    let text = source.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let dots = ".".repeat(column);
    format!("ERROR: <input>:{line}:{}: {message}\n | {text}\n | {dots}^", column + 1)
}
