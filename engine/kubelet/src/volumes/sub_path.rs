//! `subPath` of a volume mount, safe against links that lead out of the volume.
//!
//! Invariant: what a container gets was opened beneath the volume's root by the kernel (`RESOLVE_BENEATH`) and is
//!            bound by descriptor, so that swapping a directory for a link after the check gains nothing.
//! Source:    https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};

use super::mounts;

fn open_beneath(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Opens `path` below `volume`; what is missing of it becomes directories with the volume's mode.
pub fn open(volume: &Path, path: &str) -> io::Result<OwnedFd> {
    let relative = Path::new(path);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath `{path}` must be inside the volume"),
        ));
    }
    let root: OwnedFd = fs::File::open(volume)?.into();
    match open_beneath(&root, relative) {
        Ok(found) => return Ok(found),
        Err(nix::errno::Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mode = Mode::from_bits_truncate(fs::metadata(volume)?.mode() & 0o2777);
    let mut walked = PathBuf::new();
    for part in relative.components() {
        let parent = if walked.as_os_str().is_empty() { PathBuf::from(".") } else { walked.clone() };
        walked.push(part);
        match open_beneath(&root, &walked) {
            Ok(_) => {}
            Err(nix::errno::Errno::ENOENT) => {
                let parent = open_beneath(&root, &parent)?;
                match mkdirat(&parent, part.as_os_str(), mode) {
                    // Also what the process's umask takes from it.
                    Ok(()) => {
                        let only = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                        fchmod(openat(&parent, part.as_os_str(), only, Mode::empty())?, mode)?;
                    }
                    Err(nix::errno::Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(open_beneath(&root, relative)?)
}

/// Binds `sub_path` of `volume` to `target` and returns where to mount it from.
pub fn bind(volume: &Path, sub_path: &str, target: &Path) -> io::Result<PathBuf> {
    let found = open(volume, sub_path)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    mounts::unmount_below(target)?;
    if fs::metadata(&source)?.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        fs::create_dir_all(target.parent().unwrap_or(target))?;
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(target)?;
    }
    mounts::bind(&source, target)?;
    Ok(target.to_path_buf())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn links_out_of_the_volume_are_refused_and_links_within_it_followed() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir_all(volume.join("real/deep")).unwrap();
        fs::write(dir.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("real", volume.join("inside")).unwrap();
        std::os::unix::fs::symlink("../secret", volume.join("outside")).unwrap();
        std::os::unix::fs::symlink("/", volume.join("root")).unwrap();
        for (path, fine) in [
            ("real/deep", true),
            ("inside/deep", true),
            ("made/new", true),
            ("outside", false),
            ("root/etc", false),
            ("../secret", false),
            ("/etc", false),
        ] {
            assert_eq!(open(&volume, path).is_ok(), fine, "{path}");
        }
        assert!(volume.join("made/new").is_dir());
    }

    #[test]
    fn what_is_made_has_the_mode_of_the_volume() {
        let volume = tempfile::tempdir().unwrap();
        fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o2777)).unwrap();
        open(volume.path(), "a/b").unwrap();
        for made in ["a", "a/b"] {
            assert_eq!(fs::metadata(volume.path().join(made)).unwrap().mode() & 0o7777, 0o2777, "{made}");
        }
    }
}
