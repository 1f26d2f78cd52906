//! All objects at one revision, in a persistent map: a snapshot shares it, the writer changes its own copy.
//!
//! A table per resource, in key order. An entry is one pointer; its key is the object's own.

use std::{borrow::Borrow, cmp::Ordering, ops::Bound, sync::Arc};

use imbl::{OrdMap, OrdSet};

use crate::{Key, Object, Resource, Revision, Scope};

/// An object, ordered by its key alone.
#[derive(Clone)]
struct Entry(Arc<Object>);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Borrow<Key> for Entry {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

/// The objects of one resource.
#[derive(Clone, Default)]
struct Table {
    entries: OrdSet<Entry>,
    /// Of their JSON.
    bytes: u64,
}

#[derive(Clone, Default)]
pub(crate) struct State {
    pub revision: Revision,
    /// Never holds an empty table.
    tables: OrdMap<Resource, Table>,
    /// Bytes of JSON of all objects: what a checkpoint of this state costs.
    pub live_bytes: u64,
}

impl State {
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.tables.get(&key.resource)?.entries.get(key).map(|entry| &entry.0)
    }

    pub fn put(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let bytes = object.json.len() as u64;
        let table = self.tables.entry(object.key.resource.clone()).or_default();
        // A set keeps the old entry when an equal one is inserted, so it is taken out first.
        let previous = table.entries.remove(&object.key).map(|entry| entry.0);
        table.entries.insert(Entry(object));
        let gone = previous.as_ref().map_or(0, |previous| previous.json.len() as u64);
        table.bytes = table.bytes + bytes - gone;
        self.live_bytes = self.live_bytes + bytes - gone;
        previous
    }

    pub fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let table = self.tables.get_mut(&key.resource)?;
        let previous = table.entries.remove(key)?.0;
        table.bytes -= previous.json.len() as u64;
        if table.entries.is_empty() {
            self.tables.remove(&key.resource);
        }
        self.live_bytes -= previous.json.len() as u64;
        Some(previous)
    }

    /// Has a new key share the resource's string with its table, and the namespace's with a neighbour.
    pub fn share_names(&self, key: &mut Key) {
        let Some((resource, table)) = self.tables.get_key_value(&key.resource) else { return };
        key.resource = resource.clone();
        let neighbours = [table.entries.get_prev(key), table.entries.get_next(key)];
        let mut namespaces = neighbours.into_iter().flatten().map(|entry| &entry.0.key.namespace);
        if let Some(namespace) = namespaces.find(|namespace| **namespace == key.namespace) {
            key.namespace = namespace.clone();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.tables.iter().flat_map(|(_, table)| table.entries.iter().map(|entry| &entry.0))
    }
}

/// The whole store at one revision. O(1) to take.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
}

impl Snapshot {
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.state.get(key)
    }

    /// In key order.
    pub fn list<'a>(&'a self, scope: &Scope) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
        self.list_from(scope, Bound::Unbounded)
    }

    /// Like [`Snapshot::list`], from the first key greater than `after`.
    pub fn list_after<'a>(
        &'a self,
        scope: &Scope,
        after: &Key,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
        self.list_from(scope, Bound::Excluded(after.clone()))
    }

    fn list_from<'a>(
        &'a self,
        scope: &Scope,
        after: Bound<Key>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
        let Some(table) = self.state.tables.get(&scope.resource) else { return Box::new(std::iter::empty()) };
        let scope = scope.clone();
        if let (Some(namespace), Some(name)) = (&scope.namespace, &scope.name) {
            let key =
                Key { resource: scope.resource.clone(), namespace: namespace.clone(), name: name.clone() };
            let wanted = !matches!(&after, Bound::Excluded(after) if *after >= key);
            return Box::new(table.entries.get(&key).map(|entry| &entry.0).filter(|_| wanted).into_iter());
        }
        let first = scope.namespace.as_ref().map(|namespace| Key {
            resource: scope.resource.clone(),
            namespace: namespace.clone(),
            name: "".into(),
        });
        let from = match (first, after) {
            (Some(first), Bound::Excluded(after)) if after >= first => Bound::Excluded(after),
            (Some(first), _) => Bound::Included(first),
            (None, after) => after,
        };
        let namespace = scope.namespace.clone();
        Box::new(
            table
                .entries
                .range::<_, Key>((from, Bound::Unbounded))
                .map(|entry| &entry.0)
                .take_while(move |object| namespace.as_ref().is_none_or(|ns| *ns == object.key.namespace))
                .filter(move |object| scope.name.as_ref().is_none_or(|name| *name == object.key.name)),
        )
    }

    /// How many objects the scope has.
    pub fn count(&self, scope: &Scope) -> usize {
        if scope.namespace.is_none() && scope.name.is_none() {
            return self.state.tables.get(&scope.resource).map_or(0, |table| table.entries.len());
        }
        self.list(scope).count()
    }

    /// Of the JSON of all objects of a resource. Nothing is counted: the number is kept.
    pub fn bytes(&self, resource: &Resource) -> u64 {
        self.state.tables.get(resource).map_or(0, |table| table.bytes)
    }

    /// The resources that have objects, each with its count.
    pub fn resources(&self) -> Vec<(Resource, usize)> {
        self.state.tables.iter().map(|(resource, table)| (resource.clone(), table.entries.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;

    fn snapshot(keys: &[&str]) -> Snapshot {
        let mut state = State::default();
        for key in keys {
            state.put(Arc::new(Object::new(parse(key), Revision(1), Meta::default(), "{}".into())));
        }
        Snapshot { state: Arc::new(state) }
    }

    fn parse(key: &str) -> Key {
        let parts: Vec<&str> = key.split('/').collect();
        Key::new(Resource::new(parts[0]), parts[1], parts[2])
    }

    fn names<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> String {
        objects.map(|object| object.key.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_list_has_the_objects_of_its_scope_in_key_order() {
        let snapshot = snapshot(&["pods/b/x", "pods/a/y", "pods/a/x", "pods/ab/z", "nodes//n", "podsx/a/x"]);
        let pods = || Resource::new("pods");
        assert_eq!(names(snapshot.list(&Scope::all(pods()))), "pods/a/x pods/a/y pods/ab/z pods/b/x");
        assert_eq!(names(snapshot.list(&Scope::namespace(pods(), "a"))), "pods/a/x pods/a/y");
        assert_eq!(names(snapshot.list(&Scope::object(&parse("pods/a/y")))), "pods/a/y");
        assert_eq!(names(snapshot.list(&Scope::object(&parse("pods/a/z")))), "");
        assert_eq!(names(snapshot.list(&Scope::all(Resource::new("nodes")))), "nodes/n");
        let everywhere = Scope { resource: pods(), namespace: None, name: Some("x".into()) };
        assert_eq!(names(snapshot.list(&everywhere)), "pods/a/x pods/b/x");
        assert_eq!(
            snapshot.resources(),
            [("nodes", 1), ("pods", 4), ("podsx", 1)].map(|(r, n)| (Resource::new(r), n))
        );
    }

    #[test]
    fn a_page_starts_after_its_key_even_when_that_object_is_gone() {
        let snapshot = snapshot(&["pods/a/x", "pods/a/z", "pods/b/x"]);
        let pods = || Resource::new("pods");
        for (scope, after, want) in [
            (Scope::all(pods()), "pods/a/x", "pods/a/z pods/b/x"),
            (Scope::all(pods()), "pods/a/y", "pods/a/z pods/b/x"),
            (Scope::all(pods()), "pods/c/", ""),
            (Scope::namespace(pods(), "a"), "pods/a/x", "pods/a/z"),
            (Scope::namespace(pods(), "b"), "pods/a/x", "pods/b/x"),
            (Scope::namespace(pods(), "a"), "pods/b/x", ""),
            (Scope::object(&parse("pods/a/z")), "pods/a/x", "pods/a/z"),
            (Scope::object(&parse("pods/a/z")), "pods/a/z", ""),
        ] {
            assert_eq!(names(snapshot.list_after(&scope, &parse(after))), want, "{scope} after {after}");
        }
    }

    #[test]
    fn new_keys_share_the_names_of_their_neighbours() {
        let snapshot = snapshot(&["pods/a/x", "pods/b/y"]);
        let first = &snapshot.get(&parse("pods/a/x")).unwrap().key;
        for (new, neighbour) in [("pods/a/z", "pods/a/x"), ("pods/b/a", "pods/b/y")] {
            let mut key = parse(new);
            snapshot.state.share_names(&mut key);
            let neighbour = &snapshot.get(&parse(neighbour)).unwrap().key;
            assert!(Arc::ptr_eq(&key.resource.0, &first.resource.0), "{new}");
            assert!(Arc::ptr_eq(&key.namespace, &neighbour.namespace), "{new}");
            assert_eq!(key, parse(new));
        }
    }

    #[test]
    fn a_resource_knows_the_bytes_of_its_objects() {
        let mut state = State::default();
        for (key, json, pods, all) in [
            ("pods/a/x", Some("{}"), 2, 2),
            ("nodes//n", Some("{}"), 2, 4),
            ("pods/a/y", Some("[1,2]"), 7, 9),
            ("pods/a/x", Some("[1]"), 8, 10),
            ("pods/a/z", None, 8, 10),
            ("pods/a/y", None, 3, 5),
            ("pods/a/x", None, 0, 2),
        ] {
            let key = parse(key);
            match json {
                Some(json) => {
                    state.put(Arc::new(Object::new(key, Revision(1), Meta::default(), json.into())))
                }
                None => state.remove(&key),
            };
            let snapshot = Snapshot { state: Arc::new(state.clone()) };
            assert_eq!((snapshot.bytes(&Resource::new("pods")), state.live_bytes), (pods, all));
        }
    }

    #[test]
    fn a_snapshot_does_not_change_when_the_state_does() {
        let before = snapshot(&["pods/a/x"]);
        let mut state = State::clone(&before.state);
        state.remove(&parse("pods/a/x"));
        assert_eq!((before.resources().len(), state.tables.len()), (1, 0));
        assert_eq!((before.state.live_bytes, state.live_bytes), (2, 0));
    }
}
