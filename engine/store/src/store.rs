//! The way in: open, read, write, close.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Change, CommitError, Compacted, Key, Meta, Object, OpenError, Resource, Revision, Scope, Snapshot, Watch,
    Write,
    committer::{Commit, Committer, Published},
    disk::{Disk, OsDisk},
    history::History,
    keyring::Keyring,
    log::{Log, SEGMENT_LEN},
    record::MAX_NAME_LEN,
    recover::{Recovered, recover},
    state::State,
    writer::{Request, WriterThread, commit_here},
};

/// Commits that may wait for the writer; more make their callers wait.
const QUEUE: usize = 1024;

#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Created when absent, mode 0700.
    pub dir: PathBuf,
    /// Resources whose bytes are encrypted on disk, e.g. `secrets`. The key lies in `dir`, mode 0600.
    pub encrypted: Vec<Resource>,
    /// How many events the watch history keeps (and 4 KiB of JSON for each, whichever is reached first).
    pub history_events: usize,
}

/// Opens with [`Store::open`]; hands out any number of readers and writers.
///
/// Dropped without [`Store::close`], it ends when the last [`Writer`] is dropped.
pub struct Store {
    reader: Reader,
    writer: Writer,
}

impl Store {
    pub async fn open(config: StoreConfig) -> Result<Store, OpenError> {
        Store::open_on(Arc::new(OsDisk), config).await
    }

    /// Opens on another file layer.
    pub async fn open_on(disk: Arc<dyn Disk>, config: StoreConfig) -> Result<Store, OpenError> {
        Store::open_sized(disk, config, SEGMENT_LEN).await
    }

    pub(crate) async fn open_sized(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        segment_len: u64,
    ) -> Result<Store, OpenError> {
        match tokio::task::spawn_blocking(move || open(disk, config, segment_len)).await {
            Ok(opened) => opened,
            Err(error) => Err(OpenError::Thread { source: std::io::Error::other(error) }),
        }
    }

    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// Waits until everything acknowledged is on disk, then refuses further writes.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.writer.requests.send(Request::Close(done)).await.is_ok() {
            _ = closed.await; // dropped, never sent
        }
    }
}

fn open(disk: Arc<dyn Disk>, config: StoreConfig, segment_len: u64) -> Result<Store, OpenError> {
    let dir = config.dir;
    let failed = |action| {
        let path = dir.clone();
        move |source| OpenError::Io { action, path, source }
    };
    disk.create_dir(&dir).map_err(failed("create"))?;
    let lock = disk.lock(&dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.clone() },
        _ => failed("lock")(source),
    })?;
    let mut keyring = Keyring::load(&*disk, &dir)?;
    let Recovered { state, position } = recover(&*disk, &dir, segment_len, &keyring)?;
    if !config.encrypted.is_empty() {
        keyring.ensure_key(&*disk, &dir)?;
    }
    let published = Arc::new(Published {
        state: ArcSwap::from_pointee(state.clone()),
        history: Arc::new(History::new(config.history_events, state.revision)),
        read_only: RwLock::new(None),
    });
    let (requests, queue) = mpsc::channel(QUEUE);
    let committer = Arc::new(Mutex::new(Committer {
        published: published.clone(),
        working: state,
        log: Log::new(disk.clone(), &dir, segment_len, position),
        disk,
        dir,
        keyring: Arc::new(keyring),
        encrypted: Arc::new(config.encrypted.into_iter().collect()),
        unwritten: Default::default(),
        checkpoint: None,
        buffer: Vec::new(),
        group_size: 0,
        ended: false,
    }));
    let thread = WriterThread { requests: queue, committer: committer.clone(), lock: Some(lock) };
    std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || thread.run())
        .map_err(|source| OpenError::Thread { source })?;
    Ok(Store { reader: Reader { published }, writer: Writer { requests, committer } })
}

/// The only way to change the store. Held by the API server alone.
#[derive(Clone)]
pub struct Writer {
    requests: mpsc::Sender<Request>,
    committer: Arc<Mutex<Committer>>,
}

impl Writer {
    /// Returns the committed object (for a deletion: its last state at the deletion's revision).
    /// A caller that goes away before the answer may have written or not.
    ///
    /// # Panics
    /// When `revision_at` lies outside the body, or a part of the key has more than 65535 bytes.
    pub async fn commit(&self, write: Write) -> Result<Arc<Object>, CommitError> {
        let (Change::Put { body, .. } | Change::Delete { body }) = &write.change;
        assert!(body.revision_at <= body.json.len(), "the revision's place lies outside the body");
        let Key { resource, namespace, name } = &write.key;
        assert!([&resource.0, namespace, name].iter().all(|part| part.len() <= MAX_NAME_LEN), "key too long");
        let last_meta = match &write.change {
            Change::Delete { body } => Meta::from_json(&body.json).ok(),
            Change::Put { .. } => None,
        };
        let (reply, answer) = oneshot::channel();
        let commit = Commit { write, last_meta, reply };
        if let Some(commit) = commit_here(&self.committer, &self.requests, commit) {
            self.requests.send(Request::Commit(commit)).await.map_err(|_| CommitError::Closed)?;
        }
        answer.await.unwrap_or(Err(CommitError::Closed))
    }

    /// That commits are worked on: returns when those that were sent before are done. Writes nothing.
    pub async fn probe(&self) -> Result<(), CommitError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Probe(reply)).await.map_err(|_| CommitError::Closed)?;
        answer.await.map_err(|_| CommitError::Closed)
    }
}

/// Reads never wait for a writer or for the disk.
#[derive(Clone)]
pub struct Reader {
    published: Arc<Published>,
}

impl Reader {
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.published.state.load_full() }
    }

    pub fn revision(&self) -> Revision {
        self.published.state.load().revision
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.published.state.load().get(key).cloned()
    }

    /// Events after `after`, in order, none lost or repeated. `Err` when the history does not reach back that far.
    pub fn watch(&self, scope: Scope, after: Revision) -> Result<Watch, Compacted> {
        self.published.history.watch(scope, after)
    }

    /// The objects of one resource as they were at a past revision. `Err` when the history does not reach back that far.
    pub fn snapshot_at(&self, resource: &Resource, revision: Revision) -> Result<Snapshot, Compacted> {
        let now = self.snapshot();
        let events = self.published.history.between(resource, revision, now.revision())?;
        let mut state = State::clone(&now.state);
        for event in events.iter().rev() {
            match &event.previous {
                Some(previous) => drop(state.put(previous.clone())),
                None => drop(state.remove(&event.object.key)),
            }
        }
        state.revision = revision;
        Ok(Snapshot { state: Arc::new(state) })
    }

    /// A snapshot and the watch that continues it.
    pub fn list_watch(&self, scope: Scope) -> (Snapshot, Watch) {
        loop {
            let snapshot = self.snapshot();
            // Fails only if the history's whole length was committed in between.
            if let Ok(watch) = self.watch(scope.clone(), snapshot.revision()) {
                return (snapshot, watch);
            }
        }
    }

    /// Why the disk refused the last commit; `None` when it did not.
    pub fn read_only(&self) -> Option<String> {
        self.published.read_only.read().clone()
    }

    /// How many events the watch history holds.
    pub fn history_len(&self) -> usize {
        self.published.history.len()
    }
}
