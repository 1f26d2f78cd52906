//! A container's log file in the CRI format, with rotation.
//!
//! Kept true: each entry is one `write`, so a reader sees whole lines; what is not followed by a line end (a piece of more
//!            than 16 KiB, the rest at the end) is marked `P`. Line ends are `\n` or `\r\n`, as containerd takes them.
//! Source:    https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// containerd's `max_container_log_line_size`.
const MAX_LINE: usize = 16 << 10;

/// As the kubelet's `containerLogMonitorInterval`.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

pub struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_bytes: u64,
    max_files: usize,
    /// When it was last seen that the file is still there.
    looked: Option<Instant>,
    /// What came since the last line end, for stdout and stderr.
    partial: [Vec<u8>; 2],
}

impl Log {
    pub fn open(path: &Path, max_bytes: u64, max_files: usize) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            size,
            max_bytes,
            max_files,
            looked: None,
            partial: Default::default(),
        })
    }

    /// Appends what the container wrote. Whole lines are written at once, the rest is kept for later.
    pub fn append(&mut self, stream: Stream, mut bytes: &[u8]) {
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        let partial = &mut self.partial[stream as usize];
        while !bytes.is_empty() {
            let room = MAX_LINE - partial.len();
            let line_end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            match line_end {
                Some(end) => {
                    if end == 0 && partial.ends_with(b"\r") {
                        partial.pop();
                    }
                    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                    entry(&mut entries, stream, 'F', &[partial, line]);
                    partial.clear();
                    bytes = &bytes[end + 1..];
                }
                None if bytes.len() >= room => {
                    entry(&mut entries, stream, 'P', &[partial, &bytes[..room]]);
                    partial.clear();
                    bytes = &bytes[room..];
                }
                None => {
                    partial.extend_from_slice(bytes);
                    break;
                }
            }
        }
        self.write(&entries);
    }

    /// The stream ended: what has no line end is shown without one.
    pub fn finish(&mut self, stream: Stream) {
        let partial = std::mem::take(&mut self.partial[stream as usize]);
        if !partial.is_empty() {
            let mut entries = Vec::new();
            entry(&mut entries, stream, 'P', &[&partial]);
            self.write(&entries);
        }
    }

    /// A full disk must not stop the container: what cannot be written is lost.
    fn write(&mut self, entries: &[u8]) {
        if entries.is_empty() {
            return;
        }

        self.reopen_removed();
        if self.size > 0 && self.size + entries.len() as u64 > self.max_bytes {
            // On failure the old file goes on.
            let _ = self.rotate();
        }
        if let Some(file) = &mut self.file
            && file.write_all(entries).is_ok()
        {
            self.size += entries.len() as u64;
        }
    }

    /// A file that was removed by hand is made anew, or nobody could read what is written.
    fn reopen_removed(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) {
            return;
        }
        self.looked = Some(Instant::now());
        let is_there =
            self.file.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|file| file.nlink() > 0);
        if !is_there && let Ok(file) = append(&self.path) {
            (self.file, self.size) = (Some(file), 0);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = stamp(SystemTime::now());
        let mut rotated = suffixed(&self.path, &stamp);
        // Twice within a second.
        for count in 1.. {
            if !rotated.exists() {
                break;
            }
            rotated = suffixed(&self.path, &format!("{stamp}.{count:03}"));
        }
        fs::rename(&self.path, rotated)?;
        self.file = Some(append(&self.path)?);
        self.size = 0;
        self.prune()
    }

    /// Keeps the newest `max_files - 1` rotated files beside the current one.
    fn prune(&self) -> io::Result<()> {
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        let prefix = format!("{}.", name.to_string_lossy());
        let mut rotated: Vec<PathBuf> = fs::read_dir(directory)?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect();
        rotated.sort();
        let keep = self.max_files.saturating_sub(1).max(1);
        for path in rotated.iter().rev().skip(keep) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn entry(out: &mut Vec<u8>, stream: Stream, tag: char, parts: &[&[u8]]) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let _ = write!(out, "{} {stream} {tag} ", timestamp(SystemTime::now()));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'\n');
}

/// RFC 3339 with nanoseconds, in UTC.
fn timestamp(time: SystemTime) -> String {
    let (year, month, day, hour, minute, second, nanosecond) = civil(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanosecond:09}Z")
}

/// As the kubelet names rotated logs: `20060102-150405`.
fn stamp(time: SystemTime) -> String {
    let (year, month, day, hour, minute, second, _) = civil(time);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Year, month, day, hour, minute, second, nanosecond in UTC.
/// Source: https://howardhinnant.github.io/date_algorithms.html#civil_from_days
fn civil(time: SystemTime) -> (i64, i64, i64, u64, u64, u64, u32) {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = ((elapsed.as_secs() / 86_400) as i64, elapsed.as_secs() % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60, elapsed.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_tagged_with_stream_and_wholeness() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web/0.log");
        let mut log = Log::open(&path, 1 << 20, 5).unwrap();
        log.append(Stream::Stdout, b"one\ntw");
        log.append(Stream::Stderr, b"problem\n");
        log.append(Stream::Stdout, b"o\n\ntyped\r");
        log.append(Stream::Stdout, b"\nlast");
        log.finish(Stream::Stdout);
        assert_eq!(
            lines(&path),
            [
                "stdout F one",
                "stderr F problem",
                "stdout F two",
                "stdout F ",
                "stdout F typed",
                "stdout P last"
            ]
        );
    }

    #[test]
    fn a_long_line_is_split_at_16_kib() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = Log::open(&path, 1 << 20, 5).unwrap();
        log.append(Stream::Stdout, &[b'x'; MAX_LINE + 3]);
        log.append(Stream::Stdout, b"\n");
        let sizes: Vec<_> = lines(&path).iter().map(|line| (line.as_bytes()[7], line.len() - 9)).collect();
        assert_eq!(sizes, [(b'P', MAX_LINE), (b'F', 3)]);
    }

    #[test]
    fn a_full_file_is_set_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = Log::open(&path, 100, 3).unwrap();
        (0..12).for_each(|_| log.append(Stream::Stdout, b"some words of a container\n"));
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 3, "the current file and two rotated ones");
        assert_eq!(lines(&path).len(), 1);
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = Log::open(&path, 1 << 20, 5).unwrap();
        log.append(Stream::Stdout, b"one\n");
        fs::remove_file(&path).unwrap();
        log.looked = log.looked.and_then(|looked| looked.checked_sub(LOOK_AGAIN));
        log.append(Stream::Stdout, b"two\n");
        assert_eq!(lines(&path), ["stdout F two"]);
    }

    #[test]
    fn times_are_utc() {
        let time = UNIX_EPOCH + Duration::new(1_709_210_096, 7);
        assert_eq!(timestamp(time), "2024-02-29T12:34:56.000000007Z");
        assert_eq!(stamp(time), "20240229-123456");
    }
}
