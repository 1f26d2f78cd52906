//! Sets of field paths, and their text form FieldsV1.
//!
//! A tree: an element of a path is kept in the form FieldsV1 prints it (`f:name`, `k:{"name":"web"}`, `v:"x"`), so that
//! sets are read, combined and printed without interpreting them. Kept true: no entry is empty.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/fieldpath/serialize.go

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(BTreeMap<Box<str>, Entry>);

/// What a set says of one path and of what lies below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path itself is in the set.
    pub member: bool,
    pub below: FieldSet,
}

impl Entry {
    pub fn leaf() -> Entry {
        Entry { member: true, below: FieldSet::default() }
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, element: &str) -> Option<&Entry> {
        self.0.get(element)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(element, entry)| (&**element, entry))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Entry)> {
        self.0.iter_mut().map(|(element, entry)| (&**element, entry))
    }

    /// Adds to what the set says of an element.
    pub(crate) fn put(&mut self, element: &str, entry: Entry) {
        if entry.is_empty() {
            return;
        }
        match self.0.entry(element.into()) {
            Slot::Vacant(slot) => drop(slot.insert(entry)),
            Slot::Occupied(mut slot) => {
                let own = slot.get_mut();
                own.member |= entry.member;
                own.below = own.below.union(&entry.below);
            }
        }
    }

    pub(crate) fn remove(&mut self, element: &str) {
        self.0.remove(element);
    }

    /// Changes what lies below an element; forgets the element when nothing is left.
    pub(crate) fn change(&mut self, element: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.0.get_mut(element) {
            change(entry);
            if entry.is_empty() {
                self.0.remove(element);
            }
        }
    }

    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut all = self.clone();
        for (element, entry) in &other.0 {
            all.put(element, entry.clone());
        }
        all
    }

    /// Path by path: a path stays although one above it goes.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        let mut left = FieldSet::default();
        for (element, entry) in &self.0 {
            let entry = match other.get(element) {
                None => entry.clone(),
                Some(gone) => {
                    Entry { member: entry.member && !gone.member, below: entry.below.difference(&gone.below) }
                }
            };
            left.put(element, entry);
        }
        left
    }

    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut both = FieldSet::default();
        for (element, entry) in &self.0 {
            if let Some(its) = other.get(element) {
                let member = entry.member && its.member;
                both.put(element, Entry { member, below: entry.below.intersection(&its.below) });
            }
        }
        both
    }

    /// As messages print them, e.g. `.spec.containers[name="web"].image`: those of a level, then what lies below them.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, above: &str, paths: &mut Vec<String>) {
        let path = |element: &str| format!("{above}{}", printed(element));
        paths.extend(self.0.iter().filter(|(_, entry)| entry.member).map(|(element, _)| path(element)));
        for (element, entry) in self.0.iter().filter(|(_, entry)| !entry.below.is_empty()) {
            entry.below.collect(&path(element), paths);
        }
    }

    /// Reads FieldsV1. None: it is none.
    pub fn parse(fields: &Value) -> Option<FieldSet> {
        let mut set = FieldSet::default();
        for (element, below) in fields.as_object()?.iter().filter(|(element, _)| *element != ".") {
            let map = below.as_object()?;
            let member = map.is_empty() || map.contains_key(".");
            set.put(&canonical(element)?, Entry { member, below: FieldSet::parse(below)? });
        }
        Some(set)
    }

    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        for (element, entry) in &self.0 {
            let below = entry.below.to_value();
            let below = match below {
                Value::Object(inner) if entry.member && !inner.is_empty() => {
                    let mut with_self = Map::from_iter([(".".to_owned(), Value::Object(Map::new()))]);
                    with_self.extend(inner);
                    Value::Object(with_self)
                }
                below => below,
            };
            fields.insert(element.to_string(), below);
        }
        Value::Object(fields)
    }
}

/// The element as this module would have written it; None when it is no element.
fn canonical(element: &str) -> Option<String> {
    match element.split_at_checked(2)? {
        ("f:", _) => Some(element.to_owned()),
        ("i:", index) => index.parse::<i64>().ok().map(|_| element.to_owned()),
        ("v:", json) => serde_json::from_str(json).ok().map(|value: Value| of_value(&value)),
        ("k:", json) => match serde_json::from_str(json).ok()? {
            Value::Object(keys) => Some(of_keys(keys.into_iter().collect())),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn of_field(name: &str) -> String {
    format!("f:{name}")
}

pub(crate) fn of_value(value: &Value) -> String {
    format!("v:{value}")
}

pub(crate) fn of_keys(mut keys: Vec<(String, Value)>) -> String {
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    format!("k:{}", Value::Object(keys.into_iter().collect()))
}

fn printed(element: &str) -> String {
    match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("v:", value)) => format!("[={value}]"),
        Some(("k:", json)) => {
            let keys: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some((_, index)) => format!("[{index}]"),
        None => element.to_owned(),
    }
}
