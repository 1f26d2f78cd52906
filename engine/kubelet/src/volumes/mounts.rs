//! Mounts below a pod's directory.
//!
//! Invariant: a tree is deleted only when nothing is mounted in it any more, so that no host path or other volume is emptied.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mount points from /proc/self/mountinfo, in the order of mounting.
fn parse_mountinfo(text: &str) -> Vec<PathBuf> {
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = (bytes[at] == b'\\').then(|| field.get(at + 1..at + 4)).flatten();
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

fn mounted_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(parse_mountinfo(&text).into_iter().filter(|p| p.starts_with(dir)).collect())
}

pub fn is_mount_point(dir: &Path) -> io::Result<bool> {
    Ok(mounted_below(dir)?.iter().any(|p| p == dir))
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
    for point in mounted_below(dir)?.into_iter().rev() {
        match umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
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
    if let Some(left) = mounted_below(dir)?.first() {
        return Err(io::Error::other(format!("`{}` is still mounted", left.display())));
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let text =
            "36 35 98:0 / /mnt/a\\040b rw,noatime - ext3 /dev/root rw\n37 35 0:1 / /x rw - tmpfs tmpfs rw\n";
        assert_eq!(parse_mountinfo(text), [PathBuf::from("/mnt/a b"), PathBuf::from("/x")]);
    }
}
