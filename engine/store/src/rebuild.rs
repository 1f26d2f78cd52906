//! A new store that holds given objects from its first moment: what a backup is restored into.
//!
//! Kept true: the objects keep their bytes and revisions; the count of revisions goes on from the one that is given;
//!            encrypted resources are sealed with a new key.
//! Writes:    a directory that is empty or absent: the key file, a first log segment, a checkpoint of all objects.

use std::{borrow::Cow, collections::HashSet, path::Path, sync::Arc};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;

use crate::{
    Key, Meta, Object, OpenError, Resource, Revision,
    checkpoint::Checkpoint,
    disk::{Disk, OsDisk},
    frame::StoreId,
    keyring::Keyring,
    log::{SEGMENT_LEN, make_segment},
    state::State,
};

/// Why an object cannot be in a store.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("`{key}` has no readable metadata")]
    Metadata { key: Key, source: serde_json::Error },
    #[error("`{key}` at revision {revision} says of itself that it is `{found}`")]
    Misnamed { key: Key, revision: Revision, found: String },
    #[error("`{key}` is there twice")]
    Twice { key: Key },
}

/// Takes the objects, then writes the store.
#[derive(Default)]
pub struct Rebuild {
    state: State,
}

impl Rebuild {
    pub fn put(&mut self, key: Key, revision: Revision, json: Bytes) -> Result<(), RebuildError> {
        let unreadable = |key: &Key| {
            let key = key.clone();
            |source| RebuildError::Metadata { key, source }
        };
        let own: Named = serde_json::from_slice(&json).map_err(unreadable(&key))?;
        let found = own.metadata;
        let revision_text = revision.to_string();
        let fits = [&*found.name, &found.namespace, &found.resource_version]
            == [&*key.name, &key.namespace, &revision_text];
        if !fits {
            let found = format!("{}/{} at {}", found.namespace, found.name, found.resource_version);
            return Err(RebuildError::Misnamed { key, revision, found });
        }
        let meta = Meta::from_json(&json).map_err(unreadable(&key))?;
        let previous = self.state.put(Arc::new(Object::new(key, revision, meta, json)));
        previous.map_or(Ok(()), |twice| Err(RebuildError::Twice { key: twice.key.clone() }))
    }

    /// Writes the store. When it fails, what it has written is of no use to anybody.
    pub fn write(self, dir: &Path, encrypted: &[Resource], revision: Revision) -> Result<(), OpenError> {
        let failed = |action| {
            let path = dir.to_owned();
            move |source| OpenError::Io { action, path, source }
        };
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        disk.create_dir(dir).map_err(failed("create"))?;
        if !disk.list(dir).map_err(failed("list"))?.is_empty() {
            return Err(failed("make a new store in")(std::io::ErrorKind::DirectoryNotEmpty.into()));
        }
        let mut keyring = Keyring::load(&*disk, dir)?;
        if !encrypted.is_empty() {
            keyring.ensure_key(&*disk, dir)?;
        }
        let mut store = StoreId::default();
        let random = SystemRandom::new().fill(&mut store);
        random.map_err(|_| failed("name the store in")(std::io::Error::other("no random numbers")))?;
        make_segment(&*disk, dir, &store, FIRST, SEGMENT_LEN).map_err(failed("create a log in"))?;
        let ceiling = self.state.iter().map(|object| object.revision).fold(revision, Revision::max);
        let checkpoint = Checkpoint {
            disk,
            dir: dir.to_owned(),
            store,
            number: FIRST,
            state: Arc::new(self.state),
            ceiling,
            next_sequence: 0,
            keyring: Arc::new(keyring),
            encrypted: Arc::new(encrypted.iter().cloned().collect::<HashSet<_>>()),
        };
        checkpoint.write().map_err(failed("write all objects to"))
    }
}

/// The first log segment; the checkpoint covers what came before it. Segment 1 begins a store that has no checkpoint: with
/// another number, the loss of the checkpoint is told.
const FIRST: u64 = 2;

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    metadata: NamedMeta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMeta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreConfig, tests::key};

    fn object(name: &str, revision: u64) -> (Key, Revision, Bytes) {
        let key = key(name);
        let json = format!(
            r#"{{"metadata":{{"name":"{}","namespace":"{}","resourceVersion":"{revision}"}},"v":"hidden"}}"#,
            key.name, key.namespace
        );
        (key, Revision(revision), json.into())
    }

    fn rebuilt(rows: &[(&str, u64)]) -> Result<Rebuild, RebuildError> {
        let mut rebuild = Rebuild::default();
        for (name, revision) in rows {
            let (key, revision, json) = object(name, *revision);
            rebuild.put(key, revision, json)?;
        }
        Ok(rebuild)
    }

    #[tokio::test]
    async fn a_store_that_was_rebuilt_has_the_same_bytes_and_counts_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let encrypted = vec![Resource::new("secrets")];
        let rows = [("pods/a/x", 7), ("secrets/a/s", 9), ("nodes//n", 3)];
        rebuilt(&rows).unwrap().write(&path, &encrypted, Revision(100)).unwrap();
        for entry in std::fs::read_dir(&path).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let plain = bytes.windows(6).filter(|window| window == b"hidden").count();
            assert!([0, 2].contains(&plain), "the secret lies there readably");
        }
        let store =
            Store::open(StoreConfig { dir: path.clone(), encrypted, history_events: 10 }).await.unwrap();
        assert_eq!(store.reader().revision(), Revision(100));
        for (name, revision) in rows {
            let (key, revision, json) = object(name, revision);
            let found = store.reader().get(&key).unwrap();
            assert_eq!((&found.json, found.revision), (&json, revision));
        }
        let created = crate::tests::create(&store.writer(), "pods/a/y", "1").await.unwrap();
        assert_eq!(created.revision, Revision(101));
        store.close().await;
        assert!(Rebuild::default().write(&path, &[], Revision(1)).is_err(), "a store is never written over");
    }

    #[tokio::test]
    async fn a_rebuilt_store_without_its_checkpoint_is_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        rebuilt(&[("pods/a/x", 7)]).unwrap().write(dir.path(), &[], Revision(100)).unwrap();
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut checkpoints = names.filter(|path| path.to_string_lossy().contains("checkpoint"));
        std::fs::remove_file(checkpoints.next().unwrap()).unwrap();
        let config = StoreConfig { dir: dir.path().into(), encrypted: Vec::new(), history_events: 10 };
        let error = Store::open(config).await.err().unwrap().to_string();
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn an_object_that_is_not_what_its_key_says_is_refused() {
        assert!(matches!(rebuilt(&[("pods/a/x", 1), ("pods/a/x", 2)]), Err(RebuildError::Twice { .. })));
        let (_, revision, json) = object("pods/a/x", 1);
        let wrong = Rebuild::default().put(key("pods/a/y"), revision, json.clone());
        assert!(matches!(wrong, Err(RebuildError::Misnamed { .. })));
        let wrong = Rebuild::default().put(key("pods/a/x"), Revision(2), json);
        assert!(matches!(wrong, Err(RebuildError::Misnamed { .. })));
        let wrong = Rebuild::default().put(key("pods/a/x"), revision, "{}".into());
        assert!(matches!(wrong, Err(RebuildError::Metadata { .. })));
    }
}
