//! The file: one thread writes lines, rotates by size, and removes what is too many or too old.
//!
//! Invariant: senders never wait; the thread sleeps while there is nothing to write; a file is only replaced whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::event::Event;

/// A second of a very busy server; what comes on top is dropped and counted.
const QUEUE_BYTES: usize = 16 << 20;
/// Kept for the next lines.
const KEPT_BYTES: usize = 256 << 10;
/// Lines are gathered this long before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// The unit of the names of replaced files.
const MILLISECOND: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `-`: standard output, without rotation.
    pub path: PathBuf,
    /// A file that is larger is rotated.
    pub max_size_mib: u64,
    /// How many rotated files stay; 0 is all.
    pub max_backups: usize,
    /// How long rotated files stay; 0 is forever.
    pub max_age_days: u64,
}

/// What the thread has not taken yet.
#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    count: u64,
    flushes: Vec<oneshot::Sender<()>>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    failed: AtomicU64,
}

pub struct Log(Arc<Queue>);

impl Log {
    pub fn start(config: LogConfig) -> Log {
        let queue = Arc::<Queue>::default();
        let mut file = Rotated::new(config);
        let shared = queue.clone();
        let spawned = std::thread::Builder::new()
            .name("audit-log".into())
            .stack_size(256 * 1024)
            .spawn(move || run(&shared, &mut file));
        if let Err(error) = spawned {
            tracing::error!(%error, "audit log has no thread, nothing is audited");
            queue.waiting.lock().closed = true;
        }
        Log(queue)
    }

    pub fn send(&self, event: &Event<'_>) {
        let mut line = Vec::with_capacity(1024);
        let sent = serde_json::to_writer(&mut line, event).is_ok() && {
            line.push(b'\n');
            self.0.push(&line)
        };
        if !sent && self.0.failed.fetch_add(1, Relaxed).is_power_of_two() {
            tracing::warn!(dropped = self.failed(), "audit log does not keep up, events are dropped");
        }
    }

    /// The thread is there and has room for another event.
    pub fn keeps_up(&self) -> bool {
        let waiting = self.0.waiting.lock();
        !waiting.closed && waiting.lines.len() < QUEUE_BYTES
    }

    pub fn failed(&self) -> u64 {
        self.0.failed.load(Relaxed)
    }

    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        {
            let mut waiting = self.0.waiting.lock();
            if waiting.closed {
                return;
            }
            waiting.flushes.push(done);
        }
        self.0.changed.notify_one();
        _ = flushed.await; // the thread is gone: nothing is left to wait for
    }
}

impl Drop for Log {
    /// The thread writes what it has, and ends.
    fn drop(&mut self) {
        self.0.waiting.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl Queue {
    /// False where there is no room. Only the first line of a batch wakes the thread.
    fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.lines.len() + line.len() > QUEUE_BYTES {
            return false;
        }
        waiting.lines.extend_from_slice(line);
        waiting.count += 1;
        if waiting.count == 1 {
            self.changed.notify_one();
        }
        true
    }

    /// The next batch, once there is one; `spare` is filled next. Ended when `closed` comes without lines.
    fn take(&self, spare: Vec<u8>) -> Waiting {
        let mut waiting = self.waiting.lock();
        while waiting.count == 0 && waiting.flushes.is_empty() && !waiting.closed {
            self.changed.wait(&mut waiting);
        }
        if waiting.flushes.is_empty() && !waiting.closed {
            self.changed.wait_for(&mut waiting, GATHER);
        }
        let closed = waiting.closed;
        std::mem::replace(&mut *waiting, Waiting { lines: spare, closed, ..Waiting::default() })
    }
}

fn run(queue: &Queue, file: &mut Rotated) {
    let mut spare = Vec::new();
    loop {
        let batch = queue.take(spare);
        if let Err(error) = file.write(&batch.lines)
            && queue.failed.fetch_add(batch.count, Relaxed) == 0
        {
            let path = file.config.path.display().to_string();
            tracing::error!(%error, path, "audit log cannot be written, events are lost");
        }
        batch.flushes.into_iter().for_each(|done| _ = done.send(()));
        if batch.closed && batch.count == 0 {
            return;
        }
        spare = batch.lines;
        spare.clear();
        spare.shrink_to(KEPT_BYTES);
    }
}

/// A file with those that it replaced beside it: `audit-TIME.log`.
pub(super) struct Rotated {
    config: LogConfig,
    open: Option<(File, u64)>,
    /// When the newest of the replaced files was replaced, by its name.
    rotated: Timestamp,
}

impl Rotated {
    pub fn new(config: LogConfig) -> Rotated {
        Rotated { config, open: None, rotated: Timestamp::MIN }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.config.path == Path::new("-") {
            return io::stdout().lock().write_all(bytes);
        }
        let limit = self.config.max_size_mib * 1024 * 1024;
        if self.open.is_none() {
            self.open = Some(open(&self.config.path)?);
        }
        if self
            .open
            .as_ref()
            .is_some_and(|(_, len)| *len > 0 && limit > 0 && len + bytes.len() as u64 > limit)
        {
            self.rotate(Timestamp::now())?;
            self.open = Some(open(&self.config.path)?);
        }
        let Some((file, len)) = &mut self.open else { return Ok(()) };
        file.write_all(bytes)?;
        *len += bytes.len() as u64;
        Ok(())
    }

    pub fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        self.open = None;
        let path = &self.config.path;
        let name = |time: Timestamp| {
            let time = time.strftime("%Y-%m-%dT%H-%M-%S%.3f");
            path.with_file_name(format!("{}{time}.{}", self.stem(), extension(path)))
        };
        // None is written over, and the newest has the last name, however soon the next one is full.
        let mut time = now.max(self.rotated + MILLISECOND);
        while name(time).exists() {
            time += MILLISECOND;
        }
        fs::rename(path, name(time))?;
        self.rotated = time;
        let mut backups = self.backups()?;
        backups.sort();
        let excess = match self.config.max_backups {
            0 => 0,
            keep => backups.len().saturating_sub(keep),
        };
        let age = Duration::from_secs(self.config.max_age_days * 24 * 3600);
        for (at, backup) in backups.iter().enumerate() {
            let modified = fs::metadata(backup).and_then(|meta| meta.modified());
            let is_old = !age.is_zero()
                && modified.is_ok_and(|time| {
                    SystemTime::now().duration_since(time).is_ok_and(|passed| passed > age)
                });
            if at < excess || is_old {
                fs::remove_file(backup)?;
            }
        }
        Ok(())
    }

    /// `audit-` of `audit.log`.
    fn stem(&self) -> String {
        format!("{}-", self.config.path.file_stem().unwrap_or_default().to_string_lossy())
    }

    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let dir = self.config.path.parent().unwrap_or(Path::new("."));
        let (stem, end) = (self.stem(), format!(".{}", extension(&self.config.path)));
        let named = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&stem) && name.ends_with(&end)
        };
        Ok(fs::read_dir(dir)?.flatten().map(|entry| entry.path()).filter(named).collect())
    }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().into_owned()
}

/// For its owner alone: requests may carry what others must not see.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}
