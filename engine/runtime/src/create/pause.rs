//! The first process of a pod's shared process namespace: reaps what is left to it, and nothing else.
//!
//! Reads:  nothing.  Writes: pins the namespace at `<run>/ns/pid`.
//! Source: https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/
#![allow(unsafe_code)]

use std::{fs, path::Path};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{ForkResult, fork},
};

use super::{chain, report};
use crate::{protocol::Status, record};

pub fn create(run: &Path) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| chain(error);
    unshare(CloneFlags::CLONE_NEWPID).map_err(|error| text(&error))?;
    // SAFETY: this process has one thread; the child makes system calls only.
    match unsafe { fork() }.map_err(|error| text(&error))? {
        ForkResult::Child => idle(),
        ForkResult::Parent { child } => {
            let target = record::namespace(run, "pid");
            fs::write(&target, "").map_err(|error| text(&error))?;
            let source = format!("/proc/{child}/ns/pid");
            mount(Some(source.as_str()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|error| text(&error))?;
            report(&Status::Created { pid: child.as_raw() }, &[]);
            Ok(())
        }
    }
}

fn idle() -> ! {
    // SAFETY: plain system calls. Closing everything lets go of the shim's socket.
    unsafe {
        libc::setsid();
        libc::close_range(0, libc::c_uint::MAX, 0);
        libc::prctl(libc::PR_SET_NAME, c"pause".as_ptr());
        // The kernel reaps for a parent that ignores its children.
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        loop {
            libc::pause();
        }
    }
}
