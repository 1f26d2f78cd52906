//! A disk in memory that forgets what was not synced, tears writes and fails on command.

use std::{
    any::Any,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};

use crate::{Disk, DiskFile};

/// Writes are torn at multiples of this.
const SECTOR: usize = 512;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This operation fails, a write after a part of it was done.
    Fail(io::ErrorKind),
    /// This operation and all later ones fail: the machine is gone.
    Crash,
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

type Shared = Arc<Mutex<Content>>;

#[derive(Clone)]
enum NameChange {
    Create(PathBuf, Shared),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Default)]
struct Sim {
    live: BTreeMap<PathBuf, Shared>,
    durable: BTreeMap<PathBuf, Shared>,
    unsynced: Vec<NameChange>,
    locked: Weak<()>,
    /// Operations that change something, so far.
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// The next write to a log segment that is in use fails like this.
    log_fault: Option<io::ErrorKind>,
    crashed: bool,
    /// No file can grow.
    full: bool,
}

#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Sim>>);

impl SimDisk {
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.lock().fault = Some((operation, fault));
    }

    /// Whatever else goes on (checkpoints, segments made ahead), the log's next write meets this fault.
    pub fn fail_next_log_write(&self, kind: io::ErrorKind) {
        self.0.lock().log_fault = Some(kind);
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// What another machine finds on this disk after a loss of power: all that was synced, and of the rest any part.
    pub fn after_power_loss(&self, rng: &mut Rng) -> SimDisk {
        let sim = self.0.lock();
        let mut names = sim.durable.clone();
        let kept = sim.unsynced.iter().filter(|_| rng.below(2) == 0);
        kept.for_each(|change| apply(&mut names, change));
        SimDisk::holding(names.into_iter().map(|(path, content)| (path, torn(&content.lock(), rng))))
    }

    /// What a process finds after another one was killed: all that was written.
    pub fn after_kill(&self) -> SimDisk {
        let sim = self.0.lock();
        SimDisk::holding(sim.live.iter().map(|(path, content)| (path.clone(), content.lock().live.clone())))
    }

    fn holding(files: impl Iterator<Item = (PathBuf, Vec<u8>)>) -> SimDisk {
        let shared = |bytes: Vec<u8>| Arc::new(Mutex::new(Content { live: bytes.clone(), durable: bytes }));
        let live: BTreeMap<_, _> = files.map(|(path, bytes)| (path, shared(bytes))).collect();
        SimDisk(Arc::new(Mutex::new(Sim { durable: live.clone(), live, ..Sim::default() })))
    }

    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let sim = self.0.lock();
        sim.live.iter().map(|(path, content)| (path.clone(), content.lock().live.clone())).collect()
    }

    /// Sets a file's contents behind the store's back.
    pub fn set(&self, path: &Path, bytes: Vec<u8>) {
        let content = self.0.lock().live[path].clone();
        *content.lock() = Content { live: bytes.clone(), durable: bytes };
    }

    /// Counts an operation; the fault that is due, with the state to do a part of it.
    fn begin(&self) -> (MutexGuard<'_, Sim>, Option<io::Error>) {
        let mut sim = self.0.lock();
        sim.operations += 1;
        let fault = match sim.fault {
            _ if sim.crashed => Some(io::Error::other("the machine is gone")),
            Some((at, Fault::Fail(kind))) if at == sim.operations => Some(kind.into()),
            Some((at, Fault::Crash)) if at == sim.operations => {
                sim.crashed = true;
                Some(io::Error::other("the machine is gone"))
            }
            _ => None,
        };
        (sim, fault)
    }

    fn change(&self, change: NameChange) -> io::Result<()> {
        let (mut sim, fault) = self.begin();
        if let Some(error) = fault {
            return Err(error);
        }
        apply(&mut sim.live, &change);
        sim.unsynced.push(change);
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Shared>, change: &NameChange) {
    match change {
        NameChange::Create(path, content) => _ = names.insert(path.clone(), content.clone()),
        NameChange::Remove(path) => _ = names.remove(path),
        NameChange::Rename(from, to) => {
            if let Some(content) = names.remove(from) {
                names.insert(to.clone(), content);
            }
        }
    }
}

impl Sim {
    /// The fault that awaits the log, when this file is a segment in use: one that is being made has another name.
    fn take_log_fault(&mut self, content: &Shared) -> Option<io::Error> {
        let kind = self.log_fault?;
        let (path, _) = self.live.iter().find(|(_, known)| Arc::ptr_eq(known, content))?;
        let name = path.file_name()?.to_str()?;
        if !name.starts_with("log-") || name.ends_with(".tmp") {
            return None;
        }
        self.log_fault = None;
        Some(kind.into())
    }
}

fn torn(content: &Content, rng: &mut Rng) -> Vec<u8> {
    let Content { live, durable } = content;
    let mut bytes = durable.clone();
    if live.len() != durable.len() && rng.below(2) == 0 {
        bytes.resize(live.len(), 0);
    }
    for start in (0..bytes.len().min(live.len())).step_by(SECTOR) {
        let end = (start + SECTOR).min(bytes.len()).min(live.len());
        if bytes[start..end] != live[start..end] && rng.below(2) == 0 {
            bytes[start..end].copy_from_slice(&live[start..end]);
        }
    }
    bytes
}

impl Disk for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _dir: &Path) -> io::Result<Box<dyn Any + Send>> {
        let mut sim = self.0.lock();
        if sim.locked.upgrade().is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let lock = Arc::new(());
        sim.locked = Arc::downgrade(&lock);
        Ok(Box::new(lock))
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(self.0.lock().live.keys().map(name).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.0.lock().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = Shared::default();
        self.change(NameChange::Create(path.to_owned(), content.clone()))?;
        Ok(Box::new(SimFile { disk: self.clone(), content }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let content = self.0.lock().live.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(NameChange::Remove(path.to_owned()))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let (mut sim, fault) = self.begin();
        if let Some(error) = fault {
            return Err(error);
        }
        sim.durable = sim.live.clone();
        sim.unsynced.clear();
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    content: Shared,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.content.lock().live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock();
        let start = offset as usize;
        let bytes = content.live.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut sim, mut fault) = self.disk.begin();
        fault = fault.or_else(|| sim.take_log_fault(&self.content));
        let mut content = self.content.lock();
        let start = offset as usize;
        let mut done = bytes.len();
        if sim.full && start + done > content.live.len() {
            done = content.live.len().saturating_sub(start);
            fault = fault.or_else(|| Some(io::ErrorKind::StorageFull.into()));
        } else if fault.is_some() {
            // A different part each time.
            done = (sim.operations.wrapping_mul(0x9e37_79b9) as usize) % (bytes.len() + 1);
        }
        let len = content.live.len().max(start + done);
        content.live.resize(len, 0);
        content.live[start..start + done].copy_from_slice(&bytes[..done]);
        fault.map_or(Ok(()), Err)
    }

    fn sync(&self) -> io::Result<()> {
        let (_sim, fault) = self.disk.begin();
        if let Some(error) = fault {
            return Err(error);
        }
        let mut content = self.content.lock();
        content.durable = content.live.clone();
        Ok(())
    }
}
