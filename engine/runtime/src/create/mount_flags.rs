//! The flags of a container's mounts that `libcontainer` does not set: those of a cgroup v1 tree on all kernels, and
//! all of them on Linux 5.10 and 5.11, which have no `mount_setattr`.
//!
//! `libcontainer` sets the flags of every mount with that call and with no other. Where the kernel lacks it, a filter
//! lets the call succeed without effect. What is left is set in the old way once the mounts are in place: inside the
//! container, before anything of it runs.
//! Kept true: a container's program never sees the filter's answer: a later one tells it what the kernel would.
//! Source:    mount_setattr(2) "History", seccomp(2) on several filters, mount(2) on `MS_REMOUNT | MS_BIND`
#![allow(unsafe_code)]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        statfs::{CGROUP2_SUPER_MAGIC, statfs},
        statvfs::{FsFlags, statvfs},
    },
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
    mounts: Vec<(PathBuf, MsFlags, Depth)>,
    /// A filter answers `mount_setattr`.
    filtered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    /// A cgroup v1 tree is a mount with one mount a controller below it; these get none of the options from libcontainer.
    WithChildren,
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
    let filtered = !kernel_sets_flags();
    if filtered {
        answer_mount_setattr(0)?;
    }
    let mounts = config["mounts"].as_array().into_iter().flatten();
    let left = mounts.filter_map(flags_of).filter(|(_, _, depth)| filtered || *depth == Depth::WithChildren);
    Ok(LateFlags { mounts: left.collect(), filtered })
}

fn flags_of(mount: &Value) -> Option<(PathBuf, MsFlags, Depth)> {
    let has = |name: &str| mount["options"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let wanted: MsFlags = OPTIONS.iter().filter(|(name, _)| has(name)).map(|(_, flag)| *flag).collect();
    let depth = if mount["type"] == "cgroup" { Depth::WithChildren } else { Depth::One };
    (!wanted.is_empty()).then(|| (mount["destination"].as_str().unwrap_or_default().into(), wanted, depth))
}

impl LateFlags {
    /// Inside the container, with CAP_SYS_ADMIN. Afterwards a filter answers ENOSYS.
    pub fn set(&self) -> Result<(), MountFlagsError> {
        for (path, wanted, depth) in &self.mounts {
            let children = if *depth == Depth::WithChildren { children(path) } else { Vec::new() };
            for path in children.iter().chain([path]) {
                match remount(path, *wanted) {
                    // Not a mount of its own. A volume is one: it does not stay writable without a word.
                    Err(error)
                        if *depth == Depth::WithChildren && error.raw_os_error() == Some(libc::EINVAL) => {}
                    Err(source) => return Err(MountFlagsError::Set { path: path.clone(), source }),
                    Ok(()) => {}
                }
            }
        }
        if self.filtered { answer_mount_setattr(libc::ENOSYS as u32) } else { Ok(()) }
    }
}

/// The controllers of a v1 tree; a unified one has no mounts below it. Links to joint controllers lead to one of these.
fn children(path: &Path) -> Vec<PathBuf> {
    if statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Vec::new();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
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
