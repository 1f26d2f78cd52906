//! The store as its users meet it, on real files and on a disk that fails.

mod basics;
mod crash;
mod damage;
mod faults;
mod random;
mod sim_disk;

use std::{path::Path, sync::Arc};

use crate::{
    Body, Change, CommitError, Durability, Expect, Key, Meta, Object, Resource, Revision, Store, StoreConfig,
    Write, Writer,
};

pub(crate) fn config(dir: &Path) -> StoreConfig {
    StoreConfig { dir: dir.to_owned(), encrypted: vec![Resource::new("secrets")], history_events: 1000 }
}

/// `pods/default/web-0`, `nodes//one`.
pub(crate) fn key(text: &str) -> Key {
    let parts: Vec<&str> = text.split('/').collect();
    Key::new(Resource::new(parts[0]), parts[1], parts[2])
}

pub(crate) fn body(key: &Key, value: &str) -> Body {
    let before = format!(r#"{{"metadata":{{"name":"{}","resourceVersion":""#, key.name);
    let json = format!(r#"{before}","labels":{{"v":"{value}"}}}}}}"#);
    Body { revision_at: before.len(), json: json.into_bytes() }
}

pub(crate) fn put(text: &str, expect: Expect, value: &str, durability: Durability) -> Write {
    let key = key(text);
    let body = body(&key, value);
    let meta = Meta::from_json(&body.json).unwrap();
    Write { key, expect, change: Change::Put { meta, body }, durability }
}

pub(crate) fn delete(text: &str, revision: Revision, durability: Durability) -> Write {
    let key = key(text);
    let body = body(&key, "gone");
    Write { key, expect: Expect::Revision(revision), change: Change::Delete { body }, durability }
}

pub(crate) async fn create(writer: &Writer, text: &str, value: &str) -> Result<Arc<Object>, CommitError> {
    writer.commit(put(text, Expect::Absent, value, Durability::Durable)).await
}

/// Every object with its value and revision, by key.
pub(crate) fn contents(store: &Store) -> Vec<(String, String, u64)> {
    let snapshot = store.reader().snapshot();
    let row = |object: &Arc<Object>| {
        let value = object.meta.label("v").unwrap_or_default().to_owned();
        (object.key.to_string(), value, object.revision.0)
    };
    snapshot
        .resources()
        .into_iter()
        .flat_map(|(resource, _)| snapshot.list(&crate::Scope::all(resource)).map(row).collect::<Vec<_>>())
        .collect()
}
