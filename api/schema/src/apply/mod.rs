//! Server-side apply: who manages which fields, and how a manager's configuration is merged into the live object.
//!
//! Pure: no clock, no I/O. Reads: two objects and the shape of their type. Kept true: objects are pruned before they
//! come here (canonical scalars; nulls only where they are named), so equality of values is equality of JSON.
//! Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and
//! https://github.com/kubernetes-sigs/structured-merge-diff/tree/master/merge

mod compare;
mod extract;
mod managers;
mod merge;
mod operation;
mod place;
mod reconcile;
mod remove;
mod set;
mod typed;
mod versions;
mod zeros;

pub use managers::{Author, Manager, Managers, Operation};
pub use operation::{ApplyError, Conflict, conflict_message};
pub use set::FieldSet;
pub use versions::{Converted, Versions, Write};
