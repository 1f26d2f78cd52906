//! A disk that kills its own process with SIGKILL at a named point.

use std::{
    any::Any,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use coracle_store::{Disk, DiskFile, OsDisk};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where a process can be killed: the file, and what just happened to it.
pub const POINTS: [&str; 10] = [
    "log: before a write",
    "log: amid a write",
    "log: written, not synced",
    "log: synced, not answered",
    "log.tmp: amid a write",
    "log.tmp: before the rename",
    "checkpoint.tmp: amid a write",
    "checkpoint.tmp: before the rename",
    "checkpoint.tmp: after the rename",
    "log: before its removal",
];

#[derive(Clone)]
pub struct Killer {
    point: Arc<str>,
    /// How often the point is passed before.
    left: Arc<AtomicI64>,
}

impl Killer {
    pub fn new(point: &str, passes: i64) -> Killer {
        Killer { point: point.into(), left: Arc::new(AtomicI64::new(passes)) }
    }

    fn pass(&self, file: &str, happened: &str) {
        if self.is_at(file, happened) && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            die();
        }
    }

    fn is_at(&self, file: &str, happened: &str) -> bool {
        self.point.split_once(": ") == Some((file, happened))
    }
}

fn die() -> ! {
    _ = kill(Pid::this(), Signal::SIGKILL);
    unreachable!("nobody survives SIGKILL")
}

/// `log`, `log.tmp`, `checkpoint`, `checkpoint.tmp`, or the name itself.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split(['-', '.']).next().unwrap_or_default();
    let suffix = if name.ends_with(".tmp") { ".tmp" } else { "" };
    format!("{stem}{suffix}")
}

impl Disk for Killer {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Any + Send>> {
        OsDisk.lock(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        OsDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        // A segment keeps its handle when it gets its name: what is written then goes to the log.
        let named = kind(path);
        let in_use = named.trim_end_matches(".tmp").to_owned();
        let renamed = path.with_extension("");
        Ok(Box::new(KillerFile { killer: self.clone(), file: OsDisk.create(path)?, named, in_use, renamed }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (named, renamed) = (kind(path), path.to_owned());
        let file = OsDisk.open(path)?;
        Ok(Box::new(KillerFile { killer: self.clone(), file, in_use: named.clone(), named, renamed }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(&kind(from), "before the rename");
        OsDisk.rename(from, to)?;
        self.pass(&kind(from), "after the rename");
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(&kind(path), "before its removal");
        OsDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

struct KillerFile {
    killer: Killer,
    file: Box<dyn DiskFile>,
    named: String,
    in_use: String,
    renamed: std::path::PathBuf,
}

impl KillerFile {
    fn kind(&self) -> &str {
        if self.named != self.in_use && self.renamed.exists() { &self.in_use } else { &self.named }
    }
}

impl DiskFile for KillerFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let kind = self.kind();
        self.killer.pass(kind, "before a write");
        if self.killer.is_at(kind, "amid a write") && self.killer.left.load(Ordering::SeqCst) <= 0 {
            self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
        }
        self.killer.pass(kind, "amid a write");
        self.file.write_at(offset, bytes)?;
        self.killer.pass(kind, "written, not synced");
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.killer.pass(self.kind(), "synced, not answered");
        Ok(())
    }
}
