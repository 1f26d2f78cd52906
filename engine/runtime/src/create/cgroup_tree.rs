//! The cgroup v1 tree that a container sees at `/sys/fs/cgroup`: of each hierarchy its own group, to read.
//!
//! `libcontainer` would make it from inside the container, and looks there for its parent's number in the machine's
//! `/proc`. In a process namespace that the pod's containers share that number is not the machine's: once it is higher than
//! those in use, no container of the pod starts any more.
//! Kept true: it is mounted in the mount namespace of `coracle create` only, and goes with the container.
//! Source:    mount_namespaces(7), cgroup_namespaces(7)

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

use crate::cgroup::Cgroups;

const FLAGS: MsFlags =
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC).union(MsFlags::MS_RELATIME);

/// Mounts the tree of `cgroup` below `directory` and says where; `None` on a unified machine, which has no such tree.
pub fn prepare(directory: &Path, cgroups: &Cgroups, cgroup: &str) -> io::Result<Option<PathBuf>> {
    let groups = cgroups.v1_groups(cgroup);
    if groups.is_empty() {
        return Ok(None);
    }
    let tree = directory.join("cgroup");
    fs::create_dir_all(&tree)?;
    mount(Some("tmpfs"), &tree, Some("tmpfs"), FLAGS, Some("mode=755"))?;
    for (name, group) in groups {
        let target = tree.join(&name);
        fs::create_dir(&target)?;
        mount(Some(&group), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        make_read_only(&target)?;
        // Controllers that are mounted together are found by the name of each too.
        for part in name.split(',').filter(|part| *part != name) {
            symlink(&name, tree.join(part))?;
        }
    }
    make_read_only(&tree)?;
    Ok(Some(tree))
}

fn make_read_only(mounted: &Path) -> io::Result<()> {
    let flags = FLAGS | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    Ok(mount(None::<&str>, mounted, None::<&str>, flags, None::<&str>)?)
}
