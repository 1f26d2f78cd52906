//! The flags of a container's mounts on Linux 5.10 and 5.11, which have no `mount_setattr`.
//!
//! `libcontainer` sets the flags of every mount with that call and with no other. Where the kernel lacks it, a filter
//! lets the call succeed without effect. What is left is set in the old way once the mounts are in place: inside the
//! container, before anything of it runs.
//! Kept true: a container's program never sees the filter's answer: a later one tells it what the kernel would.
//! Source:    mount_setattr(2) "History", seccomp(2) on several filters, mount(2) on `MS_REMOUNT | MS_BIND`
#![allow(unsafe_code)]

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};
use serde_json::Value;

use crate::seccomp::{Filters, SeccompError};

const OPTIONS: [(&str, MsFlags); 7] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("noatime", MsFlags::MS_NOATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("strictatime", MsFlags::MS_STRICTATIME),
];
/// What a mount already has stays: its source may forbid more than the container asks for.
const KEPT: [(FsFlags, MsFlags); 6] = [
    (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
    (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
    (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
    (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
    (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
];

/// Flags that are still to be set, by path inside the container.
#[derive(Clone)]
pub struct LateFlags {
    mounts: Vec<(PathBuf, MsFlags)>,
    /// A filter answers `mount_setattr`.
    filtered: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum MountFlagsError {
    #[error("build the filter that stands in for mount_setattr")]
    Filter(#[from] SeccompError),
    #[error("load the filter that stands in for mount_setattr")]
    Load(#[source] io::Error),
    #[error("set the flags of mount `{}`", path.display())]
    Set { path: PathBuf, source: io::Error },
}

/// Before `libcontainer` mounts anything. `config` is the container's OCI specification.
pub fn late(config: &Value) -> Result<LateFlags, MountFlagsError> {
    if kernel_sets_flags() {
        return Ok(LateFlags { mounts: Vec::new(), filtered: false });
    }
    answer_mount_setattr(0)?;
    let mounts = config["mounts"].as_array().into_iter().flatten();
    Ok(LateFlags { mounts: mounts.filter_map(flags_of).collect(), filtered: true })
}

fn flags_of(mount: &Value) -> Option<(PathBuf, MsFlags)> {
    let has = |name: &str| mount["options"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let wanted: MsFlags = OPTIONS.iter().filter(|(name, _)| has(name)).map(|(_, flag)| *flag).collect();
    (!wanted.is_empty()).then(|| (mount["destination"].as_str().unwrap_or_default().into(), wanted))
}

impl LateFlags {
    /// Inside the container, with CAP_SYS_ADMIN. Afterwards a filter answers ENOSYS.
    pub fn set(&self) -> Result<(), MountFlagsError> {
        for (path, wanted) in &self.mounts {
            remount(path, *wanted).map_err(|source| MountFlagsError::Set { path: path.clone(), source })?;
        }
        if self.filtered { answer_mount_setattr(libc::ENOSYS as u32) } else { Ok(()) }
    }
}

fn remount(path: &Path, wanted: MsFlags) -> io::Result<()> {
    let present = statvfs(path)?.flags();
    let kept: MsFlags =
        KEPT.iter().filter(|(flag, _)| present.contains(*flag)).map(|(_, flag)| *flag).collect();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept | wanted;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(Into::into)
}

fn kernel_sets_flags() -> bool {
    // SAFETY: with a descriptor that cannot be, the call fails before it reads any of the (absent) attributes.
    let result =
        unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null::<u8>(), 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

fn answer_mount_setattr(errno: u32) -> Result<(), MountFlagsError> {
    Filters::answering(libc::SYS_mount_setattr, errno)?.load().map_err(MountFlagsError::Load)
}
