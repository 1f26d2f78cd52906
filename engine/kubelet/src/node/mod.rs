//! The node's own objects: Node, CSINode and Lease.

pub mod capacity;
pub mod classes;
pub mod csi_node;
pub mod events;
pub mod facts;
pub mod lease;
pub mod register;
pub mod status;
