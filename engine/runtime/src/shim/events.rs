//! What the shim waits for: signals, connections, output of containers, answers of `coracle create`.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use super::log::Stream;

/// Numbers are positions in the server's lists, which do not change while events are handled.
#[derive(Clone, Copy)]
pub enum Source {
    /// Before `Signals`: what a process said comes before its end.
    CreateStatus(usize),
    ExecStatus(usize),
    Output(usize, Stream),
    ContainerInput(usize),
    Connection(usize),
    AttachOutput(usize, Stream),
    AttachInput(usize),
    Listener,
    Signals,
}

#[derive(Default)]
pub struct PollSet {
    entries: Vec<libc::pollfd>,
    sources: Vec<Source>,
}

impl PollSet {
    pub fn clear(&mut self) {
        self.entries.clear();
        self.sources.clear();
    }

    pub fn read(&mut self, descriptor: &impl AsRawFd, source: Source) {
        self.add(descriptor.as_raw_fd(), libc::POLLIN, source);
    }

    pub fn write(&mut self, descriptor: &impl AsRawFd, source: Source) {
        self.add(descriptor.as_raw_fd(), libc::POLLOUT, source);
    }

    pub fn add(&mut self, descriptor: RawFd, events: i16, source: Source) {
        self.entries.push(libc::pollfd { fd: descriptor, events, revents: 0 });
        self.sources.push(source);
    }

    /// Waits, without end when there is no timeout. Returns what is ready.
    pub fn wait(&mut self, timeout_ms: Option<i32>) -> io::Result<Vec<Source>> {
        // SAFETY: the pointer and the length are those of `entries`, which lives through the call.
        let result = unsafe {
            libc::poll(
                self.entries.as_mut_ptr(),
                self.entries.len() as libc::nfds_t,
                timeout_ms.unwrap_or(-1),
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(Vec::new()) } else { Err(error) };
        }
        let ready = self.entries.iter().zip(&self.sources).filter(|(entry, _)| entry.revents != 0);
        Ok(ready.map(|(_, source)| *source).collect())
    }
}

/// Takes the signals that matter as data. They are blocked, not ignored: that would be inherited by containers.
pub fn signals() -> io::Result<OwnedFd> {
    // SAFETY: `set` lives through the calls; the descriptor that comes back is owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            descriptor if descriptor >= 0 => Ok(OwnedFd::from_raw_fd(descriptor)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Forgets the signals that came; which children ended is asked of the kernel.
pub fn drain(descriptor: &OwnedFd) {
    let mut buffer = [0; 1024];
    while nix::unistd::read(descriptor, &mut buffer).is_ok_and(|count| count > 0) {}
}

/// The next child that ended, and its status.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
        pid if pid > 0 => Some((pid, status)),
        _ => None,
    }
}
