//! Start, readiness, pulse and drain of the roles that share this process.
//!
//! Invariant: a role that panics is reported and started again after a pause; the others live on.
//! Invariant: roles stop in the order in which their stages are drained, all within one deadline.
//! A dropped [`ReadyHandle`] means *failed*, never *ready*.

mod pulse;
mod readiness;
mod stages;

pub use pulse::{Beat, NoPulse, Pulse};
pub use readiness::{NotReady, Readiness, ReadyHandle};
pub use stages::{Stage, Stages};
