//! Starts `coracle create …` processes: the shim's own program again, with a status socket as descriptor 3.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use crate::create::{CONSOLE, STATUS};

/// What the new process gets. Without a stream it gets `/dev/null`.
#[derive(Default)]
pub struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub console: Option<OwnedFd>,
}

/// Returns the process and our end of its status socket. It is reaped like every other child.
pub fn create(kind: &str, argument: Option<&Path>, streams: Streams) -> io::Result<(i32, OwnedFd)> {
    let (ours, theirs) = packet_pair()?;
    let stdio = |stream: Option<OwnedFd>| stream.map_or_else(Stdio::null, Stdio::from);
    let mut command = Command::new("/proc/self/exe");
    command.arg0("coracle").args(["create", kind]).args(argument);
    command.env_clear();
    command.stdin(stdio(streams.stdin)).stdout(stdio(streams.stdout)).stderr(stdio(streams.stderr));
    let (status, console) = (theirs.as_raw_fd(), streams.console.as_ref().map(AsRawFd::as_raw_fd));
    // SAFETY: the closure makes system calls only and touches two numbers.
    unsafe { command.pre_exec(move || place(status, console)) };
    let child = command.spawn()?;
    drop(streams.console);
    Ok((child.id() as i32, ours))
}

/// Puts the sockets where the new process looks for them, above all others first so that none overwrites the other.
fn place(status: RawFd, console: Option<RawFd>) -> io::Result<()> {
    // SAFETY: plain system calls with numbers, in the child only.
    unsafe {
        let status = libc::fcntl(status, libc::F_DUPFD_CLOEXEC, 10);
        let console = console.map(|console| libc::fcntl(console, libc::F_DUPFD_CLOEXEC, 10));
        if libc::dup2(status, STATUS) < 0 || console.is_some_and(|console| libc::dup2(console, CONSOLE) < 0) {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    // SAFETY: `pair` has room for two descriptors, which are owned by nobody else when they come back.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr())
            < 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])))
    }
}

/// (read end, write end), both close-on-exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

pub fn set_nonblocking(descriptor: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes numbers only.
    unsafe {
        let flags = libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL);
        if flags < 0 || libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
