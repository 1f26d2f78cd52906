//! `metadata.managedFields`: reading, printing, order and number of its entries.
//!
//! Kept true: entries are sorted as a stock server sorts them, at most ten of them are updates, none is empty.
//! Source: https://github.com/kubernetes/apimachinery/tree/master/pkg/util/managedfields/internal

use super::set::FieldSet;
use serde_json::{Map, Value};

/// More updates than this are merged, the oldest first.
const MAX_UPDATES: usize = 10;
const OLD_UPDATES: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Who writes, through what.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub manager: &'a str,
    pub operation: Operation,
    pub api_version: &'a str,
    pub subresource: &'a str,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
    /// RFC 3339, seconds, UTC: sorts as text.
    pub time: Option<String>,
    pub fields: FieldSet,
}

impl Manager {
    pub(crate) fn new(author: Author<'_>) -> Manager {
        Manager {
            name: author.manager.to_owned(),
            operation: author.operation,
            api_version: author.api_version.to_owned(),
            subresource: author.subresource.to_owned(),
            time: None,
            fields: FieldSet::default(),
        }
    }

    /// Whoever applies stays the same in every version.
    pub(crate) fn is(&self, author: Author<'_>) -> bool {
        self.name == author.manager
            && self.operation == author.operation
            && self.subresource == author.subresource
            && (self.operation == Operation::Apply || self.api_version == author.api_version)
    }

    fn read(entry: &Value) -> Option<Manager> {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("fieldsType") != "FieldsV1" {
            return None;
        }
        Some(Manager {
            name: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            fields: entry.get("fieldsV1").map_or_else(|| Some(FieldSet::default()), FieldSet::parse)?,
        })
    }

    fn to_value(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |field: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(field.to_owned(), value.into());
            }
        };
        put("manager", &self.name);
        put("operation", self.operation.text());
        put("apiVersion", &self.api_version);
        put("time", self.time.as_deref().unwrap_or_default());
        put("fieldsType", "FieldsV1");
        entry.insert("fieldsV1".to_owned(), self.fields.to_value());
        if !self.subresource.is_empty() {
            entry.insert("subresource".to_owned(), self.subresource.as_str().into());
        }
        Value::Object(entry)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(pub Vec<Manager>);

impl Managers {
    /// None: not a list of entries that make sense.
    pub fn read(managed_fields: &Value) -> Option<Managers> {
        let entries = match managed_fields {
            Value::Null => &[][..],
            Value::Array(entries) => entries,
            _ => return None,
        };
        entries.iter().map(Manager::read).collect::<Option<_>>().map(Managers)
    }

    /// One entry without anything: all of them are to go.
    pub fn is_reset(managed_fields: &Value) -> bool {
        managed_fields
            .as_array()
            .is_some_and(|entries| entries.len() == 1 && entries[0].as_object().is_some_and(Map::is_empty))
    }

    /// None: there are none.
    pub fn to_value(&self) -> Option<Value> {
        (!self.0.is_empty()).then(|| Value::Array(self.0.iter().map(Manager::to_value).collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn of(&self, author: Author<'_>) -> Option<&Manager> {
        self.0.iter().find(|manager| manager.is(author))
    }

    /// The manager's entry; made when absent.
    pub(crate) fn own(&mut self, author: Author<'_>) -> &mut Manager {
        let at = self.0.iter().position(|manager| manager.is(author)).unwrap_or_else(|| {
            self.0.push(Manager::new(author));
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// Drops who manages nothing, merges old updates, sorts.
    pub(crate) fn tidy(&mut self) {
        self.0.retain(|manager| !manager.fields.is_empty());
        self.cap_updates();
        self.0.sort_by(|a, b| {
            let order = |manager: &Manager| (manager.operation, manager.time.clone());
            let names = |manager: &Manager| {
                (manager.name.clone(), manager.api_version.clone(), manager.subresource.clone())
            };
            order(a).cmp(&order(b)).then_with(|| names(a).cmp(&names(b)))
        });
    }

    fn cap_updates(&mut self) {
        let mut updates: Vec<Manager> = Vec::new();
        let mut others = Vec::new();
        for manager in self.0.drain(..) {
            if manager.operation == Operation::Update { updates.push(manager) } else { others.push(manager) }
        }
        if updates.len() > MAX_UPDATES {
            updates.sort_by(|a, b| (&a.time, &a.name).cmp(&(&b.time, &b.name)));
        }
        // The oldest of each version takes in the next ones of that version.
        let mut at = 1;
        while updates.len() > MAX_UPDATES && at < updates.len() {
            let first = (0..at).find(|first| updates[*first].api_version == updates[at].api_version);
            let Some(first) = first else {
                at += 1;
                continue;
            };
            let merged = updates.remove(at);
            let bucket = &mut updates[first];
            bucket.name = OLD_UPDATES.to_owned();
            bucket.subresource.clear();
            bucket.fields = bucket.fields.union(&merged.fields);
            bucket.time = merged.time;
        }
        self.0 = others;
        self.0.append(&mut updates);
    }
}
