//! Remembers what a credential proved, by its SHA-256, so that each signature is checked once and not per request.
//! What can change (that the account still exists, that time has passed) is never remembered.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

/// More credentials than this in use at once is rare on one machine; a full cache starts anew.
const CAPACITY: usize = 256;

pub struct Cache<V> {
    entries: Mutex<HashMap<[u8; 32], Arc<V>>>,
}

impl<V> Default for Cache<V> {
    fn default() -> Cache<V> {
        Cache { entries: Mutex::new(HashMap::new()) }
    }
}

impl<V> Cache<V> {
    pub fn get_or_try<E>(
        &self,
        credential: &[u8],
        prove: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        let key = sha256(credential);
        if let Some(known) = self.entries.lock().get(&key) {
            return Ok(known.clone());
        }
        let proved = Arc::new(prove()?);
        let mut entries = self.entries.lock();
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, proved.clone());
        Ok(proved)
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
