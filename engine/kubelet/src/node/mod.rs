//! The node's own objects: Node and Lease.

pub mod capacity;
pub mod events;
pub mod facts;
pub mod lease;
pub mod register;
pub mod status;
