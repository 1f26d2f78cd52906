//! What changes the store: orders a group of commits, has them on disk with one sync, then publishes and answers them.
//!
//! Invariant: what readers and watchers see was on disk before (but for volatile writes), revisions grow by one
//! from commit to commit, and none is ever given twice, restarts included.

use std::{collections::HashSet, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::{
    Change, CommitError, Durability, Event, EventKind, Key, Meta, Object, Resource, Revision, Write,
    checkpoint::Checkpoint,
    disk::Disk,
    history::History,
    keyring::Keyring,
    log::{AppendError, Log},
    record::GroupEncoder,
    state::State,
};

/// Bytes of one group, about: it has to fit into a log segment, and its sync must not take long.
pub(crate) const MAX_GROUP_LEN: usize = 2 << 20;
/// How far the ceiling is set ahead: a volatile commit costs a write once in so many.
const CEILING_STEP: u64 = 1000;

/// A sync that takes no longer than this, on average, may be waited for where the request runs: about as long as a
/// request takes of the processor.
const SHORT_SYNC: Duration = Duration::from_micros(300);

pub(crate) struct Commit {
    pub write: Write,
    /// Of a deletion's last state.
    pub last_meta: Option<Meta>,
    pub reply: Reply,
}

type Reply = oneshot::Sender<Result<Arc<Object>, CommitError>>;

/// What readers see.
pub(crate) struct Published {
    pub state: ArcSwap<State>,
    pub history: Arc<History>,
    /// Why the last commit was refused by the disk.
    pub read_only: RwLock<Option<String>>,
}

pub(crate) struct Committer {
    pub published: Arc<Published>,
    /// Published, plus the group at hand.
    pub working: State,
    pub log: Log,
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub keyring: Arc<Keyring>,
    pub encrypted: Arc<HashSet<Resource>>,
    /// Objects whose last change is in memory alone.
    pub unwritten: HashSet<Key>,
    pub checkpoint: Option<RunningCheckpoint>,
    pub buffer: Vec<u8>,
    /// Of the last group.
    pub group_size: usize,
    /// Closed, or a commit panicked: nobody is to build on what it left behind.
    pub ended: bool,
}

impl Committer {
    /// Whether a commit of this length is better made by who asks than by a thread that would have to be woken: commits
    /// come one at a time, and the disk answers soon.
    pub fn is_worth_waiting_for(&self, len: usize) -> bool {
        !self.ended && self.group_size == 1 && self.log.sync_time < SHORT_SYNC && self.log.has_room(len)
    }

    pub fn commit(&mut self, group: Vec<Commit>) {
        self.ended = true;
        self.group_size = group.len();
        self.commit_group(group);
        self.ended = false;
    }

    fn commit_group(&mut self, group: Vec<Commit>) {
        let before = self.working.clone();
        let mut durable = false;
        let mut events = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        for Commit { write, last_meta, reply } in group {
            let is_durable = write.durability == Durability::Durable;
            let outcome = self.apply(write, last_meta).map(|event| {
                durable |= is_durable;
                let object = event.object.clone();
                events.push(Arc::new(event));
                object
            });
            replies.push((reply, outcome));
        }
        match self.persist(&events, durable) {
            Ok(()) => {
                self.publish(&events);
                replies.into_iter().for_each(|(reply, outcome)| _ = reply.send(outcome));
            }
            Err(error) => {
                self.working = before;
                let reason = error.to_string();
                let known = self.published.read_only.write().replace(reason.clone());
                if known.as_ref() != Some(&reason) {
                    tracing::warn!(%reason, "the disk refused a commit");
                }
                for (reply, _) in replies {
                    _ = reply.send(Err(CommitError::ReadOnly { reason: reason.clone() }));
                }
            }
        }
    }

    /// One write on the working state.
    fn apply(&mut self, write: Write, last_meta: Option<Meta>) -> Result<Event, CommitError> {
        let Write { mut key, expect, change, .. } = write;
        let current = self.working.get(&key);
        let deletes_nothing = matches!(change, Change::Delete { .. }) && current.is_none();
        if !expect.holds(current) || deletes_nothing {
            return Err(CommitError::Conflict { current: current.cloned() });
        }
        match current {
            Some(current) => key = current.key.clone(), // shares its strings
            None => self.working.share_names(&mut key),
        }
        let revision = Revision(self.working.revision.0 + 1);
        self.working.revision = revision;
        Ok(match change {
            Change::Put { meta, body } => {
                let object = Arc::new(Object::new(key, revision, meta, body.with_revision(revision)));
                let previous = self.working.put(object.clone());
                let kind = if previous.is_some() { EventKind::Modified } else { EventKind::Added };
                Event { kind, object, previous }
            }
            Change::Delete { body } => {
                let previous = self.working.remove(&key);
                let meta = last_meta.or_else(|| Some(previous.as_ref()?.meta.clone())).unwrap_or_default();
                let object = Arc::new(Object::new(key, revision, meta, body.with_revision(revision)));
                Event { kind: EventKind::Deleted, object, previous }
            }
        })
    }

    /// Has the group on disk, when anything in it asks for it. Volatile writes ride along.
    fn persist(&mut self, events: &[Arc<Event>], durable: bool) -> Result<(), AppendError> {
        if events.is_empty() {
            return Ok(());
        }
        self.log.check()?;
        if !durable && self.working.revision <= self.log.ceiling {
            self.unwritten.extend(events.iter().map(|event| event.object.key.clone()));
            return Ok(());
        }
        let mut group = GroupEncoder::new(std::mem::take(&mut self.buffer));
        for event in events {
            let object = &event.object;
            match event.kind {
                EventKind::Deleted => group.delete(&object.key, object.revision),
                _ => self.encode(&mut group, object)?,
            }
        }
        self.append(group, Revision(self.working.revision.0 + CEILING_STEP))?;
        if !self.unwritten.is_empty() {
            events.iter().for_each(|event| _ = self.unwritten.remove(&event.object.key));
        }
        Ok(())
    }

    fn encode(&self, group: &mut GroupEncoder, object: &Object) -> Result<(), AppendError> {
        let keyring = self.encrypted.contains(&object.key.resource).then_some(&*self.keyring);
        group
            .put(&object.key, object.revision, &object.json, keyring)
            .map_err(|error| AppendError::Broken(format!("encrypt `{}`: {error}", object.key)))
    }

    fn append(&mut self, group: GroupEncoder, ceiling: Revision) -> Result<(), AppendError> {
        let frame = group.finish(ceiling);
        if self.log.make_room(frame.len())? {
            self.start_checkpoint();
        }
        self.buffer = self.log.append(frame, ceiling)?;
        if self.buffer.capacity() > MAX_GROUP_LEN {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// At the start of a segment, when the log has grown by a segment and by the size of all objects, and the
    /// checkpoint before is done.
    fn start_checkpoint(&mut self) {
        let state = self.published.state.load_full();
        match self.checkpoint.take() {
            Some(running) if !running.thread.is_finished() => return self.checkpoint = Some(running),
            Some(done) => self.log.len_since_checkpoint += done.uncovered_len(),
            None => {}
        }
        if self.log.len_since_checkpoint < self.log.segment_len().max(state.live_bytes) {
            return;
        }
        let checkpoint = Checkpoint {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            store: self.log.store(),
            number: self.log.segment_number(),
            state,
            ceiling: self.log.ceiling,
            next_sequence: self.log.next_sequence,
            keyring: self.keyring.clone(),
            encrypted: self.encrypted.clone(),
        };
        let write = move || checkpoint.write();
        // Without a thread the next segment tries again.
        if let Ok(thread) = std::thread::Builder::new().name("store-checkpoint".into()).spawn(write) {
            let len = std::mem::take(&mut self.log.len_since_checkpoint);
            self.checkpoint = Some(RunningCheckpoint { thread, len });
        }
    }

    fn publish(&self, events: &[Arc<Event>]) {
        if events.is_empty() {
            return;
        }
        self.published.state.store(Arc::new(self.working.clone()));
        for event in events {
            event.previous.iter().for_each(|previous| previous.retire());
            if event.kind == EventKind::Deleted {
                event.object.retire();
            }
        }
        self.published.history.push(events);
        if self.published.read_only.read().is_some() {
            *self.published.read_only.write() = None;
        }
    }

    /// Volatile state is kept over a proper end, and the count of revisions goes on where it was.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let changed = !self.unwritten.is_empty() || self.log.ceiling != self.working.revision;
        if changed && let Err(error) = self.write_rest() {
            tracing::warn!(%error, "volatile objects were not written at the end");
        }
        self.log.close();
        if let Some(checkpoint) = self.checkpoint.take() {
            _ = checkpoint.uncovered_len();
        }
    }

    fn write_rest(&mut self) -> Result<(), AppendError> {
        self.log.check()?;
        let revision = self.working.revision;
        let mut group = GroupEncoder::new(std::mem::take(&mut self.buffer));
        for key in std::mem::take(&mut self.unwritten) {
            match self.working.get(&key).cloned() {
                Some(object) => self.encode(&mut group, &object)?,
                None => group.delete(&key, revision),
            }
            if group.frame.len() >= MAX_GROUP_LEN {
                self.append(group, self.log.ceiling)?;
                group = GroupEncoder::new(std::mem::take(&mut self.buffer));
            }
        }
        self.append(group, revision)
    }
}

/// The thread that writes a checkpoint.
pub(crate) struct RunningCheckpoint {
    thread: JoinHandle<std::io::Result<()>>,
    /// Bytes of log that it lets go.
    len: u64,
}

impl RunningCheckpoint {
    /// Waits for the end; the bytes of log that stay because it failed.
    fn uncovered_len(self) -> u64 {
        let error = match self.thread.join() {
            Ok(Ok(())) => return 0,
            Ok(Err(error)) => error,
            Err(_) => std::io::Error::other("the checkpoint's thread panicked"),
        };
        tracing::warn!(%error, "checkpoint failed; the log is kept, and its next segment tries again");
        self.len
    }
}

impl Write {
    /// Of key and body.
    pub(crate) fn len(&self) -> usize {
        let Key { resource, namespace, name } = &self.key;
        let (Change::Put { body, .. } | Change::Delete { body }) = &self.change;
        resource.0.len() + namespace.len() + name.len() + body.json.len()
    }
}
