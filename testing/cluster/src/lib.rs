//! Boots a real Coracle inside private network and mount namespaces, for end-to-end tests.
//!
//! Invariant: nothing here ever touches the host's network. The thread that makes a [`Cluster`] leaves the host's
//! namespaces first; every program it starts, Coracle and clients alike, inherits the private ones.
//! The node's address lies on a veth whose other end is in a second, otherwise empty network namespace: no uplink.

mod cluster;
pub mod free4chat;
mod images;
mod load;
mod namespaces;
mod outcome;
mod wait;

pub use cluster::{Cluster, NODE_IP, PEER_IP};
pub use images::{ImageBuilder, busybox};
pub use load::{Load, Tally};
pub use namespaces::{PeerNamespace, enter_private_namespaces};
pub use outcome::Outcome;
pub use wait::{check, eventually, within};
