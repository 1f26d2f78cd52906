//! The Common Expression Language as Kubernetes uses it: compiled once, evaluated often, on JSON as it lies in memory.
//!
//! Kept true: what cannot be evaluated is an error when it is compiled; an evaluation ends within its cost limits; no
//! expression panics. The grammar is the `cel` crate's (its small parser); types, cost and libraries are here, because
//! stock servers refuse ill-typed expressions when they are written and bound the others when they run.
//! Source: https://kubernetes.io/docs/reference/using-api/cel/ and https://github.com/google/cel-spec

mod compile;
mod error;
mod estimate;
mod evaluate;
mod functions;
mod library;
mod lower;
mod node;
mod operators;
mod signature;
mod time;
pub mod time_zone;
mod types;
mod value;

pub use compile::{Environment, Program};
pub use error::{CompileError, Error};
pub use estimate::Sizes;
pub use evaluate::{Activation, BUDGET, MATCH_CONDITIONS_BUDGET, PER_CALL_LIMIT};
pub use library::authorizer::{Authority, Decision, Question};
pub use types::{Field, ListType, ObjectType, Order, Type};
pub use value::{List, Map, Text, Value};

#[cfg(test)]
mod tests;
