//! The state of a cluster in one file, and back: `coracle backup` and `coracle restore`.
//!
//! A backup is text, one JSON document a line, so that `jq` can read it and a single object can be taken out of it:
//!
//! ```text
//! {"backup":{"version":1,"revision":4711,"time":"2026-11-24T12:00:00Z","writer":"coracle 0.1.0"}}
//! {"file":{"path":"pki/ca.key","content":"-----BEGIN …"}}
//! {"object":{"resource":"secrets","namespace":"default","name":"a","revision":17,"json":{…}}}
//! {"end":{"files":5,"objects":120,"sha256":"…"}}
//! ```
//!
//! Kept true: all objects are those of one revision; the SHA-256 in the last line covers every byte before that line; a
//!            data directory holds the state from before a restore or the restored one, never parts of both.
//! Secrets and keys stand in the file as they are: it is worth as much as the cluster, and made with mode 0600.

mod error;
mod format;
mod restore;
#[cfg(test)]
mod tests;

pub use error::{ReadError, RestoreError};
pub use format::{Encoder, FileLine, Header, Line, ObjectLine, Reader, VERSION};
pub use restore::{NEEDED, Restored, finish, holds_a_cluster, restore};
