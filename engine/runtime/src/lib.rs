//! Sandboxes, containers and images of this node. Containers live in per-pod shim processes and outlive this process.

pub mod api;
mod causes;
mod cgroup;
pub mod containers;
mod create;
pub mod images;
pub mod mountinfo;
mod protocol;
mod record;
mod seccomp;
mod shim;

pub use api::*;
pub use containers::{Runtime, RuntimeConfig, dispatch};
