//! The root file system of a container, mounted in the mount namespace of `coracle create` only: the container's own
//! namespace is copied from it, so nothing is left to unmount when the container is gone.
//!
//! Writes: `upper`, `work` and `rootfs` in the container's directory.
//! Source: https://docs.kernel.org/filesystems/overlayfs.html, mount_namespaces(7)
#![allow(unsafe_code)]

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, mkdirat},
};

use super::spec::same;
use crate::{
    api::{ContainerSpec, Mount, Propagation},
    images::inherited,
    mountinfo::mount_of,
    record::ContainerRecord,
};

#[derive(Debug, thiserror::Error)]
#[error("{action} `{}`", path.display())]
pub struct RootfsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RootfsError {
    let path = path.to_owned();
    move |source| RootfsError { action, path, source }
}

/// Leaves the machine's mounts and mounts the container's layers. Returns the mount point.
/// Volumes that propagate mounts to the machine are staged first, and their host paths in `spec` replaced.
pub fn prepare(directory: &Path, record: &mut ContainerRecord) -> Result<PathBuf, RootfsError> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|error| failed("leave the mount namespace of", directory)(error.into()))?;
    let shared = |spec: &ContainerSpec, kind| spec.mounts.iter().any(|mount| mount.propagation == kind);
    let propagates = shared(&record.spec, Propagation::Bidirectional)
        || shared(&record.spec, Propagation::HostToContainer);
    let staged = clone_bidirectional(&record.spec)?;
    let kind = if propagates { MsFlags::MS_SLAVE } else { MsFlags::MS_PRIVATE };
    change(Path::new("/"), MsFlags::MS_REC | kind)?;
    for (index, tree) in staged {
        let target = directory.join(format!("shared-{index}"));
        attach(&tree, &target, &record.spec.mounts[index].host_path)?;
        record.spec.mounts[index].host_path = target;
    }
    let rootfs = directory.join("rootfs");
    mount_layers(directory, &rootfs, &each_once(&record.layers))?;
    make_working_directory(&rootfs, &record.spec.working_dir);
    prepare_image_volumes(&rootfs, &mut record.spec)?;
    Ok(rootfs)
}

/// What an image declares as a volume is there, with the content, owner and mode that it has in the image. Under a
/// read-only root it is a mount of its own, of the same layers, and stays writable; it goes with the container.
fn prepare_image_volumes(rootfs: &Path, spec: &mut ContainerSpec) -> Result<(), RootfsError> {
    for volume in std::mem::take(&mut spec.image_volumes) {
        let container_path = PathBuf::from(&volume);
        let taken = spec.mounts.iter().any(|mount| same(&mount.container_path, &container_path));
        if taken || container_path == Path::new("/") {
            continue;
        }
        let host_path = make_inside(rootfs, &container_path)
            .map_err(failed("make the image's volume", &container_path))?;
        if spec.read_only_root {
            let (read_only, propagation) = (false, Propagation::Private);
            spec.mounts.push(Mount { host_path, container_path, read_only, propagation });
        }
    }
    Ok(())
}

/// The directory that `path` is for a process whose root is `rootfs`; what is missing of it is made, as root.
fn make_inside(rootfs: &Path, path: &Path) -> io::Result<PathBuf> {
    let root: OwnedFd = fs::File::open(rootfs)?.into();
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let (mut walked, mut found) = (PathBuf::new(), root.try_clone()?);
    for component in path.components().filter(|component| *component != Component::RootDir) {
        walked.push(component);
        found = match openat2(&root, &walked, how) {
            Err(Errno::ENOENT) => {
                mkdirat(&found, component.as_os_str(), Mode::from_bits_truncate(0o755))?;
                openat2(&root, &walked, how)?
            }
            other => other?,
        };
    }
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

fn change(path: &Path, flags: MsFlags) -> Result<(), RootfsError> {
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
        .map_err(|error| failed("change the propagation of", path)(error.into()))
}

/// An image may hold a layer more than once, and overlayfs takes each directory once: its topmost place is kept. What
/// the layer has is seen there, and what lies below it in a second place is hidden by the first.
fn each_once(layers: &[PathBuf]) -> Vec<PathBuf> {
    let above = |number: usize| &layers[number + 1..];
    let topmost = layers.iter().enumerate().filter(|(number, layer)| !above(*number).contains(layer));
    topmost.map(|(_, layer)| layer.clone()).collect()
}

fn mount_layers(directory: &Path, rootfs: &Path, layers: &[PathBuf]) -> Result<(), RootfsError> {
    for name in ["upper", "work", "rootfs"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).map_err(failed("create", &path))?;
    }
    let upper = directory.join("upper");
    if let Some(top) = layers.last() {
        // The root directory of a container has the mode and owner that its image gives it.
        let metadata = fs::metadata(top).map_err(failed("read", top))?;
        copy_owner(&metadata, &upper).map_err(failed("set mode and owner of", &upper))?;
    }
    for (path, metadata) in inherited(layers) {
        let path = upper.join(path);
        fs::create_dir_all(&path).map_err(failed("create", &path))?;
        copy_owner(&metadata, &path).map_err(failed("set mode and owner of", &path))?;
    }
    // Overlayfs wants a layer below, an image needs none.
    let nothing = [directory.join("nothing")];
    let layers = if layers.is_empty() {
        fs::create_dir_all(&nothing[0]).map_err(failed("create", &nothing[0]))?;
        &nothing
    } else {
        layers
    };
    let (names, lower) = short_names(directory, layers)?;
    std::env::set_current_dir(&names).map_err(failed("enter", &names))?;
    let options = |extra: &str| {
        let (upper, work) = (upper.display(), directory.join("work"));
        format!("lowerdir={},upperdir={upper},workdir={}{extra}", lower.join(":"), work.display())
    };
    let overlay = |extra: &str| {
        mount(Some("overlay"), rootfs, Some("overlay"), MsFlags::empty(), Some(options(extra).as_str()))
    };
    // `volatile`: what a container writes outside its volumes is gone with it, so it is never synced. Linux 5.10.
    // If both attempts fail, the first says why.
    overlay(",volatile")
        .or_else(|first| overlay("").map_err(|_| first))
        .map_err(|error| failed("mount layers at", rootfs)(error.into()))?;
    std::env::set_current_dir("/").map_err(failed("enter", Path::new("/")))
}

/// A directory and the layers' names below it, highest first: the options of a mount must fit in one page.
fn short_names(directory: &Path, layers: &[PathBuf]) -> Result<(PathBuf, Vec<String>), RootfsError> {
    let parent = layers.last().and_then(|layer| layer.parent()).unwrap_or(Path::new("/"));
    let names = layers.iter().rev().map(|layer| layer.strip_prefix(parent).unwrap_or(layer));
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    if names.iter().map(|name| name.len() + 1).sum::<usize>() < MAX_NAMES {
        return Ok((parent.to_owned(), names));
    }
    let links = directory.join("layers");
    fs::create_dir_all(&links).map_err(failed("create", &links))?;
    for (number, layer) in layers.iter().rev().enumerate() {
        let link = links.join(number.to_string());
        std::os::unix::fs::symlink(layer, &link).map_err(failed("link", &link))?;
    }
    Ok((links, (0..layers.len()).map(|number| number.to_string()).collect()))
}

/// Leaves room in 4096 bytes for the two other directories.
const MAX_NAMES: usize = 2048;

fn copy_owner(metadata: &fs::Metadata, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, metadata.permissions())
}

/// Made as root if the image lacks it, as runc does. Links inside the image are not followed out of it: a path with
/// one is left alone, and then the container says that its directory is missing.
fn make_working_directory(rootfs: &Path, working_dir: &str) {
    let mut path = rootfs.to_owned();
    for component in Path::new(working_dir).components() {
        let Component::Normal(name) = component else { continue };
        path.push(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return,
            Err(_) if fs::create_dir(&path).is_err() => return,
            Err(_) => {}
        }
    }
}

/// Copies of the trees whose mounts go both ways, taken while they still belong to the machine's peer groups.
fn clone_bidirectional(spec: &ContainerSpec) -> Result<Vec<(usize, OwnedFd)>, RootfsError> {
    let both =
        spec.mounts.iter().enumerate().filter(|(_, mount)| mount.propagation == Propagation::Bidirectional);
    both.map(|(index, mount)| {
        check_shared(&mount.host_path).map_err(failed("share the mounts of", &mount.host_path))?;
        let tree = open_tree(&mount.host_path).map_err(failed("take the mounts of", &mount.host_path))?;
        Ok((index, tree))
    })
    .collect()
}

/// On a mount that is not shared, nothing of the container's mounts would be seen.
fn check_shared(path: &Path) -> io::Result<()> {
    let path = path.canonicalize()?;
    match mount_of(&path)? {
        Some(mount) if !mount.shared => Err(io::Error::other(format!(
            "path \"{}\" is mounted on \"{}\" but it is not a shared mount",
            path.display(),
            mount.point.display()
        ))),
        _ => Ok(()),
    }
}

fn open_tree(path: &Path) -> io::Result<OwnedFd> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as libc::c_uint;
    // SAFETY: `path` is a C string that lives through the call.
    let descriptor = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn attach(tree: &OwnedFd, target: &Path, source: &Path) -> Result<(), RootfsError> {
    const FROM_EMPTY_PATH: libc::c_uint = 4;
    if source.is_dir() {
        fs::create_dir_all(target).map_err(failed("create", target))?;
    } else {
        fs::write(target, "").map_err(failed("create", target))?;
    }
    let path = std::ffi::CString::new(target.as_os_str().as_encoded_bytes())
        .map_err(|error| failed("attach mounts at", target)(error.into()))?;
    let (empty, from) = (c"".as_ptr(), tree.as_raw_fd());
    // SAFETY: both paths are C strings that live through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_move_mount, from, empty, libc::AT_FDCWD, path.as_ptr(), FROM_EMPTY_PATH)
    };
    match result {
        0 => Ok(()),
        _ => Err(failed("attach mounts at", target)(io::Error::last_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_an_image_holds_twice_is_mounted_once_at_its_topmost_place() {
        for (held, mounted) in [
            ("a b", "a b"),
            ("a u u", "a u"),
            ("a u v u", "a v u"),
            ("u u", "u"),
            ("u v u v", "u v"),
            ("u v v u", "v u"),
        ] {
            let layers: Vec<PathBuf> = held.split(' ').map(PathBuf::from).collect();
            let expected: Vec<PathBuf> = mounted.split(' ').map(PathBuf::from).collect();
            assert_eq!(each_once(&layers), expected, "{held}");
        }
    }
}
