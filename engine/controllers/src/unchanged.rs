//! For how long things have been as they are, by a clock that stands still while the machine sleeps.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The value that was seen last of each key, and since when.
pub struct Unchanged<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K, V> Default for Unchanged<K, V> {
    fn default() -> Unchanged<K, V> {
        Unchanged(Mutex::default())
    }
}

impl<K: Eq + Hash, V: PartialEq> Unchanged<K, V> {
    /// How long the key has had this value; from now on, when it is a new one.
    pub fn for_how_long(&self, key: K, value: V, now: Instant) -> Duration {
        let mut seen = self.0.lock();
        match seen.get(&key) {
            Some((last, since)) if *last == value => now - *since,
            _ => {
                seen.insert(key, (value, now));
                Duration::ZERO
            }
        }
    }

    pub fn forget<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.lock().remove(key);
    }
}
