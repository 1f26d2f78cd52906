//! Reads container logs in the CRI format, from where the client asks, following them without polling.
//!
//! Reads:     `<log_dir>/<ns>_<pod>_<uid>/<container>/<attempt>.log`, written by the pod's shim.
//! Invariant: a followed log ends after its container ended and everything it wrote was given out.
//! Source:    https://kubernetes.io/docs/concepts/cluster-administration/logging/

mod line;
pub mod links;
mod tail;
mod watch;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::LogOptions;
use watch::DirectoryWatch;

const BLOCK_BYTES: usize = 64 * 1024;

struct Reader {
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    /// The newest of the rotated files that were read, or were there before.
    known: PathBuf,
    watch: Option<DirectoryWatch>,
    ended: CancellationToken,
    /// The begin of a line whose end is not written yet.
    rest: Vec<u8>,
    since: Option<Timestamp>,
    timestamps: bool,
    limit: Option<usize>,
}

impl Reader {
    /// Goes on with the file that was begun after the one that is read: there may have been several rotations.
    async fn open(&mut self) -> io::Result<()> {
        // First, so that a rotation meanwhile makes it one of the others.
        let mut next = present(File::open(&self.path).await)?;
        let mut newer = rotated(&self.path);
        newer.retain(|path| *path > self.known);
        for path in newer {
            let file = present(File::open(&path).await)?;
            self.known = path;
            let Some(file) = file else { continue };
            if file.metadata().await?.ino() != self.inode {
                next = Some(file);
                break;
            }
        }
        if let Some(file) = next {
            self.inode = file.metadata().await?.ino();
            self.file = Some(file);
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        self.rest.reserve(BLOCK_BYTES);
        file.read_buf(&mut self.rest).await
    }

    /// Whole lines of what was read, as the client wants them.
    fn take(&mut self) -> Vec<u8> {
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return Vec::new() };
        let mut out = Vec::with_capacity(end);
        for text in self.rest[..=end].split_inclusive(|b| *b == b'\n') {
            if let Some(line) = line::parse(text)
                && line.is_since(self.since)
            {
                line.write(self.timestamps, &mut out);
            }
        }
        self.rest.drain(..=end);
        out
    }

    /// Another file lies at the path: the log was rotated.
    async fn rotated(&self) -> bool {
        tokio::fs::metadata(&self.path).await.is_ok_and(|m| m.ino() != self.inode)
    }

    /// `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.limit == Some(0) {
            return Ok(None);
        }
        let mut rotated = false;
        loop {
            let ended = self.ended.is_cancelled();
            if self.read().await? > 0 {
                let mut out = self.take();
                if let Some(limit) = &mut self.limit {
                    out.truncate(*limit);
                    *limit -= out.len();
                }
                if !out.is_empty() {
                    return Ok(Some(Bytes::from(out)));
                }
                continue;
            }
            let Some(watch) = &self.watch else { return Ok(None) };
            if rotated {
                self.open().await?;
                rotated = false;
                continue;
            }
            // What was written between the read and the rotation is read first.
            rotated = self.rotated().await;
            if rotated {
                continue;
            }
            if ended {
                return Ok(None);
            }
            tokio::select! {
                changed = watch.changed() => changed?,
                () = self.ended.cancelled() => {}
            }
        }
    }
}

/// `None`: there is no such file.
fn present(opened: io::Result<File>) -> io::Result<Option<File>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What was set aside of a log, oldest first: `<attempt>.log.<time>`.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    let mut found: Vec<PathBuf> = ours.map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn since(options: &LogOptions) -> Option<Timestamp> {
    if let Some(seconds) = options.since_seconds {
        return Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).ok();
    }
    options.since_time.as_deref().and_then(|t| t.parse().ok())
}

/// `ended` says that nothing is written to the log any more.
pub async fn open(
    path: &Path,
    options: &LogOptions,
    ended: CancellationToken,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    // The watch is made before the file is read, so that nothing written in between is missed.
    let watch = match (options.follow, path.parent()) {
        (true, Some(dir)) => {
            tokio::fs::create_dir_all(dir).await?;
            Some(DirectoryWatch::new(dir)?)
        }
        _ => None,
    };
    let mut reader = Reader {
        path: path.to_path_buf(),
        file: None,
        inode: 0,
        known: rotated(path).pop().unwrap_or_default(),
        watch,
        ended,
        rest: Vec::new(),
        since: since(options),
        timestamps: options.timestamps,
        limit: options.limit_bytes.and_then(|n| usize::try_from(n).ok()),
    };
    reader.open().await?;
    if let (Some(file), Some(lines)) = (&mut reader.file, options.tail_lines) {
        tail::seek(file, u64::try_from(lines).unwrap_or(0)).await?;
    }
    let stream =
        try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|chunk| (chunk, reader))) });
    Ok(stream.boxed())
}

/// The last lines of a log without their timestamps: the termination message of a container that left none.
pub async fn last_words(path: &Path, lines: i64, bytes: usize) -> String {
    let options = LogOptions { tail_lines: Some(lines), ..LogOptions::default() };
    let Ok(mut stream) = open(path, &options, CancellationToken::new()).await else { return String::new() };
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        text.extend_from_slice(&chunk);
    }
    let from = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LOG: &str = "2026-11-23T07:00:00.000000001Z stdout F one\n\
                       2026-11-23T07:00:01.000000000Z stderr F two\n\
                       2026-11-23T07:00:02.000000000Z stdout P thr\n\
                       2026-11-23T07:00:02.000000001Z stdout F ee\n";

    async fn all(stream: BoxStream<'static, io::Result<Bytes>>) -> String {
        let chunks: Vec<_> = stream.map(|c| c.unwrap().to_vec()).collect().await;
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn options_select_what_is_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let default = LogOptions::default;
        for (options, expected) in [
            (default(), "one\ntwo\nthree\n"),
            (LogOptions { tail_lines: Some(1), ..default() }, "ee\n"),
            (LogOptions { tail_lines: Some(0), ..default() }, ""),
            (LogOptions { limit_bytes: Some(5), ..default() }, "one\nt"),
            (LogOptions { since_time: Some("2026-11-23T07:00:01Z".into()), ..default() }, "two\nthree\n"),
            (
                LogOptions { timestamps: true, limit_bytes: Some(35), ..default() },
                "2026-11-23T07:00:00.000000001Z one\n",
            ),
        ] {
            let stream = open(&path, &options, CancellationToken::new()).await.unwrap();
            assert_eq!(all(stream).await, expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn following_goes_on_over_a_rotation_until_the_container_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, "2026-11-23T07:00:00Z stdout F one\n").unwrap();
        let ended = CancellationToken::new();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = open(&path, &options, ended.clone()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        std::fs::write(&path, "2026-11-23T07:00:01Z stdout F two\n").unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "two\n");
        ended.cancel();
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn several_rotations_at_once_lose_nothing_and_repeat_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let aside = |name: &str| std::fs::rename(&path, dir.path().join(name)).unwrap();
        let write = |text: &str| {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            writeln!(file, "2026-11-23T07:00:00Z stdout F {text}").unwrap();
        };
        let ended = CancellationToken::new();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        write("before");
        aside("0.log.20261123-070000");
        write("one");
        let mut stream = open(&path, &options, ended.clone()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        write("two");
        for (name, text) in [("070001", "three"), ("070001.001", "four"), ("070002", "five")] {
            aside(&format!("0.log.20261123-{name}"));
            write(text);
        }
        for text in ["two\n", "three\n", "four\n", "five\n"] {
            assert_eq!(stream.next().await.unwrap().unwrap(), text);
        }
        std::fs::remove_file(&path).unwrap();
        write("six");
        assert_eq!(stream.next().await.unwrap().unwrap(), "six\n");
        ended.cancel();
        assert!(stream.next().await.is_none());
    }
}
