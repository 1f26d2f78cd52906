//! Wakes when a file in a directory is written, made or moved. Sleeps otherwise.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

struct Fd(Inotify);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub struct DirectoryWatch(AsyncFd<Fd>);

impl DirectoryWatch {
    pub fn new(dir: &Path) -> io::Result<DirectoryWatch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(dir, events)?;
        // SAFETY: `Fd` owns the descriptor, gives the same one each time, and closes it only when it is dropped.
        let watch = unsafe { AsyncFd::register_with_interest(Fd(inotify), Interest::READABLE)? };
        Ok(DirectoryWatch(watch))
    }

    /// Returns when something changed since the last call.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|fd| fd.get_ref().0.read_events().map_err(io::Error::from)) {
                Ok(events) => return events.map(|_| ()),
                Err(_would_block) => continue,
            }
        }
    }
}
