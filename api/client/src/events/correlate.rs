//! Decides what becomes of an Event: posted, counted on an earlier one, or dropped. Pure: the Event carries the time.
//!
//! Equal Events are counted; more than ten similar ones (all but the message equal) within ten minutes become one; each
//! object has a token bucket.
//! Source: https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go (numbers and rules)

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::Happening;

/// Different messages of similar Events before they are combined.
const SIMILAR_LIMIT: usize = 10;
/// A quiet time of this length starts the count of similar Events anew.
const SIMILAR_INTERVAL_SECONDS: i64 = 600;
/// Events of one object before the refill rate counts.
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
/// Entries of each table; the least recently used one goes. client-go keeps 4096; one machine has fewer objects.
const TABLE_LIMIT: usize = 512;

/// What to write.
#[derive(Debug, PartialEq)]
pub(super) struct Post {
    pub key: String,
    pub message: String,
    /// The name of the Event that this one repeats.
    pub repeats: Option<String>,
    pub first: Timestamp,
    pub count: i32,
}

/// An Event that is on the server.
pub(super) struct Seen {
    pub name: String,
    pub first: Timestamp,
    pub count: i32,
}

#[derive(Default)]
pub(super) struct Correlator {
    seen: Table<Seen>,
    similar: Table<HashSet<String>>,
    buckets: Table<f64>,
}

impl Correlator {
    /// `None`: the object's bucket is empty.
    pub fn observe(&mut self, happening: &Happening) -> Option<Post> {
        let (key, message) = self.combine(happening);
        if !self.take_token(happening) {
            return None;
        }
        let at = happening.at;
        Some(match self.seen.get(&key, at) {
            Some(seen) => Post {
                message,
                repeats: Some(seen.name.clone()),
                first: seen.first,
                count: seen.count + 1,
                key,
            },
            None => Post { message, repeats: None, first: at, count: 1, key },
        })
    }

    pub fn posted(&mut self, key: String, seen: Seen) {
        let at = seen.first.max(self.seen.newest());
        self.seen.insert(key, seen, at);
    }

    fn combine(&mut self, happening: &Happening) -> (String, String) {
        let similar = similar_key(happening);
        let quiet =
            self.similar.age_seconds(&similar, happening.at).is_none_or(|age| age > SIMILAR_INTERVAL_SECONDS);
        if quiet {
            self.similar.insert(similar.clone(), HashSet::new(), happening.at);
        }
        if let Some(messages) = self.similar.get(&similar, happening.at) {
            if messages.len() >= SIMILAR_LIMIT && !messages.contains(&happening.message) {
                return (similar, format!("(combined from similar events): {}", happening.message));
            }
            messages.insert(happening.message.clone());
        }
        (format!("{similar}\u{1f}{}", happening.message), happening.message.clone())
    }

    fn take_token(&mut self, happening: &Happening) -> bool {
        let key = object_key(happening);
        let age = self.buckets.age_seconds(&key, happening.at);
        let tokens = match (age, self.buckets.get(&key, happening.at)) {
            (Some(age), Some(tokens)) => (*tokens + age.max(0) as f64 * REFILL_PER_SECOND).min(BURST),
            _ => BURST,
        };
        let granted = tokens >= 1.0;
        self.buckets.insert(key, if granted { tokens - 1.0 } else { tokens }, happening.at);
        granted
    }
}

fn object_key(happening: &Happening) -> String {
    let about = &happening.about;
    let part = |value: &Option<String>| value.clone().unwrap_or_default();
    [part(&about.api_version), part(&about.kind), part(&about.namespace), part(&about.name), part(&about.uid)]
        .join("\u{1f}")
}

fn similar_key(happening: &Happening) -> String {
    let field = happening.about.field_path.as_deref().unwrap_or_default();
    [&object_key(happening), field, happening.kind.as_str(), &happening.reason].join("\u{1f}")
}

/// A map that forgets its least recently used entry.
struct Table<V>(HashMap<String, (Timestamp, V)>);

impl<V> Default for Table<V> {
    fn default() -> Self {
        Table(HashMap::new())
    }
}

impl<V> Table<V> {
    fn age_seconds(&self, key: &str, now: Timestamp) -> Option<i64> {
        self.0.get(key).map(|(used, _)| now.as_second() - used.as_second())
    }

    fn get(&mut self, key: &str, now: Timestamp) -> Option<&mut V> {
        let (used, value) = self.0.get_mut(key)?;
        *used = now;
        Some(value)
    }

    fn insert(&mut self, key: String, value: V, now: Timestamp) {
        if self.0.len() >= TABLE_LIMIT && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(key, (now, value));
    }

    fn newest(&self) -> Timestamp {
        self.0.values().map(|(used, _)| *used).max().unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventType;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn happening(object: &str, message: &str, second: i64) -> Happening {
        Happening {
            about: ObjectReference { name: Some(object.to_owned()), ..Default::default() },
            kind: EventType::Normal,
            reason: "Pulled".to_owned(),
            message: message.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    /// Observes and, if it is to be posted, says that it was.
    fn post(correlator: &mut Correlator, happening: Happening) -> Option<Post> {
        let post = correlator.observe(&happening)?;
        let seen = Seen { name: "posted".to_owned(), first: post.first, count: post.count };
        correlator.posted(post.key.clone(), seen);
        Some(post)
    }

    #[test]
    fn equal_events_are_counted_on_the_first() {
        let mut correlator = Correlator::default();
        let first = post(&mut correlator, happening("a", "x", 10)).unwrap();
        assert_eq!((first.count, first.repeats), (1, None));
        let second = post(&mut correlator, happening("a", "x", 20)).unwrap();
        assert_eq!((second.count, second.repeats.as_deref()), (2, Some("posted")));
        assert_eq!(second.first, Timestamp::from_second(10).unwrap());
        assert_eq!(post(&mut correlator, happening("b", "x", 20)).unwrap().count, 1);
    }

    #[test]
    fn similar_events_are_combined_after_ten_messages() {
        let mut correlator = Correlator::default();
        for number in 0..10 {
            let post = post(&mut correlator, happening("a", &number.to_string(), number)).unwrap();
            assert_eq!(post.message, number.to_string());
        }
        let eleventh = post(&mut correlator, happening("a", "10", 11)).unwrap();
        assert_eq!(eleventh.message, "(combined from similar events): 10");
        assert_eq!(post(&mut correlator, happening("a", "11", 12)).unwrap().count, 2);
        let later = post(&mut correlator, happening("a", "12", 1000)).unwrap();
        assert_eq!(later.message, "12");
    }

    #[test]
    fn an_object_has_a_burst_of_25_and_then_one_event_per_300_seconds() {
        let mut correlator = Correlator::default();
        let posted =
            |correlator: &mut Correlator, second| post(correlator, happening("a", "x", second)).is_some();
        assert_eq!((0..40).filter(|_| posted(&mut correlator, 0)).count(), 25);
        assert!(!posted(&mut correlator, 299));
        assert!(posted(&mut correlator, 301));
        assert!(!posted(&mut correlator, 302));
        assert!(post(&mut correlator, happening("b", "x", 302)).is_some());
    }

    #[test]
    fn tables_stay_bounded() {
        let mut correlator = Correlator::default();
        for number in 0..2 * TABLE_LIMIT as i64 {
            post(&mut correlator, happening(&number.to_string(), "x", number));
        }
        assert_eq!(correlator.seen.0.len(), TABLE_LIMIT);
        assert_eq!(correlator.buckets.0.len(), TABLE_LIMIT);
    }
}
