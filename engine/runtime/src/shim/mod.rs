//! `coracle shim <pod directory>`: one small process per pod. It is the parent of the pod's processes: it reaps them,
//! writes their logs and their ends to disk, and serves the daemon over a socket. It needs no daemon to go on.
//!
//! Kept true: one thread, no async runtime; the daemon's end changes nothing here; ends are on disk before they are told.
//! Reads:     `sandbox.json`, containers' records.
//! Writes:    namespaces and socket below `run_dir`, logs, `running.json` and `exit.json`.
#![allow(unsafe_code)]

mod container;
mod events;
mod log;
mod namespaces;
mod processes;
mod server;
mod session;
mod sessions;
mod spawn;

use std::{
    ffi::OsString,
    fs, io,
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::Path,
};

use nix::unistd::{ForkResult, fork, setsid};

use crate::record::{PodDirectory, SandboxRecord};
use server::Server;

pub fn main(arguments: &[OsString]) -> i32 {
    let Some(directory) = arguments.first() else {
        eprintln!("usage: coracle shim <pod directory>");
        return 2;
    };
    match start(Path::new(directory)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// Makes what the pod needs, then leaves a process behind: when this one ends, the socket already listens.
fn start(directory: &Path) -> io::Result<()> {
    let pod = PodDirectory(directory.to_owned());
    let sandbox = pod.sandbox()?;
    leave_the_daemon(&sandbox);
    // Containers get the usual one, whatever the daemon's is.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    namespaces::create(&sandbox)?;
    let listener = listen(&sandbox)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            setsid()?;
            detach_standard_streams()?;
            // SAFETY: takes numbers and a C string only. Orphans of the pod's processes become this process's children.
            unsafe {
                libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
                libc::prctl(libc::PR_SET_NAME, c"coracle-shim".as_ptr());
            }
            std::env::set_current_dir("/")?;
            fs::write(sandbox.run.join("shim.pid"), std::process::id().to_string())?;
            Server::new(pod, sandbox, listener)?.run()
        }
    }
}

/// A service manager ends what is in the daemon's cgroup; under pressure the kernel should take others first.
fn leave_the_daemon(sandbox: &SandboxRecord) {
    // Where this is not allowed, the shim works as well.
    if let Ok(groups) = crate::cgroup::Cgroups::detect() {
        let _ = groups.join(&sandbox.shim_cgroup, std::process::id());
    }
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
}

fn listen(sandbox: &SandboxRecord) -> io::Result<UnixListener> {
    // A socket's path has to be short: bind below the directory's descriptor.
    let directory = fs::File::open(&sandbox.run)?;
    let path = format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd());
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn detach_standard_streams() -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..3 {
        // SAFETY: both descriptors are open; the standard ones belong to nobody in this process.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
