//! Whether a history is one that a correct server can have.
//!
//! Every write carries a value that no other write has, so what was read tells who wrote it. Checked are: each object is
//! a register that is created, compared-and-set, deleted and read, and its history is linearizable, kills or not (so no
//! acknowledged write is lost); revisions grow in the order of time and mean one thing each; a list is what there was
//! at its revision; a watch has every event of its range, in order, once.
//! Source: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::record::{History, Kind, List, Op, Outcome, Segment};

pub fn check(history: &History) -> Result<(), String> {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in &history.ops {
        keys.entry(&op.key).or_default().push(op);
    }
    for (key, ops) in &keys {
        linearizable(ops).map_err(|op| format!("{key} is not linearizable: nothing explains {op:?}"))?;
    }
    let facts = Facts::gather(history)?;
    in_order_of_time(history)?;
    history.lists.iter().try_for_each(|list| facts.list(list))?;
    history.watches.iter().try_for_each(|segment| facts.watch(segment))
}

/// How far a search for an order has come.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reached {
    /// All answered operations before this one have their place,
    first: usize,
    /// and these after it.
    beyond: BTreeSet<usize>,
    /// Of the unanswered ones, those that took effect.
    effective: u128,
    value: Option<u64>,
}

/// Looks for an order of all answered operations, and of any unanswered ones, that fits times and outcomes. Gives the
/// first operation that no order found a place for.
fn linearizable<'a>(ops: &[&'a Op]) -> Result<(), &'a Op> {
    let (mut answered, unanswered): (Vec<&Op>, Vec<&Op>) =
        ops.iter().partition(|op| op.outcome != Outcome::Unknown);
    answered.sort_by_key(|op| op.invoked);
    assert!(unanswered.len() <= 128, "the bits of a number");
    let start = Reached { first: 0, beyond: BTreeSet::new(), effective: 0, value: None };
    let (mut open, mut seen, mut furthest) = (vec![start.clone()], HashSet::from([start]), 0);
    while let Some(reached) = open.pop() {
        furthest = furthest.max(reached.first);
        if reached.first == answered.len() {
            return Ok(());
        }
        let left = |at: &usize| !reached.beyond.contains(at);
        // Whatever comes next began before any that is left had ended.
        let mut horizon = u64::MAX;
        let mut candidates = Vec::new();
        for at in (reached.first..answered.len()).filter(left) {
            if answered[at].invoked > horizon {
                break;
            }
            horizon = horizon.min(answered[at].returned);
            candidates.push(at);
        }
        let mut next = Vec::new();
        for at in candidates.into_iter().filter(|at| answered[*at].invoked < horizon) {
            let Some(value) = answered[at].applied_to(reached.value) else { continue };
            let mut then = Reached { value, ..reached.clone() };
            then.beyond.insert(at);
            while then.beyond.remove(&then.first) {
                then.first += 1;
            }
            next.push(then);
        }
        for (bit, op) in unanswered.iter().enumerate() {
            if reached.effective & (1 << bit) == 0
                && op.invoked < horizon
                && let Some(value) = op.applied_to(reached.value)
            {
                next.push(Reached { effective: reached.effective | (1 << bit), value, ..reached.clone() });
            }
        }
        open.extend(next.into_iter().filter(|then| seen.insert(then.clone())));
    }
    Err(answered[furthest])
}

impl Op {
    /// The register after this operation, when it could be done there with its outcome.
    fn applied_to(&self, value: Option<u64>) -> Option<Option<u64>> {
        if self.kind == Kind::Remove {
            // Without an answer it is only worth trying where it changes something.
            return (value.is_some() || self.outcome != Outcome::Unknown).then_some(None);
        }
        let (before, after) = match self.kind {
            Kind::Create(new) => (None, Some(new)),
            Kind::Update { from, to } => (Some(from), Some(to)),
            Kind::Delete { from } => (Some(from), None),
            Kind::Get | Kind::Remove => (value, value),
        };
        let possible = match self.outcome {
            Outcome::Done(_) | Outcome::Unknown => value == before,
            Outcome::Conflict => value.is_some() && value != before,
            Outcome::Absent => value.is_none() && before.is_some(),
            Outcome::Found(found) => value == found.map(|found| found.value),
        };
        let acts = matches!(self.outcome, Outcome::Done(_) | Outcome::Unknown);
        possible.then_some(if acts { after } else { value })
    }
}

/// What is known of the one order of all commits, from everybody who saw a part of it.
struct Facts<'a> {
    /// Key and value by revision.
    puts: BTreeMap<u64, (&'a str, u64)>,
    /// Key and last value by revision, as watches tell.
    deletions: BTreeMap<u64, (&'a str, u64)>,
    deleted_at: BTreeMap<u64, u64>,
    /// Values that somebody may have deleted.
    deletable: HashSet<u64>,
    /// Keys that went, or may have gone, with their collection.
    removable: HashSet<&'a str>,
}

impl<'a> Facts<'a> {
    fn gather(history: &'a History) -> Result<Facts<'a>, String> {
        let mut writers: BTreeMap<u64, &str> = BTreeMap::new();
        let mut facts = Facts {
            puts: BTreeMap::new(),
            deletions: BTreeMap::new(),
            deleted_at: BTreeMap::new(),
            deletable: HashSet::new(),
            removable: HashSet::new(),
        };
        for op in history.ops.iter().filter(|op| matches!(op.outcome, Outcome::Done(_) | Outcome::Unknown)) {
            match op.kind {
                Kind::Create(value) | Kind::Update { to: value, .. } => _ = writers.insert(value, &op.key),
                Kind::Delete { from } => _ = facts.deletable.insert(from),
                Kind::Remove => _ = facts.removable.insert(&op.key),
                Kind::Get => {}
            }
        }
        let mut seen: Vec<(&str, u64, u64)> = Vec::new();
        for op in &history.ops {
            match (op.kind, op.outcome) {
                (Kind::Create(value) | Kind::Update { to: value, .. }, Outcome::Done(Some(revision))) => {
                    seen.push((&op.key, revision, value));
                }
                (_, Outcome::Found(Some(found))) => seen.push((&op.key, found.revision, found.value)),
                _ => {}
            }
        }
        for list in &history.lists {
            seen.extend(list.items.iter().map(|(key, found)| (key.as_str(), found.revision, found.value)));
        }
        for event in history.watches.iter().flat_map(|segment| &segment.events) {
            let (revision, what) = (event.found.revision, (event.key.as_str(), event.found.value));
            if event.kind != "DELETED" {
                seen.push((what.0, revision, what.1));
                continue;
            }
            if facts.deletions.insert(revision, what).is_some_and(|known| known != what)
                || facts.deleted_at.insert(what.1, revision).is_some_and(|known| known != revision)
            {
                return Err(format!("two watches tell differently of a deletion: {event:?}"));
            }
        }
        let mut revisions: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, revision, value) in seen {
            if writers.get(&value) != Some(&key) {
                return Err(format!("{key} has value {value} at {revision}, which nobody can have written"));
            }
            if facts.puts.insert(revision, (key, value)).is_some_and(|known| known != (key, value))
                || revisions.insert(value, revision).is_some_and(|known| known != revision)
                || facts.deletions.contains_key(&revision)
            {
                return Err(format!("revision {revision} means two things, one is {key} with value {value}"));
            }
        }
        Ok(facts)
    }

    /// The list is what there was at its revision.
    fn list(&self, list: &List) -> Result<(), String> {
        let wrong = |what: String| Err(format!("the list at {} of {}: {what}", list.revision, list.resource));
        let mut latest: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (revision, (key, value)) in self.puts.range(..=list.revision) {
            if key.starts_with(&list.resource) {
                latest.insert(key, (*revision, *value));
            }
        }
        for (key, found) in &list.items {
            if latest.remove(key.as_str()) != Some((found.revision, found.value)) {
                return wrong(format!("{key} has {found:?}, another revision was the last"));
            }
            if self.deleted_at.get(&found.value).is_some_and(|revision| *revision <= list.revision) {
                return wrong(format!("{key} with {found:?} was deleted before"));
            }
        }
        for (key, (revision, value)) in latest {
            let deleted = self.deleted_at.get(&value).is_none_or(|revision| *revision <= list.revision);
            if !(deleted && (self.deletable.contains(&value) || self.removable.contains(key))) {
                return wrong(format!("{key} of revision {revision} is missing"));
            }
        }
        Ok(())
    }

    /// The watch has all events after its start up to its last one, in order, once.
    fn watch(&self, segment: &Segment) -> Result<(), String> {
        let wrong =
            |what: String| Err(format!("the watch of {} from {}: {what}", segment.resource, segment.after));
        let mut last = segment.after;
        let mut current: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for event in &segment.events {
            if event.found.revision <= last {
                return wrong(format!("{event:?} comes after revision {last}"));
            }
            last = event.found.revision;
            let (known, value) = (current.get(event.key.as_str()).copied(), event.found.value);
            let fits = match (event.kind.as_str(), known) {
                ("ADDED" | "MODIFIED" | "DELETED", None) => true,
                ("ADDED", Some(before)) => before.is_none(),
                ("MODIFIED", Some(before)) => before.is_some(),
                ("DELETED", Some(before)) => before == Some(value),
                _ => false,
            };
            if !fits {
                return wrong(format!("{event:?} does not follow {known:?}"));
            }
            current.insert(&event.key, (event.kind != "DELETED").then_some(value));
        }
        if last == segment.after {
            return Ok(());
        }
        let sent: BTreeSet<u64> = segment.events.iter().map(|event| event.found.revision).collect();
        let happened =
            self.puts.range(segment.after + 1..=last).chain(self.deletions.range(segment.after + 1..=last));
        for (revision, (key, _)) in happened.filter(|(_, (key, _))| key.starts_with(&segment.resource)) {
            if !sent.contains(revision) {
                return wrong(format!("the event of {key} at {revision} is missing, the last one is {last}"));
            }
        }
        Ok(())
    }
}

/// What was acknowledged before something began has a lower revision, and every list knows of it.
fn in_order_of_time(history: &History) -> Result<(), String> {
    let done = |op: &Op| match op.outcome {
        Outcome::Done(Some(revision)) => Some(revision),
        _ => None,
    };
    let mut ends: Vec<(u64, u64)> =
        history.ops.iter().filter_map(|op| Some((op.returned, done(op)?))).collect();
    ends.sort();
    let mut highest = 0;
    for (_, revision) in &mut ends {
        highest = highest.max(*revision);
        *revision = highest;
    }
    let before =
        |moment: u64| ends[..ends.partition_point(|(end, _)| *end < moment)].last().map_or(0, |last| last.1);
    for op in &history.ops {
        if done(op).is_some_and(|revision| revision <= before(op.invoked)) {
            return Err(format!(
                "{op:?} has a revision below {}, acknowledged before it began",
                before(op.invoked)
            ));
        }
    }
    for list in &history.lists {
        if list.revision < before(list.invoked) {
            return Err(format!(
                "a list of {} at {} is stale: {} was acknowledged",
                list.resource,
                list.revision,
                before(list.invoked)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::{Event, Found};

    fn op(invoked: u64, returned: u64, kind: Kind, outcome: Outcome) -> Op {
        Op { key: "maps/a".into(), kind, invoked, returned, outcome }
    }

    fn found(revision: u64, value: u64) -> Found {
        Found { revision, value }
    }

    fn event(kind: &str, revision: u64, value: u64) -> Event {
        Event { kind: kind.into(), key: "maps/a".into(), found: found(revision, value) }
    }

    /// Created, updated, deleted, created again; one update was never answered, and took effect.
    fn good() -> History {
        let ops = vec![
            op(1, 2, Kind::Create(1), Outcome::Done(Some(10))),
            op(3, 6, Kind::Update { from: 1, to: 2 }, Outcome::Done(Some(11))),
            op(4, 5, Kind::Get, Outcome::Found(Some(found(10, 1)))),
            op(7, 8, Kind::Update { from: 1, to: 9 }, Outcome::Conflict),
            op(9, u64::MAX, Kind::Update { from: 2, to: 3 }, Outcome::Unknown),
            op(11, 12, Kind::Get, Outcome::Found(Some(found(12, 3)))),
            op(13, 14, Kind::Delete { from: 3 }, Outcome::Done(None)),
            op(15, 16, Kind::Get, Outcome::Found(None)),
            op(17, 18, Kind::Update { from: 3, to: 8 }, Outcome::Absent),
            op(19, 20, Kind::Create(4), Outcome::Done(Some(14))),
            op(21, 22, Kind::Create(7), Outcome::Conflict),
        ];
        let events = vec![
            event("ADDED", 10, 1),
            event("MODIFIED", 11, 2),
            event("MODIFIED", 12, 3),
            event("DELETED", 13, 3),
            event("ADDED", 14, 4),
        ];
        let list = |invoked, revision, items: &[(u64, u64)]| List {
            resource: "maps/".into(),
            invoked,
            revision,
            items: items
                .iter()
                .map(|(revision, value)| ("maps/a".into(), found(*revision, *value)))
                .collect(),
        };
        History {
            ops,
            lists: vec![list(9, 12, &[(12, 3)]), list(15, 13, &[]), list(23, 14, &[(14, 4)])],
            watches: vec![Segment { resource: "maps/".into(), after: 9, events }],
        }
    }

    #[test]
    fn a_removed_collection_is_gone_once_that_was_answered() {
        let history = |removed, after| History {
            ops: vec![
                op(1, 2, Kind::Create(1), Outcome::Done(Some(10))),
                op(3, if removed == Outcome::Unknown { u64::MAX } else { 4 }, Kind::Remove, removed),
                op(5, 6, Kind::Get, Outcome::Found(after)),
            ],
            ..History::default()
        };
        let there = Some(found(10, 1));
        for (removed, after, right) in [
            (Outcome::Done(None), None, true),
            (Outcome::Done(None), there, false),
            (Outcome::Unknown, None, true),
            (Outcome::Unknown, there, true),
        ] {
            assert_eq!(check(&history(removed, after)).is_ok(), right, "{removed:?} {after:?}");
        }
    }

    #[test]
    fn a_right_history_is_right_and_every_wrong_one_is_found() {
        check(&good()).unwrap();
        type Spoil = fn(&mut History);
        let wrong: [(&str, Spoil); 17] = [
            ("an acknowledged write is lost", |h| h.ops[5].outcome = Outcome::Found(None)),
            ("a stale read", |h| h.ops[5].outcome = Outcome::Found(Some(found(10, 1)))),
            ("a read from the future", |h| h.ops[2].outcome = Outcome::Found(Some(found(12, 3)))),
            ("two updates of one state", |h| h.ops[3].outcome = Outcome::Done(Some(15))),
            ("a creation of what is there", |h| h.ops[10].outcome = Outcome::Done(Some(15))),
            ("a refusal without reason", |h| h.ops[0].outcome = Outcome::Conflict),
            ("an update of what was deleted", |h| h.ops[8].outcome = Outcome::Done(Some(15))),
            ("what was deleted is back", |h| h.ops[7].outcome = Outcome::Found(Some(found(12, 3)))),
            ("revisions against time", |h| h.ops[9].outcome = Outcome::Done(Some(5))),
            ("a revision for two things", |h| h.ops[9].outcome = Outcome::Done(Some(11))),
            ("a list without an object", |h| h.lists[0].items.clear()),
            ("a list with an old state", |h| h.lists[0].items[0].1 = found(11, 2)),
            ("a list with what is gone", |h| h.lists[1].items.push(("maps/a".into(), found(12, 3)))),
            ("a stale list", |h| h.lists[2].revision = 13),
            ("a lost event", |h| _ = h.watches[0].events.remove(2)),
            ("a repeated event", |h| h.watches[0].events.insert(2, event("MODIFIED", 11, 2))),
            ("events out of order", |h| h.watches[0].events.swap(1, 2)),
        ];
        for (what, spoil) in wrong {
            let mut history = good();
            spoil(&mut history);
            assert!(check(&history).is_err(), "{what} was not found");
        }
        // Of a deletion that only one of two watches tells.
        let mut history = good();
        let mut second = history.watches[0].clone();
        second.events.remove(3);
        second.events.pop();
        second.events.push(event("DELETED", 15, 4));
        history.watches.push(second);
        assert!(check(&history).is_err());
    }
}
