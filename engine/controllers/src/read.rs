//! Typed reads of the store, which is the only cache.

use std::sync::Arc;

use coracle_kinds::Kind;
use coracle_store::{Object, Reader, Resource, Scope, Snapshot};

use crate::{error::ControllerError, key::ObjectKey};

pub fn scope(resource: &str, namespace: Option<&str>) -> Scope {
    Scope { resource: Resource(resource.into()), namespace: namespace.map(Into::into), name: None }
}

pub fn decode<K: Kind>(kind: &'static str, object: &Object) -> Result<Arc<K>, ControllerError> {
    object.decode::<K>().map_err(|source| ControllerError::Decode {
        kind,
        key: ObjectKey::of(&object.key),
        source,
    })
}

pub fn get<K: Kind>(
    reader: &Reader,
    resource: &str,
    kind: &'static str,
    key: &ObjectKey,
) -> Result<Option<Arc<K>>, ControllerError> {
    reader.get(&key.in_resource(resource)).map(|object| decode(kind, &object)).transpose()
}

/// The objects of a namespace that `wanted` picks by their metadata; only those are decoded.
pub fn list<K: Kind>(
    snapshot: &Snapshot,
    resource: &str,
    kind: &'static str,
    namespace: Option<&str>,
    wanted: impl Fn(&Object) -> bool,
) -> Result<Vec<Arc<K>>, ControllerError> {
    snapshot
        .list(&scope(resource, namespace))
        .filter(|object| wanted(object))
        .map(|object| decode(kind, object))
        .collect()
}

/// The keys in `namespace` of `resource` whose typed form `wanted` picks. What does not decode is passed over: its own
/// pass reports it.
pub fn keys<K: Kind>(
    reader: &Reader,
    resource: &str,
    namespace: &str,
    wanted: impl Fn(&K) -> bool,
) -> Vec<ObjectKey> {
    let snapshot = reader.snapshot();
    let scope = scope(resource, Some(namespace));
    snapshot
        .list(&scope)
        .filter(|object| object.decode::<K>().is_ok_and(|typed| wanted(&typed)))
        .map(|object| ObjectKey::of(&object.key))
        .collect()
}

/// Every key of `resource`.
pub fn all_keys(reader: &Reader, resource: &str) -> Vec<ObjectKey> {
    let snapshot = reader.snapshot();
    let scope = scope(resource, None);
    snapshot.list(&scope).map(|object| ObjectKey::of(&object.key)).collect()
}
