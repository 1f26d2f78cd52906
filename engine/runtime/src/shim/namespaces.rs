//! The namespaces that a pod's containers share, pinned by bind mounts so that they need no process.
//!
//! Writes: `<run>/ns/{net,ipc,uts}`, `<run>/shm`, the pod's host name and sysctls.
//! Source: namespaces(7), https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
#![allow(unsafe_code)]

use std::{fs, io, path::Path};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};

use crate::record::{self, SandboxRecord};

/// containerd's defaults for pods with a network of their own: low ports and ping need no capability.
const DEFAULT_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

pub fn create(sandbox: &SandboxRecord) -> io::Result<()> {
    fs::create_dir_all(sandbox.run.join("ns"))?;
    if !sandbox.spec.host_ipc {
        let shm = sandbox.run.join("shm");
        fs::create_dir_all(&shm)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), &shm, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))?;
    }
    // A child enters the new namespaces, so that this process stays where it is.
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            _ => Err(io::Error::other("the pod's namespaces could not be made")),
        },
        ForkResult::Child => {
            let code = match pin(sandbox) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("{error}");
                    1
                }
            };
            std::process::exit(code)
        }
    }
}

fn pin(sandbox: &SandboxRecord) -> io::Result<()> {
    let spec = &sandbox.spec;
    let mut kinds = Vec::new();
    if spec.private_network {
        kinds.extend([("net", CloneFlags::CLONE_NEWNET), ("uts", CloneFlags::CLONE_NEWUTS)]);
    }
    if !spec.host_ipc {
        kinds.push(("ipc", CloneFlags::CLONE_NEWIPC));
    }
    unshare(kinds.iter().fold(CloneFlags::empty(), |all, (_, flag)| all | *flag))?;
    if spec.private_network {
        set_hostname(&spec.hostname)?;
        loopback_up()?;
        for (name, value) in DEFAULT_SYSCTLS.iter().filter(|(name, _)| !spec.sysctls.contains_key(*name)) {
            // A kernel without one of them is fine.
            let _ = sysctl(name, value);
        }
    }
    for (name, value) in &spec.sysctls {
        sysctl(name, value)
            .map_err(|error| io::Error::new(error.kind(), format!("set sysctl `{name}`: {error}")))?;
    }
    for (kind, _) in kinds {
        let target = record::namespace(&sandbox.run, kind);
        fs::write(&target, "")?;
        let source = format!("/proc/self/ns/{kind}");
        mount(Some(Path::new(&source)), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}

/// These files show the namespaces of the process that opens them.
fn sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys").join(name.replace('.', "/")), value)
}

fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `name`.
    match unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn loopback_up() -> io::Result<()> {
    // SAFETY: `request` is a zeroed `ifreq` with a short name, which lives through the calls; the socket is closed.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let result = libc::ioctl(socket, libc::SIOCSIFFLAGS, &request);
        let error = io::Error::last_os_error();
        libc::close(socket);
        if result < 0 { Err(error) } else { Ok(()) }
    }
}
