//! Owners and modes of volumes: open to all users of the pod, and to the pod's `fsGroup`.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

pub fn open_to_all(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))
}

/// The directory of generated files: open to all, its entries belong to the group.
pub fn open_to_all_with_group(dir: &Path, gid: u32) -> io::Result<()> {
    lchown(dir, None, Some(gid))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o2777))
}

/// Makes a writable volume belong to a group, new files in it included.
pub fn give_to_group(dir: &Path, gid: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(dir)?;
    lchown(dir, None, Some(gid))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let add = if meta.is_dir() { 0o2770 } else { 0o660 };
    fs::set_permissions(dir, fs::Permissions::from_mode(meta.mode() | add))?;
    if meta.is_dir() {
        for entry in fs::read_dir(dir)? {
            give_to_group(&entry?.path(), gid)?;
        }
    }
    Ok(())
}
