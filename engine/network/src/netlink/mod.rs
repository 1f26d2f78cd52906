//! Netlink without a library: one way to build messages and one way to hand them to the kernel, shared by links
//! (rtnetlink), nftables and connection tracking.
//!
//! Invariant: a refused message is reported as what it tried to do and on what, with the kernel's errno as source.
//! Source:    https://docs.kernel.org/userspace-api/netlink/intro.html

mod message;
mod socket;

pub use message::{Attributes, Batch, attribute, attributes, text};
pub use socket::{Family, Reply, Socket};

/// What the kernel refused.
#[derive(Debug)]
pub struct Refused {
    pub action: &'static str,
    pub subject: String,
    pub source: std::io::Error,
}

impl Refused {
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl From<Refused> for crate::NetworkError {
    fn from(refused: Refused) -> Self {
        let Refused { action, subject, source } = refused;
        crate::NetworkError::Failed { action, subject, source }
    }
}
