//! The order of work of one controller: keys, each at most once, failed ones later and later.
//!
//! A key that is added while it is being worked on runs again after that. Pure: the caller passes the time.
//! Source: https://github.com/kubernetes/client-go/blob/master/util/workqueue/default_rate_limiters.go (5 ms … 1000 s)

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::queue_metrics::Counts;

const BASE_DELAY: Duration = Duration::from_millis(5);
const MAX_DELAY: Duration = Duration::from_secs(1000);

pub struct Queue<K> {
    ready: VecDeque<K>,
    /// Everything in `ready`, and keys that were added while they were being worked on.
    dirty: HashSet<K>,
    working: HashSet<K>,
    delayed: BTreeMap<(Instant, u64), K>,
    /// The one delay of each delayed key.
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
    counts: Arc<Counts>,
}

impl<K> Queue<K> {
    pub fn new(counts: Arc<Counts>) -> Self {
        Queue {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            counts,
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub fn add(&mut self, key: K) {
        if !self.dirty.insert(key.clone()) {
            return;
        }
        self.counts.adds.fetch_add(1, Relaxed);
        self.counts.depth.store(self.dirty.len() as u64, Relaxed);
        if !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// Adds `key` at `when`; of several delays of one key the earliest counts.
    pub fn add_at(&mut self, key: K, when: Instant) {
        if let Some(&(earlier, sequence)) = self.due.get(&key) {
            if earlier <= when {
                return;
            }
            self.delayed.remove(&(earlier, sequence));
        }
        self.counts.retries.fetch_add(1, Relaxed);
        self.sequence += 1;
        self.due.insert(key.clone(), (when, self.sequence));
        self.delayed.insert((when, self.sequence), key);
    }

    /// When [`Queue::take`] next has something that it does not have now.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|(&(when, _), _)| when)
    }

    /// The next key to work on. [`Queue::done`] must follow.
    pub fn take(&mut self, now: Instant) -> Option<K> {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.counts.depth.store(self.dirty.len() as u64, Relaxed);
        self.working.insert(key.clone());
        Some(key)
    }

    pub fn done(&mut self, key: &K) {
        self.working.remove(key);
        if self.dirty.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    /// A pass went well: the next failure starts at the shortest delay.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// A pass failed: `key` comes again after its back-off, which is returned.
    pub fn retry(&mut self, key: K, now: Instant) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = BASE_DELAY.saturating_mul(1 << (*failures).min(20)).min(MAX_DELAY);
        *failures += 1;
        self.add_at(key, now + delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_queued_once() {
        let mut queue = Queue::new(Arc::default());
        let now = Instant::now();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!((queue.take(now), queue.take(now), queue.take(now)), (Some("a"), Some("b"), None));
    }

    #[test]
    fn a_key_added_while_worked_on_runs_once_more_and_never_twice_at_once() {
        let mut queue = Queue::new(Arc::default());
        let now = Instant::now();
        queue.add("a");
        assert_eq!(queue.take(now), Some("a"));
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(now), None);
        queue.done(&"a");
        assert_eq!(queue.take(now), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn waiting_keys_adds_and_retries_are_counted() {
        let counts = Arc::new(Counts::default());
        let mut queue = Queue::new(counts.clone());
        let now = Instant::now();
        let shown = || [&counts.depth, &counts.adds, &counts.retries].map(|count| count.load(Relaxed));
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(shown(), [2, 2, 0]);
        assert_eq!(queue.take(now), Some("a"));
        queue.add("a");
        assert_eq!(shown(), [2, 3, 0], "one waits, one comes again");
        queue.done(&"a");
        queue.retry("c", now);
        assert_eq!(shown(), [2, 3, 1]);
        assert_eq!((queue.take(now), queue.take(now)), (Some("b"), Some("a")));
        assert_eq!(shown(), [0, 3, 1]);
    }

    #[test]
    fn failures_double_the_delay_from_5_ms_to_1000_s() {
        let mut queue = Queue::new(Arc::default());
        let now = Instant::now();
        let delays: Vec<u128> = (0..20).map(|_| queue.retry("a", now).as_millis()).collect();
        assert_eq!(&delays[..4], [5, 10, 20, 40]);
        assert_eq!(delays[19], 1_000_000);
        queue.forget(&"a");
        assert_eq!(queue.retry("a", now).as_millis(), 5);
    }

    #[test]
    fn the_earliest_delay_of_a_key_counts() {
        let mut queue = Queue::new(Arc::default());
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        queue.add_at("a", at(10));
        queue.add_at("a", at(5));
        queue.add_at("a", at(7));
        assert_eq!(queue.next_due(), Some(at(5)));
        assert_eq!(queue.take(at(4)), None);
        assert_eq!(queue.take(at(5)), Some("a"));
        assert_eq!(queue.next_due(), None);
    }
}
