//! Pods that wait for a node. Pure: the caller passes the time.
//!
//! A pod that could not be placed rests until something changes that may help it, and then at least for its back-off.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/scheduler/backend/queue (1 s … 10 s)

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

use crate::change::Change;

const BASE_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// To be tried at this time.
    Due(Instant),
    /// Nothing helps until one of these changes.
    Resting(HashSet<Change>),
}

struct Waiting {
    state: State,
    attempts: u32,
    /// No earlier attempt than this.
    backoff_until: Instant,
    sequence: u64,
}

impl Waiting {
    fn wake(&mut self, now: Instant) {
        if matches!(self.state, State::Resting(_)) {
            self.state = State::Due(self.backoff_until.max(now));
        }
    }
}

pub struct Queue<K> {
    waiting: HashMap<K, Waiting>,
    sequence: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Queue { waiting: HashMap::new(), sequence: 0 }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// The pod is new or was itself changed: it is tried as soon as its back-off allows.
    pub fn add(&mut self, key: K, now: Instant) {
        self.sequence += 1;
        let sequence = self.sequence;
        let fresh = || Waiting { state: State::Due(now), attempts: 0, backoff_until: now, sequence };
        self.waiting.entry(key).or_insert_with(fresh).wake(now);
    }

    pub fn remove(&mut self, key: &K) {
        self.waiting.remove(key);
    }

    /// All pods that wait, in the order in which they came.
    pub fn keys(&self) -> Vec<K> {
        let mut keys: Vec<(u64, &K)> = self.waiting.iter().map(|(key, it)| (it.sequence, key)).collect();
        keys.sort_by_key(|(sequence, _)| *sequence);
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// Whom this change may help is tried again after its back-off.
    pub fn wake(&mut self, change: Change, now: Instant) {
        let helps = |waiting: &Waiting| matches!(&waiting.state, State::Resting(by) if by.contains(&change));
        self.waiting.values_mut().filter(|waiting| helps(waiting)).for_each(|waiting| waiting.wake(now));
    }

    /// The pods to try now. They stay until removed.
    pub fn due(&self, now: Instant) -> HashSet<K> {
        let ready = |waiting: &Waiting| matches!(waiting.state, State::Due(at) if at <= now);
        self.waiting.iter().filter(|(_, waiting)| ready(waiting)).map(|(key, _)| key.clone()).collect()
    }

    /// When the next pod becomes due.
    pub fn next_due(&self) -> Option<Instant> {
        let at = |waiting: &Waiting| match waiting.state {
            State::Due(at) => Some(at),
            State::Resting(_) => None,
        };
        self.waiting.values().filter_map(at).min()
    }

    /// No node could take the pod, and after these changes one may.
    pub fn rest(&mut self, key: &K, now: Instant, helped_by: HashSet<Change>) {
        self.failed(key, now, |_| State::Resting(helped_by));
    }

    /// The attempt broke off: again after the back-off.
    pub fn retry(&mut self, key: &K, now: Instant) {
        self.failed(key, now, State::Due);
    }

    fn failed(&mut self, key: &K, now: Instant, state: impl FnOnce(Instant) -> State) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            let backoff = BASE_BACKOFF.saturating_mul(1 << waiting.attempts.min(8)).min(MAX_BACKOFF);
            waiting.attempts += 1;
            waiting.backoff_until = now + backoff;
            waiting.state = state(waiting.backoff_until);
        }
    }
}
