//! Mounts below a pod's directory.
//!
//! Invariant: a tree is deleted only when nothing is mounted in it any more, so that no host path or other volume is emptied.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coracle_runtime::mountinfo::mounts_below;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

pub fn is_mount_point(dir: &Path) -> io::Result<bool> {
    Ok(mounts_below(dir)?.iter().any(|mount| mount.point == dir))
}

/// A tmpfs at `dir` unless there is one.
pub fn tmpfs(dir: &Path, size_bytes: Option<i64>) -> io::Result<()> {
    if is_mount_point(dir)? {
        return Ok(());
    }
    let options = size_bytes.map(|n| format!("size={n}"));
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), options.as_deref())?;
    Ok(())
}

pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(
        Some(source.as_os_str().as_bytes()),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?;
    Ok(())
}

/// Unmounts everything at and below `dir`, the last mounted first.
pub fn unmount_below(dir: &Path) -> io::Result<()> {
    for mount in mounts_below(dir)?.into_iter().rev() {
        match umount2(&mount.point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub fn remove_tree(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    unmount_below(dir)?;
    if let Some(left) = mounts_below(dir)?.first() {
        return Err(io::Error::other(format!("`{}` is still mounted", left.point.display())));
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
