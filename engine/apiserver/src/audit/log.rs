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
        mpsc,
    },
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::event::Entry;

/// A second of a very busy server; more are dropped and counted.
const QUEUE: usize = 8192;
/// Lines are gathered up to this size before a write.
const BATCH_BYTES: usize = 256 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub path: PathBuf,
    /// A file that is larger is rotated.
    pub max_size_mib: u64,
    /// How many rotated files stay; 0 is all.
    pub max_backups: usize,
    /// How long rotated files stay; 0 is forever.
    pub max_age_days: u64,
}

enum Message {
    Entry(Box<Entry>),
    Flush(oneshot::Sender<()>),
}

pub struct Log {
    queue: mpsc::SyncSender<Message>,
    failed: Arc<AtomicU64>,
}

impl Log {
    pub fn start(config: LogConfig) -> Log {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let failed = Arc::new(AtomicU64::new(0));
        let mut file = Rotated::new(config);
        let counter = failed.clone();
        let spawned = std::thread::Builder::new()
            .name("audit-log".into())
            .stack_size(256 * 1024)
            .spawn(move || run(&messages, &mut file, &counter));
        if let Err(error) = spawned {
            tracing::error!(%error, "audit log has no thread, nothing is audited");
        }
        Log { queue, failed }
    }

    pub fn send(&self, entry: Entry) {
        if self.queue.try_send(Message::Entry(Box::new(entry))).is_err()
            && self.failed.fetch_add(1, Relaxed).is_power_of_two()
        {
            tracing::warn!(dropped = self.failed(), "audit log does not keep up, events are dropped");
        }
    }

    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            _ = flushed.await; // the thread is gone: nothing is left to wait for
        }
    }
}

fn run(messages: &mpsc::Receiver<Message>, file: &mut Rotated, failed: &AtomicU64) {
    let mut batch = Vec::new();
    while let Ok(first) = messages.recv() {
        let mut waiting = Vec::new();
        let mut lines = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Entry(entry) => {
                    batch.extend_from_slice(entry.line().as_bytes());
                    lines += 1;
                }
                Message::Flush(done) => waiting.push(done),
            }
            next = if batch.len() < BATCH_BYTES { messages.try_recv().ok() } else { None };
        }
        if let Err(error) = file.write(&batch)
            && failed.fetch_add(lines, Relaxed) == 0
        {
            let path = file.config.path.display().to_string();
            tracing::error!(%error, path, "audit log cannot be written, events are lost");
        }
        batch.clear();
        batch.shrink_to(BATCH_BYTES);
        waiting.into_iter().for_each(|done| _ = done.send(()));
    }
}

/// A file with those that it replaced beside it: `audit-TIME.log`.
pub(super) struct Rotated {
    config: LogConfig,
    open: Option<(File, u64)>,
}

impl Rotated {
    pub fn new(config: LogConfig) -> Rotated {
        Rotated { config, open: None }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
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
            self.open = None;
            self.rotate(Timestamp::now())?;
            self.open = Some(open(&self.config.path)?);
        }
        let Some((file, len)) = &mut self.open else { return Ok(()) };
        file.write_all(bytes)?;
        *len += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&self, now: Timestamp) -> io::Result<()> {
        let path = &self.config.path;
        let time = now.strftime("%Y-%m-%dT%H-%M-%S%.6f");
        fs::rename(path, path.with_file_name(format!("{}{time}.{}", self.stem(), extension(path))))?;
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
