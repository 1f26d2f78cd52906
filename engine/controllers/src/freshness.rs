//! Proof that a pass sees the writes of the pass before it, so that nothing is created or deleted twice.
//!
//! Invariant: after `wrote(key, revision)`, `is_fresh(key)` holds only once the store shows that revision.
//! This takes the place of client-go's expectations: one revision counter orders everything, so one number suffices.

use std::collections::HashMap;

use coracle_store::{Reader, Revision};
use parking_lot::Mutex;

use crate::key::ObjectKey;

#[derive(Default)]
pub struct Freshness(Mutex<HashMap<ObjectKey, Revision>>);

impl Freshness {
    /// Notes the `resourceVersion` that a write of this pass returned.
    pub fn wrote(&self, key: &ObjectKey, resource_version: Option<&str>) {
        let Some(revision) = resource_version.and_then(|text| text.parse().ok()).map(Revision) else {
            return;
        };
        let mut written = self.0.lock();
        let latest = written.entry(key.clone()).or_default();
        *latest = revision.max(*latest);
    }

    pub fn is_fresh(&self, key: &ObjectKey, reader: &Reader) -> bool {
        self.reached(key, reader.revision())
    }

    fn reached(&self, key: &ObjectKey, now: Revision) -> bool {
        let mut written = self.0.lock();
        match written.get(key) {
            Some(&latest) if latest > now => false,
            Some(_) => {
                written.remove(key);
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stale_until_the_store_shows_its_last_write() {
        let freshness = Freshness::default();
        let key = ObjectKey::new("default", "web");
        assert!(freshness.reached(&key, Revision(1)));
        freshness.wrote(&key, Some("7"));
        freshness.wrote(&key, Some("5"));
        assert!(!freshness.reached(&key, Revision(6)));
        assert!(freshness.reached(&ObjectKey::new("default", "db"), Revision(1)));
        assert!(freshness.reached(&key, Revision(7)));
    }
}
