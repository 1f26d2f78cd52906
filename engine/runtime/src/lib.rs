//! Sandboxes, containers and images of this node. Containers live in per-pod shim processes and outlive this process.
//! CONTRACT: public names and signatures below are what the kubelet and `bin` compile against.

pub mod api;
pub mod images;
pub mod containers;

pub use api::*;
