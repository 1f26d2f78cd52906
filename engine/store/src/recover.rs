//! What a directory holds, read back into memory: the newest checkpoint, then the log from there on.
//!
//! A crash can leave one trace: an unfinished frame at the end of the log, never acknowledged, which is cut. It leaves
//! no short file, since a segment has its whole length before it has its name.
//! Everything else that is not as it was written is damage: the store does not open, and says where it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    Key, Meta, Object, OpenError, Revision,
    checkpoint::{FileName, checkpoint_path, parse_name, remove_replaced},
    disk::{self, Disk, DiskFile, OsDisk},
    frame::{CHECKPOINT_MAGIC, Framing, HEADER_LEN, LOG_MAGIC, StoreId, decode_header},
    keyring::Keyring,
    log::{Position, SEGMENT_LEN, Segment, make_segment, segment_path, zero},
    record::{Closing, DecodeError, Payload, decode},
    state::State,
};

pub(crate) struct Recovered {
    pub state: State,
    pub position: Position,
}

/// Reads the directory. It is changed only after all of it was found to be sound.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    segment_len: u64,
    keyring: &Keyring,
) -> Result<Recovered, OpenError> {
    let files = Files::list(disk, dir)?;
    if files.is_empty() {
        // Keys are made after the first log.
        if !keyring.is_empty() {
            return Err(OpenError::Missing { path: segment_path(dir, 1) });
        }
        remove_temporary(disk, dir, &files.names)?;
        return create(disk, dir, segment_len);
    }
    let mut replay = Replay::new(disk, dir, segment_len, keyring);
    let tail = replay.files(&files)?;
    let store = replay.store.unwrap_or_default();

    let segment = adopt(disk, dir, &tail)?;
    remove_temporary(disk, dir, &files.names)?;
    remove_replaced(disk, dir, files.first()).map_err(failed("clean", dir))?;
    for number in files.segments.range(tail.number + 1..) {
        let path = segment_path(dir, *number);
        disk.remove(&path).map_err(failed("remove", &path))?;
    }
    let ceiling = replay.ceiling;
    let position = Position {
        store,
        segment,
        next_sequence: tail.next_sequence,
        ceiling,
        len_since_checkpoint: tail.len_since_checkpoint,
    };
    Ok(Recovered { state: replay.into_state(), position })
}

/// The last revision of a store that nobody has open, which is left as it is.
pub fn last_revision(dir: &Path) -> Result<Revision, OpenError> {
    let files = Files::list(&OsDisk, dir)?;
    let keyring = Keyring::load(&OsDisk, dir)?;
    let mut replay = Replay::new(&OsDisk, dir, SEGMENT_LEN, &keyring);
    if !files.is_empty() {
        replay.files(&files)?;
    }
    Ok(replay.into_state().revision)
}

/// What there is to read.
struct Files {
    names: Vec<String>,
    segments: BTreeSet<u64>,
    checkpoint: Option<u64>,
}

impl Files {
    fn list(disk: &dyn Disk, dir: &Path) -> Result<Files, OpenError> {
        let names = disk.list(dir).map_err(failed("list", dir))?;
        let (mut segments, mut checkpoint) = (BTreeSet::new(), None);
        for name in &names {
            match parse_name(name) {
                Some(FileName::Log(number)) => _ = segments.insert(number),
                Some(FileName::Checkpoint(number)) => checkpoint = checkpoint.max(Some(number)),
                Some(FileName::Temporary) | None => {}
            }
        }
        Ok(Files { names, segments, checkpoint })
    }

    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.checkpoint.is_none()
    }

    /// The segment that follows the checkpoint, or begins the store.
    fn first(&self) -> u64 {
        self.checkpoint.unwrap_or(1)
    }
}

fn create(disk: &dyn Disk, dir: &Path, segment_len: u64) -> Result<Recovered, OpenError> {
    let mut store = StoreId::default();
    SystemRandom::new()
        .fill(&mut store)
        .map_err(|_| failed("name the store in", dir)(io::Error::other("no random numbers")))?;
    let segment = make_segment(disk, dir, &store, 1, segment_len).map_err(failed("create a log in", dir))?;
    let ceiling = Revision(1);
    let mut state = State::default();
    state.revision = ceiling;
    let position = Position { store, segment, next_sequence: 0, ceiling, len_since_checkpoint: 0 };
    Ok(Recovered { state, position })
}

/// Opens the segment where the log goes on, and cuts what a crash left behind its last frame.
fn adopt(disk: &dyn Disk, dir: &Path, tail: &Tail) -> Result<Segment, OpenError> {
    let path = segment_path(dir, tail.number);
    let file = disk.open(&path).map_err(failed("open", &path))?;
    if tail.torn {
        tracing::warn!(file = %path.display(), offset = tail.end, "cut an unfinished write off the log");
        file.size()
            .and_then(|size| zero(&*file, tail.end, size))
            .and_then(|()| file.sync())
            .map_err(failed("cut", &path))?;
    }
    Ok(Segment { file, number: tail.number, end: tail.end })
}

fn remove_temporary(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| matches!(parse_name(name), Some(FileName::Temporary))) {
        let path = dir.join(name);
        disk.remove(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// Where the log ends.
#[derive(Default)]
struct Tail {
    number: u64,
    end: u64,
    torn: bool,
    /// The last record says that the log goes on in the next segment.
    continued: bool,
    next_sequence: u64,
    len_since_checkpoint: u64,
}

struct Replay<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    segment_len: u64,
    keyring: &'a Keyring,
    objects: BTreeMap<Key, (Revision, Vec<u8>)>,
    ceiling: Revision,
    /// The store that the files read so far belong to.
    store: Option<StoreId>,
}

impl<'a> Replay<'a> {
    fn new(disk: &'a dyn Disk, dir: &'a Path, segment_len: u64, keyring: &'a Keyring) -> Self {
        let (objects, ceiling) = (BTreeMap::new(), Revision(1));
        Replay { disk, dir, segment_len, keyring, objects, ceiling, store: None }
    }

    fn files(&mut self, files: &Files) -> Result<Tail, OpenError> {
        let sequence = match files.checkpoint {
            Some(number) => self.checkpoint(number)?.next_sequence,
            None => 0,
        };
        // Logs before a checkpoint are removed only when it is there.
        let lowest = files.segments.first().filter(|lowest| files.checkpoint.is_none() && **lowest > 1);
        if let Some(lowest) = lowest {
            let (checkpoint, log) = (checkpoint_path(self.dir, *lowest), segment_path(self.dir, 1));
            return Err(OpenError::MissingStart { checkpoint, log });
        }
        self.log(files.first(), &files.segments, sequence)
    }

    fn log(&mut self, first: u64, segments: &BTreeSet<u64>, sequence: u64) -> Result<Tail, OpenError> {
        let last = segments.last().copied().unwrap_or(0).max(first);
        let mut tail = Tail { next_sequence: sequence, ..Tail::default() };
        for number in first..=last {
            let path = segment_path(self.dir, number);
            if !segments.contains(&number) {
                return Err(OpenError::Missing { path });
            }
            let file = self.disk.open(&path).map_err(failed("open", &path))?;
            let bytes = disk::read_all(&*file).map_err(failed("read", &path))?;
            self.check_header(&path, &bytes, LOG_MAGIC, number)?;
            self.segment(&path, &bytes, number, &mut tail)?;
        }
        if tail.continued {
            return Err(OpenError::Missing { path: segment_path(self.dir, tail.number + 1) });
        }
        Ok(tail)
    }

    /// Replays one segment; `tail` moves to it when there is anything in it.
    fn segment(&mut self, path: &Path, bytes: &[u8], number: u64, tail: &mut Tail) -> Result<(), OpenError> {
        let framing = Framing::new(LOG_MAGIC, &self.store.unwrap_or_default(), number);
        let mut at = HEADER_LEN;
        let mut continued = false;
        while let Some(frame) = framing.frame_at(bytes, at) {
            if tail.torn {
                let earlier = segment_path(self.dir, tail.number);
                let what = "a record is damaged, and later files have valid ones";
                return Err(self.damaged(&earlier, tail.end, what));
            }
            if frame.sequence != tail.next_sequence {
                let (found, expected) = (frame.sequence, tail.next_sequence);
                let what = format!("record {found} is where {expected} belongs");
                return Err(self.damaged(path, at as u64, &what));
            }
            match decode(&bytes[frame.payload.clone()], self.keyring) {
                Ok(Payload::Group { ceiling, entries }) if !continued => self.apply(ceiling, entries),
                Ok(Payload::Continued) if !continued => continued = true,
                Ok(_) => return Err(self.damaged(path, at as u64, "a foreign record")),
                Err(error) => return Err(self.undecodable(path, at as u64, error)),
            }
            tail.next_sequence += 1;
            at = frame.end().min(bytes.len());
        }
        if let Some(valid) = framing.find_frame_after(bytes, at) {
            let what = format!("a record is damaged, and a valid one follows at byte {valid}");
            return Err(self.damaged(path, at as u64, &what));
        }
        let (len, full) = (bytes.len() as u64, self.segment_len);
        if !continued && len < full {
            let what = format!("the file ends at byte {len}, but was made with {full}");
            return Err(self.damaged(path, at as u64, &what));
        }
        let torn = bytes[at..].iter().any(|byte| *byte != 0);
        if torn && tail.torn {
            let earlier = segment_path(self.dir, tail.number);
            let what = "a record is damaged, and later files are not empty";
            return Err(self.damaged(&earlier, tail.end, what));
        }
        if torn || at > HEADER_LEN || tail.number == 0 || tail.continued {
            tail.len_since_checkpoint += (at - HEADER_LEN) as u64;
            (tail.number, tail.end, tail.torn, tail.continued) = (number, at as u64, torn, continued);
        }
        Ok(())
    }

    fn apply(&mut self, ceiling: Revision, entries: Vec<crate::record::Entry>) {
        self.ceiling = ceiling;
        for entry in entries {
            match entry.body {
                Some(body) => _ = self.objects.insert(entry.key, (entry.revision, body)),
                None => _ = self.objects.remove(&entry.key),
            }
        }
    }

    /// Reads a checkpoint frame by frame. It must be whole.
    fn checkpoint(&mut self, number: u64) -> Result<Closing, OpenError> {
        let path = checkpoint_path(self.dir, number);
        let file = self.disk.open(&path).map_err(failed("open", &path))?;
        let size = file.size().map_err(failed("read", &path))?;
        let mut bytes = vec![0; HEADER_LEN.min(size as usize)];
        file.read_at(0, &mut bytes).map_err(failed("read", &path))?;
        self.check_header(&path, &bytes, CHECKPOINT_MAGIC, number)?;
        let framing = Framing::new(CHECKPOINT_MAGIC, &self.store.unwrap_or_default(), number);
        let (mut at, mut sequence) = (HEADER_LEN as u64, 0);
        loop {
            let bytes = read_frame(&*file, at, size, &framing).map_err(failed("read", &path))?;
            let frame = framing.frame_at(&bytes, 0).filter(|frame| frame.sequence == sequence);
            let Some(frame) = frame else { return Err(lost(&path, at, "a record is damaged")) };
            match decode(&bytes[frame.payload.clone()], self.keyring) {
                Ok(Payload::Group { ceiling, entries }) => self.apply(ceiling, entries),
                Ok(Payload::Closing(closing)) => {
                    if closing.objects != self.objects.len() as u64 {
                        let (found, expected) = (self.objects.len(), closing.objects);
                        let what = format!("it has {found} objects, its end says {expected}");
                        return Err(lost(&path, at, &what));
                    }
                    self.ceiling = closing.ceiling;
                    return Ok(closing);
                }
                Ok(Payload::Continued) => return Err(lost(&path, at, "a foreign record")),
                Err(error @ DecodeError::Key { .. }) => return Err(self.undecodable(&path, at, error)),
                Err(error) => return Err(lost(&path, at, &error.to_string())),
            }
            at += frame.end() as u64;
            sequence += 1;
        }
    }

    fn check_header(
        &mut self,
        path: &Path,
        bytes: &[u8],
        magic: &[u8; 8],
        number: u64,
    ) -> Result<(), OpenError> {
        let Some((store, found)) = decode_header(bytes) else {
            return Err(lost(path, 0, "its header is damaged"));
        };
        if bytes[..8] != magic[..] {
            let text = |magic: &[u8]| String::from_utf8_lossy(magic).into_owned();
            let (found, expected) = (text(&bytes[..8]), text(magic));
            return Err(OpenError::Format { path: path.to_owned(), found, expected });
        }
        if found != number {
            return Err(lost(path, 0, &format!("its header says it is number {found}")));
        }
        if *self.store.get_or_insert(store) != store {
            return Err(lost(path, 0, "it belongs to another store"));
        }
        Ok(())
    }

    fn undecodable(&self, path: &Path, at: u64, error: DecodeError) -> OpenError {
        match error {
            DecodeError::Key { key, source } => OpenError::Key {
                path: Keyring::path(self.dir),
                what: format!("{source}, met at `{key}` in `{}`", path.display()),
            },
            error => self.damaged(path, at, &error.to_string()),
        }
    }

    /// Damage in the log, with the way to go on without what lies behind it.
    fn damaged(&self, path: &Path, offset: u64, what: &str) -> OpenError {
        let file = path.display();
        let full = self.segment_len.max(offset);
        let remedy = format!(
            "restore the directory from a backup; or, to go on without the record there and all later ones: \
             `truncate -s {offset} {file} && truncate -s {full} {file}`, and remove the log files with higher numbers"
        );
        OpenError::Damaged { path: path.to_owned(), offset, what: what.to_owned(), remedy }
    }

    fn into_state(self) -> State {
        let mut state = State::default();
        let mut names = Names::default();
        for (mut key, (revision, json)) in self.objects {
            let meta = Meta::from_json(&json).unwrap_or_else(|error| {
                tracing::error!(object = %key, %error, "an object on disk has no readable metadata");
                Meta::default()
            });
            names.share(&mut key);
            state.put(Arc::new(Object::new(key, revision, meta, json.into())));
            state.revision = state.revision.max(revision);
        }
        state.revision = state.revision.max(self.ceiling);
        state
    }
}

/// Objects in key order share the strings of their neighbours.
#[derive(Default)]
struct Names(Option<Key>);

impl Names {
    fn share(&mut self, key: &mut Key) {
        if let Some(last) = &self.0 {
            if last.resource == key.resource {
                key.resource = last.resource.clone();
            }
            if last.namespace == key.namespace {
                key.namespace = last.namespace.clone();
            }
        }
        self.0 = Some(key.clone());
    }
}

/// The bytes of the frame at `at`, or as many as there are.
fn read_frame(file: &dyn DiskFile, at: u64, size: u64, framing: &Framing) -> io::Result<Vec<u8>> {
    let header_len = crate::frame::FRAME_HEADER_LEN;
    let rest = size.saturating_sub(at) as usize;
    let mut bytes = vec![0; header_len.min(rest)];
    file.read_at(at, &mut bytes)?;
    if let Some(len) = framing.claimed_len(&bytes).filter(|len| *len <= rest - header_len) {
        bytes.resize(header_len + len, 0);
        file.read_at(at + header_len as u64, &mut bytes[header_len..])?;
    }
    Ok(bytes)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path = PathBuf::from(path);
    move |source| OpenError::Io { action, path, source }
}

fn lost(path: &Path, offset: u64, what: &str) -> OpenError {
    let remedy = "restore the directory from a backup".to_owned();
    OpenError::Damaged { path: path.to_owned(), offset, what: what.to_owned(), remedy }
}
