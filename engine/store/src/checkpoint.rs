//! Checkpoints: all objects in one file, so that the log before it can go.
//!
//! `checkpoint-N` holds what the log segments before `log-N` say. It is written by a thread of its own from a
//! shared state, while commits go on; it has its name only when it is whole and on disk, and only then are the
//! older segments and checkpoints removed.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Resource, Revision,
    disk::Disk,
    frame::{CHECKPOINT_MAGIC, Framing, HEADER_LEN, StoreId, encode_header},
    keyring::Keyring,
    log::segment_path,
    record::{Closing, GroupEncoder},
    state::State,
};

/// Bytes of a frame, about.
const RUN_LEN: usize = 256 << 10;
/// Bytes between syncs, so that commits never wait behind a long queue of writes.
const SYNC_LEN: u64 = 4 << 20;

pub(crate) struct Checkpoint {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub store: StoreId,
    /// The first log segment that is not covered.
    pub number: u64,
    /// What the log said when that segment began.
    pub state: Arc<State>,
    pub ceiling: Revision,
    pub next_sequence: u64,
    pub keyring: Arc<Keyring>,
    pub encrypted: Arc<HashSet<Resource>>,
}

pub(crate) fn checkpoint_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("checkpoint-{number:016}"))
}

impl Checkpoint {
    /// Writes the file, then removes what it replaces. After an error all is as it was.
    pub fn write(&self) -> io::Result<()> {
        let path = checkpoint_path(&self.dir, self.number);
        let temporary = path.with_extension("tmp");
        self.write_objects(&temporary)
            .and_then(|()| self.disk.rename(&temporary, &path))
            .inspect_err(|_| _ = self.disk.remove(&temporary))?;
        self.disk.sync_dir(&self.dir)?;
        remove_replaced(&*self.disk, &self.dir, self.number)
    }

    fn write_objects(&self, path: &Path) -> io::Result<()> {
        let file = self.disk.create(path)?;
        let framing = Framing::new(CHECKPOINT_MAGIC, &self.store, self.number);
        file.write_at(0, &encode_header(CHECKPOINT_MAGIC, &self.store, self.number))?;
        let (mut at, mut synced, mut sequence) = (HEADER_LEN as u64, 0, 0);
        let mut append = |mut frame: Vec<u8>| {
            framing.seal(&mut frame, sequence);
            file.write_at(at, &frame)?;
            sequence += 1;
            at += frame.len() as u64;
            if at - synced >= SYNC_LEN {
                file.sync()?;
                synced = at;
            }
            Ok::<_, io::Error>(frame)
        };
        let mut run = GroupEncoder::new(Vec::new());
        let mut objects = 0;
        for object in self.state.iter() {
            let keyring = self.encrypted.contains(&object.key.resource).then_some(&*self.keyring);
            run.put(&object.key, object.revision, &object.json, keyring).map_err(io::Error::other)?;
            objects += 1;
            if run.frame.len() >= RUN_LEN {
                run = GroupEncoder::new(append(run.finish(self.ceiling))?);
            }
        }
        append(run.finish(self.ceiling))?;
        append(Closing { ceiling: self.ceiling, next_sequence: self.next_sequence, objects }.encode())?;
        file.sync()
    }
}

/// Removes the segments and checkpoints before `number`.
pub(crate) fn remove_replaced(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<()> {
    for name in disk.list(dir)? {
        match parse_name(&name) {
            Some(FileName::Log(found)) if found < number => disk.remove(&segment_path(dir, found))?,
            Some(FileName::Checkpoint(found)) if found < number => {
                disk.remove(&checkpoint_path(dir, found))?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) enum FileName {
    Log(u64),
    Checkpoint(u64),
    /// Half-made when the process ended.
    Temporary,
}

pub(crate) fn parse_name(name: &str) -> Option<FileName> {
    if name.ends_with(".tmp") {
        return Some(FileName::Temporary);
    }
    if let Some(number) = name.strip_prefix("log-") {
        return number.parse().ok().map(FileName::Log);
    }
    name.strip_prefix("checkpoint-")?.parse().ok().map(FileName::Checkpoint)
}
