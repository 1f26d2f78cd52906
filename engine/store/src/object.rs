//! One stored version of an object, what a write asks for, and what watchers see of it.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use coracle_kinds::Kind;
use parking_lot::Mutex;

use crate::{Key, Meta, Revision};

/// Canonical JSON of an object without the digits of its `resourceVersion`:
/// the store inserts them at byte `revision_at` (just after `"resourceVersion":"`) when it orders the commit.
#[derive(Clone, Debug)]
pub struct Body {
    pub json: Vec<u8>,
    pub revision_at: usize,
}

impl Body {
    /// The JSON with the digits in place, in a buffer of exactly its size.
    pub(crate) fn with_revision(&self, revision: Revision) -> Bytes {
        let digits = revision.0.to_string();
        let (before, after) = self.json.split_at(self.revision_at);
        let mut json = Vec::with_capacity(self.json.len() + digits.len());
        json.extend_from_slice(before);
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(after);
        json.into()
    }
}

/// One stored version of one object. Immutable and shared.
#[derive(Debug)]
pub struct Object {
    pub key: Key,
    pub revision: Revision,
    pub meta: Meta,
    /// The JSON, `resourceVersion` included.
    pub json: Bytes,
    typed: Mutex<Typed>,
}

/// The typed form of an object, kept while the object is current. The watch history holds thousands of past ones.
#[derive(Debug)]
enum Typed {
    Current(Option<Arc<dyn Any + Send + Sync>>),
    Past,
}

impl Object {
    pub(crate) fn new(key: Key, revision: Revision, meta: Meta, json: Bytes) -> Self {
        Object { key, revision, meta, json, typed: Mutex::new(Typed::Current(None)) }
    }

    /// The same object in another version of its API: never stored, only shown.
    pub fn in_version(&self, meta: Meta, json: Bytes) -> Self {
        Object::new(self.key.clone(), self.revision, meta, json)
    }

    /// The object is replaced or deleted: its typed form is no longer kept here.
    pub(crate) fn retire(&self) {
        *self.typed.lock() = Typed::Past;
    }

    /// The typed form. While the object is current it is decoded once and shared by all readers; a past object, or a
    /// second type asked of the same object, is decoded anew each time.
    pub fn decode<K: Kind>(&self) -> Result<Arc<K>, serde_json::Error> {
        self.decode_with(K::read)
    }

    /// [`Object::decode`] for a form that is no kind: what a reader made ready for its own use.
    pub fn decode_with<T: Send + Sync + 'static>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<Arc<T>, serde_json::Error> {
        if let Typed::Current(Some(typed)) = &*self.typed.lock()
            && let Ok(typed) = typed.clone().downcast::<T>()
        {
            return Ok(typed);
        }
        // Decoded without the lock: two readers at once may both do it, the first one's is kept.
        let decoded: Arc<T> = Arc::new(read(&self.json)?);
        match &mut *self.typed.lock() {
            Typed::Current(Some(kept)) => Ok(kept.clone().downcast::<T>().unwrap_or(decoded)),
            Typed::Current(empty) => {
                *empty = Some(decoded.clone());
                Ok(decoded)
            }
            Typed::Past => Ok(decoded),
        }
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Revision(Revision),
}

impl Expect {
    pub(crate) fn holds(self, current: Option<&Arc<Object>>) -> bool {
        match self {
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current.is_some_and(|object| object.revision == revision),
        }
    }
}

#[derive(Debug)]
pub enum Change {
    Put {
        meta: Meta,
        body: Body,
    },
    /// `body` is the object's last state; watchers get it with the revision of the deletion.
    /// Needs [`Expect::Revision`]: with [`Expect::Absent`] it is always a conflict.
    Delete {
        body: Body,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged when it is on disk.
    Durable,
    /// Never costs a sync: Leases, and repeat counts of Events. May be lost in a crash (then the last durable
    /// state, or absence, returns). Its revision is never given to something else.
    Volatile,
}

#[derive(Debug)]
pub struct Write {
    pub key: Key,
    pub expect: Expect,
    pub change: Change,
    pub durability: Durability,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One commit as watchers see it.
#[derive(Debug)]
pub struct Event {
    pub kind: EventKind,
    /// The new state; of a deletion the last one, with the deletion's revision.
    pub object: Arc<Object>,
    /// The state before, absent for `Added`: a watch with a selector needs it to see objects come and go.
    pub previous: Option<Arc<Object>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;

    fn object() -> Object {
        let body = Body { json: br#"{"v":"","n":7}"#.to_vec(), revision_at: 6 };
        let key = Key::new(Resource::new("things"), "", "one");
        Object::new(key, Revision(42), Meta::default(), body.with_revision(Revision(42)))
    }

    #[test]
    fn the_revision_is_inserted_into_the_body() {
        assert_eq!(object().json, r#"{"v":"42","n":7}"#);
    }

    #[test]
    fn decoding_twice_gives_the_same_value_and_another_type_gives_its_own() {
        struct Number(u64);
        impl Kind for Number {
            fn read(json: &[u8]) -> Result<Number, serde_json::Error> {
                serde_json::from_slice::<serde_json::Value>(json)
                    .map(|value| Number(value["n"].as_u64().unwrap()))
            }

            fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
                serde_json::to_vec(&self.0)
            }
        }
        struct Unreadable;
        impl Kind for Unreadable {
            fn read(_json: &[u8]) -> Result<Unreadable, serde_json::Error> {
                serde_json::from_str::<()>("never").map(|()| Unreadable)
            }

            fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
                Ok(Vec::new())
            }
        }
        let object = object();
        let first = object.decode::<Number>().unwrap();
        assert!(Arc::ptr_eq(&first, &object.decode::<Number>().unwrap()));
        assert_eq!((first.0, object.decode::<serde_json::Value>().unwrap()["n"].as_u64()), (7, Some(7)));
        assert!(object.decode::<Unreadable>().is_err());
    }

    #[test]
    fn a_past_object_keeps_no_typed_form() {
        let object = object();
        let kept = object.decode::<serde_json::Value>().unwrap();
        object.retire();
        assert_eq!(Arc::strong_count(&kept), 1);
        let anew = object.decode::<serde_json::Value>().unwrap();
        assert!(kept == anew && Arc::strong_count(&anew) == 1);
    }
}
