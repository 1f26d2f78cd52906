//! Another process in a running container: `coracle create exec`, the plan comes over the status socket.
//!
//! Kept true: the new process has the container's user, capabilities, seccomp filter, cgroup and namespaces.
//! Source:    setns(2), pty(7)
#![allow(unsafe_code)]

use std::{
    io::{self, Write},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::{CONSOLE, STATUS, capabilities::CapabilitySet, chain, process, process::Process};
use crate::{
    cgroup::Cgroups,
    protocol::{self, ExecPlan, Status},
    record::{self, ContainerDirectory},
};

pub fn create() -> Result<(), String> {
    let text = |error: &dyn std::error::Error| chain(error);
    // SAFETY: the shim gave us this descriptor; it stays open for the whole life of this process.
    let status = unsafe { BorrowedFd::borrow_raw(STATUS) };
    let plan: ExecPlan = protocol::receive_packet(&status, &mut Vec::new())
        .map_err(|error| text(&error))?
        .ok_or("the shim is gone")?;
    let container = ContainerDirectory(plan.container.clone());
    let record = container.record().map_err(|error| text(&error))?;
    let sandbox = container.pod().and_then(|pod| pod.sandbox()).map_err(|error| text(&error))?;
    let available = CapabilitySet::bounding().map_err(|error| text(&error))?;
    let mut process =
        Process::new(&record.spec, &sandbox.spec.hostname, available).map_err(|error| text(&error))?;
    process.argv = plan.spec.argv.clone();
    if plan.spec.tty {
        process.default_env("TERM", "xterm");
    }

    let cgroup = record::container_cgroup(&sandbox.cgroup, &record.id);
    Cgroups::detect()
        .and_then(|groups| groups.join(&cgroup, std::process::id()))
        .map_err(|error| text(&error))?;
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", plan.pid)).unwrap_or_default();
    let _ = std::fs::write("/proc/self/oom_score_adj", score.trim());
    // Until the program is executed nobody inside may look into this process.
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    let shared_pid = sandbox.spec.host_pid;
    enter(plan.pid, record.spec.privileged, shared_pid)
        .map_err(|error| format!("enter container: {error}"))?;

    // The program becomes the shim's child, so that the shim reaps it.
    // SAFETY: this process has one thread. With these flags `clone` copies the process as `fork` does.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
    match child {
        -1 => Err(text(&io::Error::last_os_error())),
        0 => {
            let user = &record.spec.user;
            let message = match run(&mut process, user, record.spec.no_new_privileges, plan.spec.tty) {
                Ok(never) => match never {},
                Err(message) => message,
            };
            super::report(&Status::Failed { message }, &[]);
            std::process::exit(128)
        }
        pid => {
            super::report(&Status::Created { pid: pid as i32 }, &[]);
            Ok(())
        }
    }
}

fn enter(pid: i32, privileged: bool, host_pid: bool) -> io::Result<()> {
    // SAFETY: takes numbers; the descriptor that comes back is owned by nobody else.
    let pidfd = unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            descriptor if descriptor >= 0 => OwnedFd::from_raw_fd(descriptor as i32),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    let mut kinds = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if !host_pid {
        kinds |= libc::CLONE_NEWPID;
    }
    if !privileged {
        kinds |= libc::CLONE_NEWCGROUP;
    }
    // SAFETY: takes numbers only.
    match unsafe { libc::setns(pidfd.as_raw_fd(), kinds) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In the child: takes on the container's user and becomes the program.
fn run(
    process: &mut Process,
    user: &crate::api::User,
    no_new_privileges: bool,
    tty: bool,
) -> Result<std::convert::Infallible, String> {
    let failed = |action: &str| format!("{action}: {}", process::reason(&io::Error::last_os_error()));
    // SAFETY: plain system calls with numbers, and a group list that lives through its call.
    unsafe {
        libc::setsid();
        if tty {
            terminal(user.uid).map_err(|error| format!("open terminal: {error}"))?;
        }
        // The descriptors for the shim and the daemon must not reach the program.
        libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32);
        if no_new_privileges && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(failed("set no_new_privs"));
        }
        let groups = &user.additional_gids;
        if libc::setgroups(groups.len(), groups.as_ptr()) != 0 {
            return Err(failed("set groups"));
        }
        // Capabilities survive the change of user until the filter is loaded; execve then takes them away.
        libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        if libc::setresgid(user.gid, user.gid, user.gid) != 0
            || libc::setresuid(user.uid, user.uid, user.uid) != 0
        {
            return Err(failed("set user"));
        }
        libc::prctl(libc::PR_SET_KEEPCAPS, 0, 0, 0, 0);
    }
    let needed = CapabilitySet::from_names(&["SYS_ADMIN".into(), "SETPCAP".into()]);
    let available = CapabilitySet::bounding().unwrap_or_default();
    let _ = process.capabilities.union(needed).intersect(available).apply();
    let program = process.resolve()?;
    let error = process.execute(&program);
    Err(format!("exec {}: {}", program.display(), process::reason(&error)))
}

/// Makes a PTY in the container, sends its master to the daemon and makes its other end this process's terminal.
fn terminal(uid: u32) -> io::Result<()> {
    let check = |result: i32| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    let mut number: libc::c_int = 0;
    let unlock: libc::c_int = 0;
    // SAFETY: the paths are C strings; the ioctls get pointers to integers that live through them; the descriptors
    // opened here are owned by nobody else.
    unsafe {
        let master = OwnedFd::from_raw_fd(check(libc::open(
            c"/dev/ptmx".as_ptr(),
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        ))?);
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock))?;
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number))?;
        let path = std::ffi::CString::new(format!("/dev/pts/{number}"))?;
        let terminal = OwnedFd::from_raw_fd(check(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NOCTTY))?);
        check(libc::fchown(terminal.as_raw_fd(), uid, libc::gid_t::MAX))?;
        check(libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0))?;
        for standard in 0..3 {
            check(libc::dup2(terminal.as_raw_fd(), standard))?;
        }
        protocol::send(CONSOLE, b"m", &[master.as_raw_fd()])?;
    }
    io::stdout().flush()
}
