//! The log: numbered segments of frames, each frame one group of commits, on disk before it is acknowledged.
//!
//! A segment is filled with zeros when it is made, ahead of need and by a thread of its own: a sync then writes the
//! group alone, without the file system's own bookkeeping. Its last frame says that the log goes on in the next one, so
//! that the loss of the newest segment is no end of the log.
//! Invariant: a frame is never written over, and after a failed write or sync nothing more is written, but for a
//! full disk, which is met before anything that counts is on it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    Revision,
    disk::{Disk, DiskFile},
    frame::{Framing, HEADER_LEN, LOG_MAGIC, StoreId, encode_header},
    record::encode_continued,
};

/// Size of a segment. One larger frame makes its segment larger.
pub(crate) const SEGMENT_LEN: u64 = 8 << 20;

/// More than a frame adds to key and body: headers, checksum, revision, what encryption needs.
const FRAMING_LEN: u64 = 512;

/// What is kept free at the end of a segment for its last frame.
const CONTINUED_LEN: u64 = 32;

pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreId,
    segment: Segment,
    segment_len: u64,
    /// The thread that makes the next segment, once it is foreseen.
    next: Option<JoinHandle<io::Result<Segment>>>,
    pub next_sequence: u64,
    /// The last ceiling written.
    pub ceiling: Revision,
    /// Bytes of frames since the last checkpoint began.
    pub len_since_checkpoint: u64,
    /// How long a sync takes, on average of the last ones.
    pub sync_time: Duration,
    broken: Option<String>,
}

pub(crate) struct Segment {
    pub file: Box<dyn DiskFile>,
    pub number: u64,
    /// Where the next frame goes.
    pub end: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// Nothing was written that counts: the same can be tried again.
    #[error("{action} in `{}`: {source}{}", dir.display(), hint(source))]
    Full { action: &'static str, dir: PathBuf, source: io::Error },
    #[error("{0}")]
    Broken(String),
}

/// Where the log goes on, as recovery found it.
pub(crate) struct Position {
    pub store: StoreId,
    pub segment: Segment,
    pub next_sequence: u64,
    pub ceiling: Revision,
    pub len_since_checkpoint: u64,
}

impl Log {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, segment_len: u64, position: Position) -> Self {
        Log {
            disk,
            dir: dir.to_owned(),
            store: position.store,
            segment: position.segment,
            segment_len,
            next: None,
            next_sequence: position.next_sequence,
            ceiling: position.ceiling,
            len_since_checkpoint: position.len_since_checkpoint,
            sync_time: Duration::from_millis(1),
            broken: None,
        }
    }

    /// How long the log may get before a checkpoint is worth it, however small the store is.
    pub fn segment_len(&self) -> u64 {
        self.segment_len
    }

    pub fn segment_number(&self) -> u64 {
        self.segment.number
    }

    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Why nothing can be written any more.
    pub fn check(&self) -> Result<(), AppendError> {
        self.broken.clone().map_or(Ok(()), |reason| Err(AppendError::Broken(reason)))
    }

    /// Whether a commit with a key and a body of this length goes into the segment at hand.
    pub fn has_room(&self, len: usize) -> bool {
        self.segment.end + len as u64 + FRAMING_LEN <= self.segment_len
    }

    /// Makes sure that a frame of about this size fits, in a new segment if need be; `true` when it is a new one.
    pub fn make_room(&mut self, frame_len: usize) -> Result<bool, AppendError> {
        self.check()?;
        let fits = self.segment.end + frame_len as u64 + CONTINUED_LEN <= self.segment_len;
        if fits || self.segment.end == HEADER_LEN as u64 {
            return Ok(false);
        }
        let made = match self.next.take() {
            Some(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("segment thread panicked")))
            }
            None => self.maker()(),
        };
        let made = made.map_err(|source| self.full("make a log segment", source))?;
        self.write(&mut encode_continued())?;
        self.segment = made;
        Ok(true)
    }

    /// Writes one frame and waits until it is on disk.
    pub fn append(&mut self, mut frame: Vec<u8>, ceiling: Revision) -> Result<Vec<u8>, AppendError> {
        self.check()?;
        self.write(&mut frame)?;
        self.ceiling = ceiling;
        self.foresee();
        Ok(frame)
    }

    fn write(&mut self, frame: &mut Vec<u8>) -> Result<(), AppendError> {
        Framing::new(LOG_MAGIC, &self.store, self.segment.number).seal(frame, self.next_sequence);
        if let Err(source) = self.segment.file.write_at(self.segment.end, frame) {
            if !is_full(&source) || self.erase_tail().is_err() {
                return Err(self.broke("write", source));
            }
            return Err(self.full("write the log", source));
        }
        let started = Instant::now();
        if let Err(source) = self.segment.file.sync() {
            // The kernel may have dropped the pages: a second sync would prove nothing.
            return Err(self.broke("sync", source));
        }
        self.sync_time = (self.sync_time * 7 + started.elapsed()) / 8;
        self.segment.end += frame.len() as u64;
        self.next_sequence += 1;
        self.len_since_checkpoint += frame.len() as u64;
        Ok(())
    }

    /// Takes back what a failed write left behind the last frame: the log may go on in another segment, and
    /// there is to be nothing that looks damaged in this one.
    fn erase_tail(&self) -> io::Result<()> {
        zero(&*self.segment.file, self.segment.end, self.segment.file.size()?)?;
        self.segment.file.sync()
    }

    fn full(&self, action: &'static str, source: io::Error) -> AppendError {
        AppendError::Full { action, dir: self.dir.clone(), source }
    }

    fn broke(&mut self, action: &str, source: io::Error) -> AppendError {
        let path = segment_path(&self.dir, self.segment.number);
        let reason = format!(
            "{action} `{}` failed: {source}; check the disk, then start Coracle again",
            path.display()
        );
        tracing::error!(%reason, "the store is read-only until it is opened anew");
        self.broken = Some(reason.clone());
        AppendError::Broken(reason)
    }

    /// Starts to make the next segment when this one is half full.
    fn foresee(&mut self) {
        if self.next.is_some() || self.segment.end < self.segment_len / 2 {
            return;
        }
        // Without a thread the segment is made when it is needed.
        self.next = std::thread::Builder::new().name("store-segment".into()).spawn(self.maker()).ok();
    }

    fn maker(&self) -> impl FnOnce() -> io::Result<Segment> + Send + use<> {
        let (disk, dir, store) = (self.disk.clone(), self.dir.clone(), self.store);
        let (number, len) = (self.segment.number + 1, self.segment_len);
        move || make_segment(&*disk, &dir, &store, number, len)
    }

    /// Waits for the thread that makes the next segment.
    pub fn close(&mut self) {
        if let Some(thread) = self.next.take() {
            let _ = thread.join();
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn hint(error: &io::Error) -> &'static str {
    if is_full(error) { "; free space on its file system, the next write tries again" } else { "" }
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log-{number:016}"))
}

/// A new segment, on disk as a whole or not at all.
pub(crate) fn make_segment(
    disk: &dyn Disk,
    dir: &Path,
    store: &StoreId,
    number: u64,
    len: u64,
) -> io::Result<Segment> {
    let path = segment_path(dir, number);
    let temporary = path.with_extension("tmp");
    let written = || {
        let file = disk.create(&temporary)?;
        file.write_at(0, &encode_header(LOG_MAGIC, store, number))?;
        zero(&*file, HEADER_LEN as u64, len)?;
        file.sync()?;
        disk.rename(&temporary, &path)?;
        disk.sync_dir(dir)?;
        Ok(Segment { file, number, end: HEADER_LEN as u64 })
    };
    // A half-made file would keep a full disk full.
    written().inspect_err(|_| _ = disk.remove(&temporary))
}

/// Fills `from..to` with zeros.
pub(crate) fn zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; (256 << 10).min(to.saturating_sub(from)) as usize];
    let mut at = from;
    while at < to {
        let len = (to - at).min(zeros.len() as u64);
        file.write_at(at, &zeros[..len as usize])?;
        at += len;
    }
    Ok(())
}
